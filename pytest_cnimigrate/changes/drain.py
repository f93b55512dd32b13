"""Emptying nodes by eviction, which honours disruption budgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from pytest_cnimigrate.checks.workloads import irreplaceable, is_evictable
from pytest_cnimigrate.kube.errors import Conflict, NoAnswer, NotFound, ServerError, TooManyRequests
from pytest_cnimigrate.model.objects import Object, is_terminating, key_of, name_of, namespace_of, uid_of
from pytest_cnimigrate.model.pods import uses_empty_dir
from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.observe.waiting import NotYet, Ready, WaitTimeout, wait_for
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Captured, Change, ChangeError, Worksite


@dataclass(frozen=True, slots=True)
class DrainNodes(Change):
    """Evict every pod of cordoned nodes but those of DaemonSets and static pods, and see them gone."""

    kind: ClassVar[str] = "drain-nodes"

    nodes: list[str]
    """Drained at the same time."""
    timeout: float
    """Seconds after which it gives up, naming the pods and budgets that are in the way."""
    delete_emptydir_data: bool

    def describe(self) -> str:
        word = "node" if len(self.nodes) == 1 else "nodes"
        return f"drain {word} {', '.join(self.nodes)}"

    def holds(self, cluster: Cluster) -> bool:
        return not self._pods(cluster)

    def refusal(self, cluster: Cluster) -> str:
        for node in self.nodes:
            present = cluster.kube.find(NODES, node)
            if present is not None and not present["spec"].get("unschedulable"):
                return f"node {node} is not cordoned, so evicted pods could come back to it; cordon it first"
        alone = irreplaceable(self._pods(cluster))
        if alone:
            return "; ".join(alone[:3])
        with_data = [key_of(pod) for pod in self._pods(cluster) if uses_empty_dir(pod)]
        if with_data and not self.delete_emptydir_data:
            named = ", ".join(with_data[:3])
            count = "1 pod keeps" if len(with_data) == 1 else f"{len(with_data)} pods keep"
            return (
                f"{count} data in emptyDir volumes ({named}), which would be lost; "
                "set drain.delete_emptydir_data to allow that"
            )
        return ""

    def capture(self, cluster: Cluster) -> Captured:
        return {"pods": [key_of(pod) for pod in self._pods(cluster)]}

    def apply(self, site: Worksite) -> None:
        drain = _Drain(site.cluster, self._pods)
        try:
            wait_for(
                drain.round,
                what=f"{', '.join(self.nodes)} to be empty",
                timeout=self.timeout,
                interval=site.cluster.poll_interval,
                on_progress=site.note,
            )
        except WaitTimeout:
            raise ChangeError(self._overdue(drain)) from None

    def undo(self, site: Worksite, captured: Captured) -> None:
        """Nothing to put back: evicted pods live on elsewhere; uncordoning lets pods return."""

    def _pods(self, cluster: Cluster) -> list[Object]:
        return [
            pod
            for node in self.nodes
            for pod in cluster.kube.list(PODS, field_selector=f"spec.nodeName={node}")
            if is_evictable(pod)
        ]

    def _overdue(self, drain: _Drain) -> str:
        where = f"{', '.join(self.nodes)} not empty after {self.timeout:g} s"
        if drain.blocked:
            reasons = "; ".join(f"pod {key}: {reason}" for key, reason in list(drain.blocked.items())[:3])
            count = len(drain.blocked)
            return (
                f"{where}: {count} pod{'s' if count != 1 else ''} may not be evicted: {reasons}. "
                "Scale the workload up or relax its budget, then run again"
            )
        names = ", ".join(key_of(pod) for pod in drain.remaining[:3])
        are = "1 pod is" if len(drain.remaining) == 1 else f"{len(drain.remaining)} pods are"
        return f"{where}: {are} still terminating ({names}); look at finalizers and grace periods"


class _Drain:
    """A drain under way: who has been evicted, and who may not be."""

    def __init__(self, cluster: Cluster, pods: Callable[[Cluster], list[Object]]) -> None:
        self._cluster = cluster
        self._pods = pods
        self._evicted: set[str] = set()
        self.remaining: list[Object] = []
        self.blocked: dict[str, str] = {}
        """Pod -> why its eviction was refused."""

    def round(self) -> Ready[None] | NotYet:
        """Ask once for each eviction that is still to be had."""
        self.remaining = self._pods(self._cluster)
        self.blocked = {}
        for pod in self.remaining:
            if is_terminating(pod) or uid_of(pod) in self._evicted:
                continue
            reason = self._evict(pod)
            if reason:
                self.blocked[key_of(pod)] = reason
            else:
                self._evicted.add(uid_of(pod))
        if not self.remaining:
            return Ready(None)
        words = f"{len(self.remaining)} pod{'s' if len(self.remaining) != 1 else ''} left"
        if self.blocked:
            key, reason = next(iter(self.blocked.items()))
            words += f"; {key} waits: {reason}"
        return NotYet(words)

    def _evict(self, pod: Object) -> str:
        """Ask for an eviction; returns why it was refused, or ""."""
        try:
            self._cluster.kube.evict(name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except (NotFound, Conflict):
            return ""  # gone, or another pod has its name by now; the next round sees
        except TooManyRequests as error:
            return error.cause.message if error.cause else error.message
        except (ServerError, NoAnswer) as error:
            # Among others for a pod that is covered by two budgets. Without an answer nobody knows whether
            # the pod goes; asking for the eviction of the same uid once more does no harm.
            return error.message
        return ""
