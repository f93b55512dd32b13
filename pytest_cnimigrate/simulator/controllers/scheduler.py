"""The scheduler: binds pods to nodes one after the other, and says why when it cannot.

Preemption is not simulated: a pod that only fits by evicting others stays Pending, with the message of a
scheduler that found no victims. Of many feasible nodes only some are rated, as kube-scheduler does in large
clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pytest_cnimigrate.model.objects import (
    Object,
    condition,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    timestamp,
    uid_of,
)
from pytest_cnimigrate.model.resources import NAMESPACES, NODES, PODS
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.controllers.base import Context, Controller
from pytest_cnimigrate.simulator.controllers.daemonset_placement import target_node
from pytest_cnimigrate.simulator.controllers.pods import is_terminal, node_name, pod_informer
from pytest_cnimigrate.simulator.controllers.scheduling.filters import Check, Diagnosis, Refusal, node_checks
from pytest_cnimigrate.simulator.controllers.scheduling.nodes import NodeCache, NodeInfo, claim_of
from pytest_cnimigrate.simulator.controllers.scheduling.scores import scorer
from pytest_cnimigrate.simulator.controllers.scheduling.topology import Repulsions, Topology

ENOUGH_NODES = 50
"""Feasible nodes after which the search stops (kube-scheduler's `minFeasibleNodesToFind` is 100)."""
FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 10.0
"""Simulated seconds before a pod that could not be placed is tried again once something has changed."""


class Scheduler(Controller):
    component: ClassVar[str] = "default-scheduler"
    workers: ClassVar[int] = 8  # deciding never suspends, so decisions are one after the other; binding may

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pods = pod_informer(self.informers)
        self._nodes = self.informer(NODES)
        self._cache = NodeCache()
        self._repulsions = Repulsions()
        self._topology = Topology(self._cache, self._pods, self.informer(NAMESPACES), self._repulsions)
        self._waiting: dict[str, int] = {}
        """Pods that could not be placed: how often in a row."""
        self._start = 0

    def watch(self) -> None:
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        self._cache.node_changed(old, new)
        if new is not None and (old is None or _relevant(old) != _relevant(new)):
            self._wake(name_of(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old or {}
        key = key_of(pod)
        if new is None or is_terminal(new):
            self._waiting.pop(key, None)
            self._cache.pod_changed(old, new)
            self._repulsions.forget(uid_of(pod))
            if node_name(pod) and not (old is not None and new is not None and is_terminal(old)):
                self._wake(node_name(pod))  # its place is free
        elif node_name(new):
            self._waiting.pop(key, None)
            self._cache.pod_changed(old, new)
            self._repulsions.place(new, node_name(new))
            if old is None or not node_name(old) or labels_of(old) != labels_of(new):
                self._wake("")  # somebody may have waited for its company
        elif old is None or old["spec"] != new["spec"] or labels_of(old) != labels_of(new):
            self.queue.add(key)

    def _wake(self, node: str) -> None:
        """Something has changed on the node (or, for "", among pods): waiting pods are tried again soon."""
        for key in list(self._waiting):
            pod = self._pods.by_key(key)
            if pod is None:
                del self._waiting[key]
                continue
            pinned = target_node(pod)
            if (pinned or node) == node and (node or _minds_others(pod)):
                delay = min(FIRST_BACKOFF * 2 ** (self._waiting[key] - 1), LONGEST_BACKOFF)
                self.queue.add_after(key, delay)

    async def sync(self, key: str) -> None:
        pod = self._pods.by_key(key)
        if pod is None or node_name(pod) or is_terminating(pod) or is_terminal(pod):
            return
        spec = pod["spec"]
        if spec.get("schedulerName", self.component) != self.component or spec.get("schedulingGates"):
            return
        if self._cache.node_of(pod):
            return  # being bound
        chosen, message = self._choose(pod)
        if chosen is None:
            self._waiting[key] = self._waiting.get(key, 0) + 1
            await self._report(pod, message)
            return
        await self._bind(pod, chosen)

    def _choose(self, pod: Object) -> tuple[NodeInfo | None, str]:
        """The best node, or None and the reason."""
        claim = claim_of(pod)
        checks = node_checks(pod, claim)
        checks += self._topology.checks(pod)
        diagnosis = Diagnosis.of(len(self._cache))
        pinned = target_node(pod)
        feasible = []
        for info in self._candidates(pinned):
            refusal = _first_refusal(checks, info)
            if refusal is None:
                feasible.append(info)
                if len(feasible) >= ENOUGH_NODES:
                    break
            else:
                diagnosis.add(refusal)
        if not feasible:
            others = len(self._cache) - (diagnosis.final + diagnosis.other)
            if others:  # nodes that were not even looked at
                diagnosis.reasons["node(s) didn't satisfy plugin(s) [NodeAffinity]"] = others
                diagnosis.final += others
            return None, diagnosis.message()
        if len(feasible) == 1:
            return feasible[0], ""
        score = scorer(pod, self._cache, self._pods)
        self.pace.random.shuffle(feasible)  # among equals kube chooses at random, too
        return max(feasible, key=score), ""

    def _candidates(self, pinned: str) -> Iterator[NodeInfo]:
        """Nodes to look at, beginning where the last search stopped so that all get their turn."""
        if pinned:
            info = self._cache.get(pinned)
            if info is not None:
                yield info
            return
        nodes = self._cache.all()
        for _ in range(len(nodes)):
            self._start = (self._start + 1) % len(nodes)
            yield nodes[self._start]

    async def _bind(self, pod: Object, info: NodeInfo) -> None:
        self._cache.place(pod, info.name)
        self._repulsions.place(pod, info.name)
        try:
            await self.api.bind(pod, info.name)
        except ApiError as error:
            self._cache.forget(uid_of(pod))
            self._repulsions.forget(uid_of(pod))
            if error.is_not_found or error.is_conflict:
                return  # it is gone, or somebody else has bound it
            raise
        self._waiting.pop(key_of(pod), None)
        message = f"Successfully assigned {key_of(pod)} to {info.name}"
        self.recorder.event(pod, "Normal", "Scheduled", message)

    async def _report(self, pod: Object, message: str) -> None:
        self.recorder.event(pod, "Warning", "FailedScheduling", message)
        known = condition(pod, "PodScheduled")
        if known is not None and (known["status"], known.get("message")) == ("False", message):
            return
        changed = known is None or known["status"] != "False"
        entry: Object = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": timestamp() if changed or known is None else known["lastTransitionTime"],
        }
        if "generation" in pod["metadata"]:
            entry["observedGeneration"] = pod["metadata"]["generation"]
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [entry]}}
        try:
            await self.api.patch(
                PODS, name_of(pod), patch, namespace_of(pod), kind="strategic", subresource="status"
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise


def _first_refusal(checks: list[Check], info: NodeInfo) -> Refusal | None:
    for check in checks:
        refusal = check(info)
        if refusal is not None:
            return refusal
    return None


def _relevant(node: Object) -> tuple[object, ...]:
    """What of a node decides whether a pod fits."""
    spec = node["spec"]
    allocatable = (node.get("status") or {}).get("allocatable")
    return labels_of(node), spec.get("taints"), spec.get("unschedulable"), allocatable


def _minds_others(pod: Object) -> bool:
    """Whether another pod's coming can make this one fit."""
    spec = pod["spec"]
    return bool((spec.get("affinity") or {}).get("podAffinity") or spec.get("topologySpreadConstraints"))
