"""The old CNI's DaemonSet: fencing it in, and removing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_cnimigrate.changes.restoring import as_manifest
from pytest_cnimigrate.checks import affinity
from pytest_cnimigrate.checks.workloads import pods_that_need_the_node
from pytest_cnimigrate.kube.errors import Invalid
from pytest_cnimigrate.model.objects import Object, controller_of, name_of, namespace_of, uid_of
from pytest_cnimigrate.model.pods import is_finished
from pytest_cnimigrate.model.resources import DAEMON_SETS, NODES, PODS
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Captured, Change, ChangeError, Worksite

_TEMPLATE_AFFINITY = "/spec/template/spec/affinity"


@dataclass(frozen=True, slots=True)
class FenceDaemonSet(Change):
    """Require a node label in every term of a DaemonSet's required node affinity, keeping what is there.

    Terms are ORed and the expressions within a term ANDed, so an expression that is missing from one term
    fences nothing:
    https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity
    """

    kind: ClassVar[str] = "fence-daemonset"

    namespace: str
    name: str
    key: str
    value: str

    def describe(self) -> str:
        where = f"DaemonSet {self.namespace}/{self.name}"
        return f"require {self.key} In [{self.value}] in every node affinity term of {where}"

    def holds(self, cluster: Cluster) -> bool:
        return affinity.is_required(self._get(cluster), self.key, self.value)

    def capture(self, cluster: Cluster) -> Captured:
        return {"affinity": self._get(cluster)["spec"]["template"]["spec"].get("affinity")}

    def apply(self, site: Worksite) -> None:
        daemonset = self._get(site.cluster)
        present = daemonset["spec"]["template"]["spec"].get("affinity")
        self._replace(site, daemonset, affinity.with_required(present, self.key, self.value))

    def undo(self, site: Worksite, captured: Captured) -> None:
        self._replace(site, self._get(site.cluster), captured["affinity"])

    def _get(self, cluster: Cluster) -> Object:
        return cluster.kube.get(DAEMON_SETS, self.name, self.namespace)

    def _replace(self, site: Worksite, daemonset: Object, new: Object | None) -> None:
        present = daemonset["spec"]["template"]["spec"].get("affinity")
        if new == present:
            return
        # Both lists in it are atomic: a strategic merge would replace what somebody else has put in
        # meanwhile. The test makes the patch fail instead; of the generation, since the resource version
        # changes with every status too.
        generation = daemonset["metadata"]["generation"]
        patch: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/generation", "value": generation}]
        if new is not None:
            patch.append({"op": "add", "path": _TEMPLATE_AFFINITY, "value": new})
        else:
            patch.append({"op": "remove", "path": _TEMPLATE_AFFINITY})
        try:
            site.cluster.kube.patch(DAEMON_SETS, self.name, patch, self.namespace, kind="json")
        except Invalid as error:
            if self._get(site.cluster)["metadata"]["generation"] == generation:
                raise
            raise ChangeError(
                f"somebody else has changed DaemonSet {self.namespace}/{self.name} at this very moment; "
                "find out who, then run again"
            ) from error


@dataclass(frozen=True, slots=True)
class DeleteDaemonSet(Change):
    """Delete a CNI's DaemonSet, unless a pod on the nodes that it serves still depends on it.

    Those are the nodes that the selector names, and any other on which the DaemonSet has a pod.
    """

    kind: ClassVar[str] = "delete-daemonset"

    namespace: str
    name: str
    nodes: str
    """Label selector of the nodes that it serves."""

    def describe(self) -> str:
        return f"delete DaemonSet {self.namespace}/{self.name}"

    def holds(self, cluster: Cluster) -> bool:
        return cluster.kube.find(DAEMON_SETS, self.name, self.namespace) is None

    def refusal(self, cluster: Cluster) -> str:
        pods = cluster.kube.list(PODS)
        daemonset = uid_of(cluster.kube.get(DAEMON_SETS, self.name, self.namespace))
        nodes = {name_of(node) for node in cluster.kube.list(NODES, label_selector=self.nodes)}
        nodes |= {
            pod["spec"].get("nodeName", "")
            for pod in pods
            if not is_finished(pod) and (controller_of(pod) or {}).get("uid") == daemonset
        }
        needing = [pod for pod in pods_that_need_the_node(pods) if pod["spec"]["nodeName"] in nodes]
        if not needing:
            return ""
        named = ", ".join(
            f"{namespace_of(pod)}/{name_of(pod)} on {pod['spec']['nodeName']}" for pod in needing[:3]
        )
        more = f" and {len(needing) - 3} more" if len(needing) > 3 else ""
        verb = "depends" if len(needing) == 1 else "depend"
        return (
            f"{len(needing)} pod{'s' if len(needing) != 1 else ''} still {verb} on it ({named}{more}); "
            "drain those nodes first"
        )

    def capture(self, cluster: Cluster) -> Captured:
        return {"manifest": as_manifest(cluster.kube.get(DAEMON_SETS, self.name, self.namespace))}

    def apply(self, site: Worksite) -> None:
        site.cluster.kube.delete(DAEMON_SETS, self.name, self.namespace, propagation="Background")

    def undo(self, site: Worksite, captured: Captured) -> None:
        if site.cluster.kube.find(DAEMON_SETS, self.name, self.namespace) is None:
            site.cluster.kube.create(DAEMON_SETS, captured["manifest"], self.namespace)
