"""A Deployment's status: its sums and its conditions Available, Progressing and ReplicaFailure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pytest_cnimigrate.model.objects import Object, condition, name_of, parse_timestamp, timestamp
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.controllers.base import without_zeros
from pytest_cnimigrate.simulator.controllers.deployment_sets import is_complete, wanted

_SUMS = {
    "replicas": "replicas",
    "readyReplicas": "readyReplicas",
    "availableReplicas": "availableReplicas",
    "terminatingReplicas": "terminatingReplicas",
}


@dataclass(slots=True)
class Progress:
    """What one look at the Deployment did and saw."""

    new: Object | None = None
    """The ReplicaSet of the present template."""
    created: str = ""
    found: str = ""
    """Its name, if it was created just now or existed already."""
    paused: bool = False


def deployment_status(
    deployment: Object, owned: list[Object], progress: Progress, max_unavailable: int, pace: Pace
) -> Object:
    """The status that fits these ReplicaSets."""
    previous = deployment.get("status") or {}
    sums = {
        field: sum((each.get("status") or {}).get(source) or 0 for each in owned)
        for field, source in _SUMS.items()
    }
    new_status = (progress.new or {}).get("status") or {}
    status: Object = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": sums["replicas"],
        "updatedReplicas": new_status.get("replicas") or 0,
        "readyReplicas": sums["readyReplicas"],
        "availableReplicas": sums["availableReplicas"],
        "unavailableReplicas": max(0, sum(wanted(each) for each in owned) - sums["availableReplicas"]),
        "terminatingReplicas": sums["terminatingReplicas"],
        "collisionCount": previous.get("collisionCount") or 0,
    }
    conditions = _Conditions(previous.get("conditions") or [])
    if sums["availableReplicas"] >= wanted(deployment) - max_unavailable:
        conditions.set(
            "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."
        )
    else:
        message = "Deployment does not have minimum availability."
        conditions.set("Available", "False", "MinimumReplicasUnavailable", message)
    _set_progressing(conditions, deployment, status, progress, pace)
    _set_failure(conditions, owned)
    status["conditions"] = conditions.entries
    return without_zeros(status, "terminatingReplicas")


class _Conditions:
    def __init__(self, entries: list[Object]) -> None:
        self.entries = [dict(entry) for entry in entries]

    def get(self, kind: str) -> Object | None:
        return next((entry for entry in self.entries if entry["type"] == kind), None)

    def drop(self, kind: str) -> None:
        self.entries = [entry for entry in self.entries if entry["type"] != kind]

    def set(self, kind: str, status: str, reason: str, message: str, *, touch: bool = False) -> None:
        """Change the condition; `touch` moves `lastUpdateTime` even if only that is new."""
        old = self.get(kind)
        if old is not None and (old["status"], old["reason"]) == (status, reason) and not touch:
            return
        now = timestamp()
        kept = old is not None and old["status"] == status
        entry: Object = {
            "type": kind,
            "status": status,
            "lastUpdateTime": now,
            "lastTransitionTime": old["lastTransitionTime"] if old is not None and kept else now,
            "reason": reason,
            "message": message,
        }
        self.drop(kind)
        self.entries.append(entry)


def _set_progressing(
    conditions: _Conditions, deployment: Object, status: Object, progress: Progress, pace: Pace
) -> None:
    known = conditions.get("Progressing")
    if progress.paused:
        if known is None or known["reason"] != "DeploymentPaused":
            conditions.set("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
        return
    if known is not None and known["reason"] == "DeploymentPaused":
        conditions.set("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")
    name = name_of(progress.new) if progress.new is not None else ""
    if progress.created:
        message = f'Created new replica set "{progress.created}"'
        conditions.set("Progressing", "True", "NewReplicaSetCreated", message, touch=True)
    elif known is None and progress.found:
        message = f'Found new replica set "{progress.found}"'
        conditions.set("Progressing", "True", "FoundNewReplicaSet", message)
    known = conditions.get("Progressing")
    if known is None or progress.new is None:
        return
    # A Deployment that was complete before is not judged again until something is rolled out.
    was_complete = known["reason"] == "NewReplicaSetAvailable" and (
        (deployment.get("status") or {}).get("updatedReplicas") == status["updatedReplicas"]
        and (deployment.get("status") or {}).get("replicas") == status["replicas"]
    )
    if was_complete and not progress.created:
        return
    if is_complete(deployment, status):
        message = f'ReplicaSet "{name}" has successfully progressed.'
        conditions.set("Progressing", "True", "NewReplicaSetAvailable", message)
    elif _has_progressed(deployment.get("status") or {}, status):
        message = f'ReplicaSet "{name}" is progressing.'
        conditions.set("Progressing", "True", "ReplicaSetUpdated", message, touch=True)
    elif known["reason"] != "ProgressDeadlineExceeded" and _is_overdue(deployment, known, pace):
        message = f'ReplicaSet "{name}" has timed out progressing.'
        conditions.set("Progressing", "False", "ProgressDeadlineExceeded", message)


def _has_progressed(before: Object, after: Object) -> bool:
    """More new, fewer old, or more ready or available replicas than before."""

    def old(status: Object) -> int:
        count: int = (status.get("replicas") or 0) - (status.get("updatedReplicas") or 0)
        return count

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old(after) < old(before) or any((after.get(f) or 0) > (before.get(f) or 0) for f in grown)


def _set_failure(conditions: _Conditions, owned: list[Object]) -> None:
    failures = [found for each in owned if (found := condition(each, "ReplicaFailure"))]
    if failures:
        conditions.set("ReplicaFailure", failures[0]["status"], failures[0]["reason"], failures[0]["message"])
    else:
        conditions.drop("ReplicaFailure")


def _deadline_left(deployment: Object, progressing: Object, pace: Pace) -> float | None:
    deadline = deployment["spec"].get("progressDeadlineSeconds")
    if deadline is None or deadline >= 2**31 - 1:  # the API's way to say "none"
        return None
    since = parse_timestamp(progressing["lastUpdateTime"])
    passed = (dt.datetime.now(dt.UTC) - since).total_seconds() * pace.speed
    # The timestamp has whole seconds of wall time: never call a rollout late for its rounding alone.
    return float(deadline + pace.speed - passed)


def _is_overdue(deployment: Object, progressing: Object, pace: Pace) -> bool:
    left = _deadline_left(deployment, progressing, pace)
    return left is not None and left <= 0


def seconds_until_overdue(deployment: Object, status: Object, pace: Pace) -> float | None:
    """Simulated seconds until the rollout exceeds its deadline; None if it does not run or has none."""
    progressing = condition({"status": status}, "Progressing")
    if progressing is None or is_complete(deployment, status):
        return None
    if progressing["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"):
        return None
    left = _deadline_left(deployment, progressing, pace)
    return None if left is None else max(left, 1.0)
