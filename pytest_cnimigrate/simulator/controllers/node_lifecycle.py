"""The node lifecycle controller: taints that follow conditions, and nodes that fall silent.

The order and the delays are those of the recordings: NoSchedule taints follow a condition within
milliseconds; NoExecute taints come about 3 s and go about 0.5 s later; a stopped node turns Unknown after
about 47 s. As in kube, no NoExecute taint is added while no node at all is well (a cluster without a CNI
keeps its pods), and in one zone not more often than every 10 s.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_cnimigrate.model.objects import Object, condition, is_pod_ready, name_of, namespace_of, timestamp
from pytest_cnimigrate.model.resources import LEASES, NODES, PODS
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.controllers import node_taints as taints
from pytest_cnimigrate.simulator.controllers.base import Context, Controller
from pytest_cnimigrate.simulator.controllers.pods import BY_NODE, pod_informer

GRACE = 40.0
"""Simulated seconds of silence before a node is suspected (`--node-monitor-grace-period`)."""
SECOND_LOOK = 5.0
"""Simulated seconds until a suspicion is confirmed: the monitor's period. It also keeps a process that was
busy for a while, kubelets and all, from declaring its nodes dead."""
STARTUP_GRACE = 60.0
"""Simulated seconds that a node has for its first sign of life (`--node-startup-grace-period`)."""
MONITOR_DELAY = 3.0
"""Simulated seconds until the monitor notices: RegisteredNode and the first NoExecute taint, as recorded."""
RECOVERY_DELAY = 0.5
"""Simulated seconds from Ready to the end of the NoExecute taint, as recorded."""
TAINT_INTERVAL = 10.0
"""Simulated seconds between two NoExecute taints in one zone (`--node-eviction-rate` 0.1)."""

_LEASE_NAMESPACE = "kube-node-lease"
_STALE = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(slots=True)
class _Watched:
    """What the controller remembers of one node; times are the loop's."""

    seen: float
    """When it came."""
    heard: float
    """The last sign of life."""
    alive: bool = False
    """It has given a sign of life."""
    suspected: float | None = None
    registered: bool = False
    ready: str = ""
    """Its readiness when last looked at."""
    marks_pods: bool = False
    """Its pods are still to be set not ready."""
    changed: float = 0.0
    """When its readiness changed."""


class NodeLifecycleController(Controller):
    component: ClassVar[str] = "node-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._nodes = self.informer(NODES)
        self._leases = self.informer(LEASES)
        self._pods = pod_informer(self.informers)
        self._watched: dict[str, _Watched] = {}
        self._next_taint: dict[str, float] = {}
        """Zone -> when it may have its next NoExecute taint."""

    def watch(self) -> None:
        self._nodes.add_handler(self._node_changed)
        self._leases.add_handler(self._lease_changed)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            if old is not None:
                self._watched.pop(name_of(old), None)
                message = f"Node {name_of(old)} event: Removing Node {name_of(old)} from Controller"
                self.recorder.event(old, "Normal", "RemovingNode", message)
            return
        name = name_of(new)
        now = self._now()
        watched = self._watched.get(name)
        if watched is None:
            self._watched[name] = watched = _Watched(seen=now, heard=now)
            self.queue.add(name)
            self.queue.add_after(name, MONITOR_DELAY)
        if _posted(old) != _posted(new):
            self._heard(watched)
        if old is None or _relevant(old) != _relevant(new):
            self.queue.add(name)
            if old is None or taints.ready_status(old) != taints.ready_status(new):
                self._enqueue_ill()

    def _lease_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or namespace_of(new) != _LEASE_NAMESPACE:
            return
        watched = self._watched.get(name_of(new))
        if watched is not None and (
            old is None or old["spec"].get("renewTime") != new["spec"].get("renewTime")
        ):
            self._heard(watched)

    def _heard(self, watched: _Watched) -> None:
        watched.heard = self._now()
        watched.alive = True
        watched.suspected = None

    def _enqueue_ill(self) -> None:
        """One node's readiness decides for others whether their zone is still worth evicting from."""
        for name, watched in self._watched.items():
            if watched.ready != "True":
                self.queue.add(name)

    async def sync(self, key: str) -> None:
        node, watched = self._nodes.get(key), self._watched.get(key)
        if node is None or watched is None:
            return
        self._register(node, watched)
        node = await self._judge_silence(node, watched)
        status = taints.ready_status(node)
        if status != watched.ready:
            if watched.ready == "True":
                message = f"Node {key} status is now: NodeNotReady"
                self.recorder.event(node, "Normal", "NodeNotReady", message)
            watched.marks_pods = watched.ready == "True"
            watched.ready, watched.changed = status, self._now()
        node = await self._set_taints(node, "NoSchedule", taints.no_schedule_keys(node))
        if watched.marks_pods:
            await self._mark_pods_not_ready(key)
            watched.marks_pods = False
        await self._set_no_execute(node, watched)

    def _register(self, node: Object, watched: _Watched) -> None:
        if watched.registered or self._now() < watched.seen + self.pace.wall(MONITOR_DELAY):
            return
        watched.registered = True
        message = f"Node {name_of(node)} event: Registered Node {name_of(node)} in Controller"
        self.recorder.event(node, "Normal", "RegisteredNode", message)

    def _grace(self, watched: _Watched) -> float:
        """Wall seconds of silence that a node may keep; in large fleets leases are renewed less often."""
        grace = self.pace.wall(GRACE if watched.alive else STARTUP_GRACE)
        return max(grace, 4 * self.pace.heartbeat_interval(len(self._watched)))

    async def _judge_silence(self, node: Object, watched: _Watched) -> Object:
        """Declare a node Unknown that has been silent for too long; returns the node as it is then."""
        if taints.ready_status(node) == "Unknown" and condition(node, "Ready") is not None:
            return node
        now = self._now()
        left = watched.heard + self._grace(watched) - now
        if left > 0:
            self._again(node, left)
            return node
        if watched.suspected is None:
            watched.suspected = now
        left = watched.suspected + self.pace.wall(SECOND_LOOK) - now
        if left > 0:
            self._again(node, left)
            return node
        return await self._declare_unknown(node)

    def _again(self, node: Object, wall_seconds: float) -> None:
        self.queue.add_after(name_of(node), wall_seconds * self.pace.speed)

    async def _declare_unknown(self, node: Object) -> Object:
        now = timestamp()
        entries = []
        for kind in _STALE:
            known = condition(node, kind)
            if known is None:
                entries.append(
                    {
                        "type": kind,
                        "status": "Unknown",
                        "reason": "NodeStatusNeverUpdated",
                        "message": "Kubelet never posted node status.",
                        "lastHeartbeatTime": node["metadata"]["creationTimestamp"],
                        "lastTransitionTime": now,
                    }
                )
            elif known["status"] != "Unknown":
                entries.append(
                    {
                        **known,
                        "status": "Unknown",
                        "reason": "NodeStatusUnknown",
                        "message": "Kubelet stopped posting node status.",
                        "lastTransitionTime": now,
                    }
                )
        patch = {"status": {"conditions": entries}}
        return await self.api.patch(NODES, name_of(node), patch, kind="strategic", subresource="status")

    async def _mark_pods_not_ready(self, name: str) -> None:
        """Take the node's pods out of Services; kubelet sets them right again if it lives."""
        for pod in self._pods.indexed(BY_NODE, name):
            if not is_pod_ready(pod):
                continue
            entry = {**(condition(pod, "Ready") or {}), "status": "False", "lastTransitionTime": timestamp()}
            patch = {"status": {"conditions": [entry]}}
            try:
                await self.api.patch(
                    PODS, name_of(pod), patch, namespace_of(pod), kind="strategic", subresource="status"
                )
            except ApiError as error:
                if not error.is_not_found:
                    raise
            self.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    async def _set_no_execute(self, node: Object, watched: _Watched) -> None:
        """Add or remove the taint that evicts, each in its time."""
        key = taints.no_execute_key(node)
        before: list[Object] = node["spec"].get("taints") or []
        if taints.with_taints(before, "NoExecute", [key] if key else []) == before:
            return
        if not key:
            if self._wait(node, watched.changed + self.pace.wall(RECOVERY_DELAY)):
                return
        else:
            states = taints.zone_states(self._nodes.all())
            if all(state is taints.ZoneState.FULL for state in states.values()):
                return  # nobody is well: nothing would be gained by evicting
            zone = taints.zone_of(node)
            swap = any(
                t["effect"] == "NoExecute" and t["key"].startswith("node.kubernetes.io/") for t in before
            )
            if states[zone] is taints.ZoneState.PARTIAL and not swap:
                return
            if self._wait(node, watched.changed + self.pace.wall(MONITOR_DELAY)):
                return
            if not swap:
                if self._wait(node, self._next_taint.get(zone, 0.0)):
                    return
                self._next_taint[zone] = self._now() + self.pace.wall(TAINT_INTERVAL)
        await self._set_taints(node, "NoExecute", [key] if key else [])

    def _wait(self, node: Object, due: float) -> bool:
        """Whether it is too early; the node comes back when it is time."""
        left = due - self._now()
        if left > 0:
            self._again(node, left)
        return left > 0

    async def _set_taints(self, node: Object, effect: str, keys: list[str]) -> Object:
        before: list[Object] = node["spec"].get("taints") or []
        after = taints.with_taints(before, effect, keys)
        if after == before:
            return node
        # With the version: somebody else's taint (Cilium's operator, a person) must not be overwritten.
        version = node["metadata"]["resourceVersion"]
        patch: Any = {"metadata": {"resourceVersion": version}, "spec": {"taints": after or None}}
        written = await self.api.patch(NODES, name_of(node), patch)
        await self._nodes.wait_until(lambda: self._nodes.has_seen(written))
        return written


def _relevant(node: Object) -> tuple[Any, ...]:
    statuses = [(c["type"], c["status"]) for c in (node.get("status") or {}).get("conditions") or ()]
    return statuses, node["spec"].get("taints"), node["spec"].get("unschedulable")


def _posted(node: Object | None) -> Any:
    """What only a kubelet that lives changes."""
    ready = condition(node, "Ready") if node is not None else None
    if ready is None or ready["status"] == "Unknown":
        return None
    return ready["status"], ready.get("lastHeartbeatTime")
