"""The status of a pod as kubelet writes it; shapes and order as in the recordings of a real cluster."""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_cnimigrate.model.objects import Object, condition, timestamp
from pytest_cnimigrate.simulator.nodes.programs import Program


@dataclass(eq=False, slots=True)
class Container:
    """A container of a pod: its part of the spec and what has become of it."""

    spec: Object
    init: bool = False
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Object = field(default_factory=dict)
    ready: bool = False
    restart_count: int = 0
    container_id: str = ""
    program: Program | None = None
    previous_log: deque[str] | None = None
    """Output of the run before this one."""

    @property
    def name(self) -> str:
        name: str = self.spec["name"]
        return name

    @property
    def sidecar(self) -> bool:
        return self.init and self.spec.get("restartPolicy") == "Always"

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """How the container ended, if it has."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code

    def waits(self, reason: str, message: str = "") -> None:
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        self.ready = False

    def starts(self) -> None:
        self.container_id = f"containerd://{secrets.token_hex(32)}"
        self.state = {"running": {"startedAt": timestamp()}}

    def ends(self, exit_code: int, reason: str = "") -> None:
        """The container's process is gone."""
        started = self.state.get("running", {}).get("startedAt", timestamp())
        self.state = {
            "terminated": {
                "exitCode": exit_code,
                "reason": reason or ("Completed" if exit_code == 0 else "Error"),
                "startedAt": started,
                "finishedAt": timestamp(),
                "containerID": self.container_id,
            }
        }
        self.ready = False
        if self.program is not None:
            self.previous_log = self.program.context.log
            self.program = None

    def restarts(self) -> None:
        """Count a restart and keep how the last run ended."""
        self.last_state = {"terminated": self.state["terminated"]}
        self.restart_count += 1

    def status(self) -> Object:
        completed_init = self.init and not self.sidecar and self.exit_code == 0
        status: Object = {
            "image": full_image_name(self.spec["image"]),
            "imageID": "",
            "lastState": self.last_state,
            "name": self.name,
            "ready": completed_init or (self.ready and self.running),
            "restartCount": self.restart_count,
            "started": self.running,
            "state": self.state,
        }
        if self.container_id:
            status["containerID"] = self.container_id
            status["imageID"] = f"sha256:{hashlib.sha256(self.spec['image'].encode()).hexdigest()}"
        else:
            status["image"] = self.spec["image"]
        return status


def full_image_name(image: str) -> str:
    """The name as containerd reports it: with registry and tag."""
    first, _, rest = image.partition("/")
    if not rest:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{image}"
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"


def phase_of(containers: Iterable[Container], restart_policy: str, *, stopping: bool = False) -> str:
    """The pod's phase, which kubelet derives from its containers' states."""
    containers = list(containers)
    regular = [container for container in containers if not container.init]
    initialising = [c for c in containers if c.init and not c.sidecar and c.exit_code != 0]
    if initialising and not stopping:
        failed = any(c.exit_code not in (None, 0) for c in initialising)
        return "Failed" if failed and restart_policy == "Never" else "Pending"
    if all(container.exit_code is not None for container in regular):
        codes = [container.exit_code for container in regular]
        if stopping or restart_policy == "Never":
            return "Failed" if any(codes) else "Succeeded"
        if restart_policy == "OnFailure" and not any(codes):
            return "Succeeded"
        return "Running"
    started = any(c.running or c.exit_code is not None or c.restart_count for c in regular)
    return "Running" if started else "Pending"


def pod_status(
    pod: Object,
    containers: list[Container],
    *,
    phase: str,
    host_address: str,
    pod_address: str,
    sandbox_ready: bool,
    start_time: str,
) -> Object:
    """The whole status; conditions keep their transition time while their status stays."""
    init = [container for container in containers if container.init]
    regular = [container for container in containers if not container.init]
    finished = phase in ("Succeeded", "Failed")
    unready = [c.name for c in regular if not (c.ready and c.running)]
    uninitialised = [c.name for c in init if not (c.running if c.sidecar else c.exit_code == 0)]

    def ready_fields(kind: str) -> Object:
        if finished:
            reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
            return {"type": kind, "status": "False", "reason": reason}
        if uninitialised or unready:
            text = f"containers with unready status: [{' '.join(unready)}]"
            return {"type": kind, "status": "False", "reason": "ContainersNotReady", "message": text}
        return {"type": kind, "status": "True"}

    if uninitialised and not finished:
        initialised = {
            "type": "Initialized",
            "status": "False",
            "reason": "ContainersNotInitialized",
            "message": f"containers with incomplete status: [{' '.join(uninitialised)}]",
        }
    else:
        initialised = {"type": "Initialized", "status": "True"}
        if phase == "Succeeded":
            initialised["reason"] = "PodCompleted"
    conditions = [
        {"type": "PodReadyToStartContainers", "status": "True" if sandbox_ready else "False"},
        initialised,
        ready_fields("Ready"),
        ready_fields("ContainersReady"),
        {"type": "PodScheduled", "status": "True"},
    ]
    status: Object = {
        "phase": phase,
        "conditions": [_dated(pod, entry) for entry in conditions],
        "hostIP": host_address,
        "hostIPs": [{"ip": host_address}],
        "startTime": start_time,
        "containerStatuses": [container.status() for container in regular],
    }
    if "generation" in pod["metadata"]:
        status["observedGeneration"] = pod["metadata"]["generation"]
    if init:
        status["initContainerStatuses"] = [container.status() for container in init]
    if pod_address:
        status["podIP"] = pod_address
        status["podIPs"] = [{"ip": pod_address}]
    return status


def rejected_status(reason: str, message: str) -> Object:
    """What remains of a pod that kubelet does not admit."""
    return {
        "phase": "Failed",
        "reason": reason,
        "message": f"Pod was rejected: {message}",
        "startTime": timestamp(),
    }


def _dated(pod: Object, entry: dict[str, Any]) -> Object:
    earlier = condition(pod, entry["type"])
    changed = earlier is None or earlier["status"] != entry["status"]
    dated: Object = {
        **entry,
        "lastProbeTime": None,
        "lastTransitionTime": timestamp() if changed or earlier is None else earlier["lastTransitionTime"],
    }
    # A strategic merge keeps what it is not told to drop.
    dated.setdefault("reason", None)
    dated.setdefault("message", None)
    if "generation" in pod["metadata"]:
        dated["observedGeneration"] = pod["metadata"]["generation"]
    return dated
