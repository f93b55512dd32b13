"""Pod garbage collection: pods of nodes that are no more are failed and removed."""

from __future__ import annotations

from typing import ClassVar

from pytest_cnimigrate.model.objects import Object, name_of, namespace_of, timestamp, uid_of
from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.controllers.base import Context, Controller
from pytest_cnimigrate.simulator.controllers.pods import BY_NODE, is_terminal, node_name, pod_informer

QUARANTINE = 40.0
"""Simulated seconds for which a node must be missing."""
PERIOD = 20.0
"""Simulated seconds between kube's looks: one to notice, one to act. The recordings show 45 s and 79 s."""


class PodGarbageCollector(Controller):
    component: ClassVar[str] = "pod-garbage-collector-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._nodes = self.informer(NODES)
        self._pods = pod_informer(self.informers)

    def watch(self) -> None:
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self._check_later(name_of(old))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        newly_bound = new is not None and node_name(new) and (old is None or not node_name(old))
        if new is not None and newly_bound and self._nodes.get(node_name(new)) is None:
            self._check_later(node_name(new))

    def _check_later(self, name: str) -> None:
        looks = self.pace.random.uniform(0, PERIOD) + self.pace.random.uniform(0, PERIOD)
        self.queue.add_after(name, QUARANTINE + looks)

    async def sync(self, key: str) -> None:
        pods = self._pods.indexed(BY_NODE, key)
        if not pods or self._nodes.get(key) is not None:
            return
        try:
            # The informer may lag; a real node's pods must not be lost for that.
            await self.api.get(NODES, key)
        except ApiError as error:
            if not error.is_not_found:
                raise
            for pod in pods:
                await self._remove(pod)

    async def _remove(self, pod: Object) -> None:
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(),
        }
        if "generation" in pod["metadata"]:
            target["observedGeneration"] = pod["metadata"]["generation"]
        status: Object = {"conditions": [target]}
        if not is_terminal(pod):
            status["phase"] = "Failed"
        patch = {"metadata": {"uid": uid_of(pod)}, "status": status}
        name, namespace = name_of(pod), namespace_of(pod)
        try:
            await self.api.patch(PODS, name, patch, namespace, kind="strategic", subresource="status")
            await self.api.delete(PODS, name, namespace, grace_period_seconds=0, uid=uid_of(pod))
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise
