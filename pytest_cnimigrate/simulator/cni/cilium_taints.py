"""The operator's node taints: off when the node's agent is ready, on again when it is not.

Source: operator/watchers/node_taint.go. Every taint with the key goes, whatever its value and effect; it
comes back as NoSchedule without a value. NetworkUnavailable is never reset. Deleted pods are not looked at:
deleting the DaemonSet does not bring the taint back.
"""

from __future__ import annotations

from collections.abc import Callable

from pytest_cnimigrate.model.objects import (
    Object,
    condition,
    is_pod_ready,
    labels_of,
    name_of,
    namespace_of,
    timestamp,
)
from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.model.selectors import matches, parse_label_selector
from pytest_cnimigrate.simulator.cni.cilium_config import CiliumConfig
from pytest_cnimigrate.simulator.cni.cilium_faults import TAINT_NEVER_REMOVED
from pytest_cnimigrate.simulator.cni.work_queue import WorkQueue
from pytest_cnimigrate.simulator.nodes.programs import Context

CONDITION_DELAY_SECONDS = 0.014
"""From the taint's removal to the condition, as recorded."""


class NodeTaints:
    """Follows agents' pods and keeps taint and condition of their nodes."""

    def __init__(self, context: Context, config: CiliumConfig, say: Callable[[str, str], None]) -> None:
        self._context = context
        self._config = config
        self._say = say
        self._selector = parse_label_selector(config.pod_labels)
        self._queue = WorkQueue(context.pace, self._reconcile)
        self._nodes = context.informers.of(NODES)
        self._pods = context.informers.of(PODS)
        self._pods.add_index("node", lambda pod: (pod["spec"].get("nodeName") or "",))

    async def run(self) -> None:
        """Work until cancelled."""
        self._pods.add_handler(self._pod_changed)
        self._nodes.add_handler(self._node_changed)
        try:
            await self._queue.run()
        finally:
            self._pods.remove_handler(self._pod_changed)
            self._nodes.remove_handler(self._node_changed)

    def _pod_changed(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and new["spec"].get("nodeName") and self._is_agent(new):
            self._queue.add(new["spec"]["nodeName"])

    def _node_changed(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and (self._is_tainted(new) or not _has_condition(new)):
            self._queue.add(name_of(new))

    def _is_agent(self, pod: Object) -> bool:
        return namespace_of(pod) == self._context.namespace and matches(self._selector, labels_of(pod))

    def _is_tainted(self, node: Object) -> bool:
        return any(taint["key"] == self._config.taint_key for taint in node["spec"].get("taints") or ())

    async def _reconcile(self, name: str) -> None:
        node = self._nodes.get(name)
        agents = [pod for pod in self._pods.indexed("node", name) if self._is_agent(pod)]
        if node is None or not agents:
            return
        if any(is_pod_ready(pod) for pod in agents):
            if self._context.faults.active(TAINT_NEVER_REMOVED):
                self._queue.add_later(name, 10.0)  # the fault may be cleared
                return
            if self._config.remove_taints and self._is_tainted(node):
                await self._set_taints(
                    node,
                    [taint for taint in node["spec"]["taints"] if taint["key"] != self._config.taint_key],
                )
                self._say("info", f"Removed node taint {self._config.taint_key} from {name}")
            if self._config.set_is_up_condition and not _has_condition(node):
                await self._context.pace.sleep(CONDITION_DELAY_SECONDS)
                await self._set_condition(name)
        elif self._config.set_taints and not self._is_tainted(node):
            taint = {"key": self._config.taint_key, "effect": "NoSchedule"}
            await self._set_taints(node, [*(node["spec"].get("taints") or ()), taint])
            self._say("info", f"Added node taint {self._config.taint_key} to {name}")

    async def _set_taints(self, node: Object, taints: list[Object]) -> None:
        """Replace the taints unless somebody has changed them meanwhile."""
        old = node["spec"].get("taints")
        patch = [
            *([{"op": "test", "path": "/spec/taints", "value": old}] if old else []),
            {"op": "replace" if old else "add", "path": "/spec/taints", "value": taints},
        ]
        await self._context.api.patch(NODES, name_of(node), patch, kind="json")

    async def _set_condition(self, name: str) -> None:
        now = timestamp()
        entry = {
            "type": "NetworkUnavailable",
            "status": "False",
            "reason": "CiliumIsUp",
            "message": "Cilium is running on this node",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        await self._context.api.patch(
            NODES, name, {"status": {"conditions": [entry]}}, kind="strategic", subresource="status"
        )


def _has_condition(node: Object) -> bool:
    found = condition(node, "NetworkUnavailable")
    return found is not None and found["status"] == "False" and found["reason"] == "CiliumIsUp"
