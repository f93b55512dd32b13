"""The pod's row: READY, STATUS and RESTARTS, worked out as Kubernetes' own printer does (`printPod`)."""

from __future__ import annotations

from typing import Any

from pytest_cnimigrate.model.objects import Object, condition
from pytest_cnimigrate.simulator.apiserver.printing import NONE, age, since


def pod_status(pod: Object) -> str:
    """The word under STATUS: the phase, or the most telling reason of a container."""
    status = pod.get("status") or {}
    reason = status.get("reason") or status.get("phase") or "Unknown"
    for entry in status.get("conditions") or ():
        if entry["type"] == "PodScheduled" and entry.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    initializing = _init_reason(pod, status)
    if initializing:
        reason = initializing
    else:
        running = False
        for container in reversed(status.get("containerStatuses") or ()):
            found = _container_reason(container.get("state") or {})
            if found:
                reason = found
            elif container.get("ready") and "running" in (container.get("state") or {}):
                running = True
        if reason == "Completed" and running:
            ready = condition(pod, "Ready")
            reason = "Running" if ready and ready["status"] == "True" else "NotReady"
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(reason)


def _container_reason(state: Object) -> str:
    waiting, terminated = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason"):
        return str(waiting["reason"])
    if terminated:
        if terminated.get("reason"):
            return str(terminated["reason"])
        if terminated.get("signal"):
            return f"Signal:{terminated['signal']}"
        return f"ExitCode:{terminated.get('exitCode', 0)}"
    return ""


def _init_reason(pod: Object, status: Object) -> str:
    specs = {c["name"]: c for c in pod["spec"].get("initContainers") or ()}
    statuses = status.get("initContainerStatuses") or ()
    for index, container in enumerate(statuses):
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if terminated and terminated.get("exitCode", 0) == 0:
            continue
        if specs.get(container["name"], {}).get("restartPolicy") == "Always" and container.get("started"):
            continue  # a sidecar that runs
        if terminated:
            return f"Init:{_container_reason({'terminated': terminated})}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(specs)}"
    return ""


def pod_row(pod: Object) -> list[Any]:
    """Cells of a pod, wide ones included."""
    spec, status = pod["spec"], pod.get("status") or {}
    statuses = status.get("containerStatuses") or []
    ready = sum(bool(c.get("ready")) for c in statuses)
    restarts = sum(int(c.get("restartCount", 0)) for c in statuses)
    finished = [
        c["lastState"]["terminated"]["finishedAt"]
        for c in statuses
        if ((c.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    ]
    shown = f"{restarts} ({since(max(finished))} ago)" if restarts and finished else str(restarts)
    gates = spec.get("readinessGates") or ()
    passed = 0
    for gate in gates:
        found = condition(pod, gate["conditionType"])
        passed += found is not None and found["status"] == "True"
    return [
        pod["metadata"]["name"],
        f"{ready}/{len(spec.get('containers') or ())}",
        pod_status(pod),
        shown,
        age(pod),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{passed}/{len(gates)}" if gates else NONE,
    ]
