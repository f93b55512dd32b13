"""Binding: a pod gets its node (`pods/binding`), once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_cnimigrate.model.objects import Object, copy, timestamp
from pytest_cnimigrate.model.resources import PODS
from pytest_cnimigrate.simulator.apiserver.errors import conflict

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer


def bind(server: ApiServer, name: str, namespace: str, node_name: str, *, uid: str = "") -> Object:
    """Give the pod to a node; raises 409 when it has one, is another pod by now, or is being deleted."""
    current = server.get(PODS, name, namespace)
    actual = current["metadata"]["uid"]
    if uid and actual != uid:
        detail = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
        raise conflict(PODS, name, detail)
    if "deletionTimestamp" in current["metadata"]:
        raise conflict(
            PODS, f"{namespace}/{name}", f"pod {name} is being deleted, cannot be assigned to a host"
        )
    if current["spec"].get("nodeName"):
        detail = f'pod {name} is already assigned to node "{current["spec"]["nodeName"]}"'
        raise conflict(PODS, f"{namespace}/{name}", detail)
    pod = copy(current)
    pod["spec"]["nodeName"] = node_name
    status = pod.setdefault("status", {})
    others = [entry for entry in status.get("conditions") or () if entry["type"] != "PodScheduled"]
    scheduled: Object = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(),
        # No observedGeneration yet: kubelet adds it with its first status, as recorded.
    }
    status["conditions"] = [*others, scheduled]
    return server.replace(PODS, pod)
