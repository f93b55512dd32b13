"""Restarting the pods of a workload, as `kubectl rollout restart` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import DAEMON_SETS, DEPLOYMENTS, STATEFUL_SETS, Resource
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Captured, Change, Worksite

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

_RESOURCES: dict[str, Resource] = {
    resource.kind: resource for resource in (DAEMON_SETS, DEPLOYMENTS, STATEFUL_SETS)
}


@dataclass(frozen=True, slots=True)
class RestartRollout(Change):
    """Replace every pod of a workload by its own rolling update."""

    kind: ClassVar[str] = "restart-rollout"

    workload: Literal["DaemonSet", "Deployment", "StatefulSet"]
    namespace: str
    name: str
    at: str
    """When the restart is asked for; a restart that carries this time already is not made twice."""

    def describe(self) -> str:
        return f"restart {self.workload} {self.namespace}/{self.name}"

    def holds(self, cluster: Cluster) -> bool:
        return self._annotation(self._get(cluster)) == self.at

    def apply(self, site: Worksite) -> None:
        template = {"metadata": {"annotations": {RESTARTED_AT: self.at}}}
        patch = {"spec": {"template": template}}
        site.cluster.kube.patch(_RESOURCES[self.workload], self.name, patch, self.namespace)

    def undo(self, site: Worksite, captured: Captured) -> None:
        """Nothing to put back: the pods that were replaced are gone, and theirs are like them."""

    def _get(self, cluster: Cluster) -> Object:
        return cluster.kube.get(_RESOURCES[self.workload], self.name, self.namespace)

    @staticmethod
    def _annotation(workload: Object) -> str | None:
        metadata = workload["spec"]["template"].get("metadata") or {}
        value: str | None = (metadata.get("annotations") or {}).get(RESTARTED_AT)
        return value
