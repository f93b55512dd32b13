"""Which taints a node's state calls for, and when a zone is too ill for them (pure functions)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import Enum

from pytest_cnimigrate.model.objects import Object, condition, labels_of, timestamp

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

# Condition -> (status -> taint), for NoSchedule.
_BY_CONDITION = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": "node.kubernetes.io/memory-pressure"},
    "DiskPressure": {"True": "node.kubernetes.io/disk-pressure"},
    "PIDPressure": {"True": "node.kubernetes.io/pid-pressure"},
    "NetworkUnavailable": {"True": "node.kubernetes.io/network-unavailable"},
}
_OWN_NO_SCHEDULE = {key for taints in _BY_CONDITION.values() for key in taints.values()} | {UNSCHEDULABLE}
_OWN_NO_EXECUTE = {NOT_READY, UNREACHABLE}


def ready_status(node: Object) -> str:
    """`True`, `False` or `Unknown`; `Unknown` also for a node that has never said."""
    ready = condition(node, "Ready")
    return str(ready["status"]) if ready is not None else "Unknown"


def no_schedule_keys(node: Object) -> list[str]:
    """Keys of the NoSchedule taints that conditions and cordon call for.

    A node that has not posted its condition yet keeps the taint that admission gave it.
    """
    keys = []
    for kind, taints in _BY_CONDITION.items():
        known = condition(node, kind)
        if known is None and kind == "Ready":
            keys.append(NOT_READY)
        elif known is not None and known["status"] in taints:
            keys.append(taints[known["status"]])
    if node["spec"].get("unschedulable"):
        keys.append(UNSCHEDULABLE)
    return keys


def no_execute_key(node: Object) -> str:
    """Key of the NoExecute taint that readiness calls for, or ""."""
    return {"True": "", "False": NOT_READY}.get(ready_status(node), UNREACHABLE)


def with_taints(taints: list[Object], effect: str, keys: Iterable[str]) -> list[Object]:
    """The taints with those of the node controller, of one effect, replaced by `keys`; others untouched."""
    own = _OWN_NO_SCHEDULE if effect == "NoSchedule" else _OWN_NO_EXECUTE
    wanted = list(keys)
    result = [t for t in taints if t["effect"] != effect or t["key"] not in own or t["key"] in wanted]
    present = {taint["key"] for taint in result if taint["effect"] == effect}
    for key in wanted:
        if key not in present:
            result.append({"key": key, "effect": effect, "timeAdded": timestamp()})
    return result


class ZoneState(Enum):
    NORMAL = "normal"
    PARTIAL = "more than half of the nodes are ill"
    FULL = "no node is well"


def zone_of(node: Object) -> str:
    labels = labels_of(node)
    return (
        labels.get("topology.kubernetes.io/region", "") + ":" + labels.get("topology.kubernetes.io/zone", "")
    )


def zone_states(nodes: Iterable[Object]) -> dict[str, ZoneState]:
    """How ill each zone is, by kube's thresholds (`ComputeZoneState`: 55 %, and at least three nodes)."""
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for node in nodes:
        counts[zone_of(node)][ready_status(node) != "True"] += 1
    states = {}
    for zone, (well, ill) in counts.items():
        if ill and not well:
            states[zone] = ZoneState.FULL
        elif ill > 2 and ill / (ill + well) >= 0.55:
            states[zone] = ZoneState.PARTIAL
        else:
            states[zone] = ZoneState.NORMAL
    return states
