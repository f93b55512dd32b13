"""Eviction by NoExecute taints: pods that do not tolerate them are deleted, at once or after a time."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from pytest_cnimigrate.model.objects import (
    Object,
    is_terminating,
    key_of,
    name_of,
    namespace_of,
    timestamp,
    uid_of,
)
from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.model.selectors import covers
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.controllers.base import Context, Controller
from pytest_cnimigrate.simulator.controllers.pods import BY_NODE, is_terminal, node_name, pod_informer


class TaintEvictionController(Controller):
    component: ClassVar[str] = "taint-eviction-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._nodes = self.informer(NODES)
        self._pods = pod_informer(self.informers)
        self._doomed: dict[str, float] = {}
        """uid of a pod -> since when (the loop's time) it is under a taint that it tolerates for a while."""

    def watch(self) -> None:
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or (old is not None and no_execute_taints(old) == no_execute_taints(new)):
            return
        if old is None and not no_execute_taints(new):
            return
        for pod in self._pods.indexed(BY_NODE, name_of(new)):
            self.queue.add(key_of(pod))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self._doomed.pop(uid_of(old or {"metadata": {"uid": ""}}), None)
            return
        bound = node_name(new) and (old is None or not node_name(old))
        if bound or (old is not None and old["spec"].get("tolerations") != new["spec"].get("tolerations")):
            self.queue.add(key_of(new))

    async def sync(self, key: str) -> None:
        pod = self._pods.by_key(key)
        if pod is None or not node_name(pod) or is_terminating(pod) or is_terminal(pod):
            return
        node = self._nodes.get(node_name(pod))
        taints = no_execute_taints(node) if node is not None else []
        patience = tolerated_seconds(taints, pod["spec"].get("tolerations") or [])
        if patience is None:
            if self._doomed.pop(uid_of(pod), None) is not None:
                self._event(pod, f"Cancelling deletion of Pod {key}")
            return
        now = asyncio.get_running_loop().time()
        since = self._doomed.setdefault(uid_of(pod), now)
        left = since + self.pace.wall(patience) - now
        if left > 0:
            self.queue.add_after(key, left * self.pace.speed)
            return
        await self._evict(pod)

    async def _evict(self, pod: Object) -> None:
        self._event(pod, f"Marking for deletion Pod {key_of(pod)}")
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(),
        }
        if "generation" in pod["metadata"]:
            target["observedGeneration"] = pod["metadata"]["generation"]
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [target]}}
        name, namespace = name_of(pod), namespace_of(pod)
        try:
            await self.api.patch(PODS, name, patch, namespace, kind="strategic", subresource="status")
            await self.api.delete(PODS, name, namespace, uid=uid_of(pod))
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise
        self._doomed.pop(uid_of(pod), None)

    def _event(self, pod: Object, message: str) -> None:
        self.recorder.event(pod, "Normal", "TaintManagerEviction", message)


def no_execute_taints(node: Object) -> list[Object]:
    return [taint for taint in node["spec"].get("taints") or () if taint["effect"] == "NoExecute"]


def tolerated_seconds(taints: list[Object], tolerations: list[Object]) -> float | None:
    """How long a pod may stay under these taints: None for ever, 0 not at all, else the least patience.

    As in kube, where several tolerations cover one taint the first counts.
    """
    patience: list[float] = []
    for taint in taints:
        covering: list[Any] = [toleration for toleration in tolerations if covers(toleration, taint)]
        if not covering:
            return 0.0
        seconds = covering[0].get("tolerationSeconds")
        if seconds is not None:
            patience.append(max(0.0, float(seconds)))
    return min(patience) if patience else None
