"""Deletion: preconditions, grace periods, finalizers and propagation, as far as they are the server's part.

What follows from them is done by others: the kubelet deletes its terminating pods with grace 0, the garbage
collector deletes dependents and takes off the finalizers `orphan` and `foregroundDeletion`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from pytest_cnimigrate.model.objects import Object, parse_timestamp, timestamp
from pytest_cnimigrate.simulator.apiserver.errors import bad_request, conflict
from pytest_cnimigrate.simulator.apiserver.resources import ResourceInfo

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
POLICIES: Final = ("Background", "Foreground", "Orphan")
DEFAULT_GRACE: Final = 30


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """`meta/v1` DeleteOptions."""

    grace_period_seconds: int | None = None
    uid: str = ""
    """Precondition: delete only the object with this uid."""
    resource_version: str = ""
    propagation_policy: str = ""
    dry_run: bool = False

    @classmethod
    def parse(cls, body: Any, *, dry_run: bool = False) -> DeleteOptions:
        """From a request's body; raises `ApiError` 400 for a policy that does not exist."""
        if not isinstance(body, dict):
            raise bad_request("the body of a delete request must be DeleteOptions")
        policy = body.get("propagationPolicy") or ("Orphan" if body.get("orphanDependents") else "")
        if policy and policy not in POLICIES:
            raise bad_request(f"invalid propagationPolicy {policy!r}: one of {', '.join(POLICIES)}")
        preconditions = body.get("preconditions") or {}
        return cls(
            grace_period_seconds=body.get("gracePeriodSeconds"),
            uid=preconditions.get("uid") or "",
            resource_version=preconditions.get("resourceVersion") or "",
            propagation_policy=policy,
            dry_run=dry_run or bool(body.get("dryRun")),
        )


def check_preconditions(info: ResourceInfo, obj: Object, options: DeleteOptions) -> None:
    """Raise 409 when the object is not the one that was meant."""
    metadata = obj["metadata"]
    for name, wanted, actual in (
        ("UID", options.uid, metadata["uid"]),
        ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
    ):
        if wanted and wanted != actual:
            detail = f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {actual}"
            raise conflict(info.resource, metadata["name"], detail)


def mark_deleted(info: ResourceInfo, obj: Object, options: DeleteOptions) -> bool:
    """Put the marks of a deletion on a private copy, and say whether it changed anything.

    A second deletion of a pod may shorten the grace period, never lengthen it.
    """
    metadata = obj["metadata"]
    is_pod = info.resource.group_resource == "pods"
    changed = _set_propagation(metadata, options.propagation_policy)
    grace = _grace_period(obj, options) if is_pod else 0
    if "deletionTimestamp" in metadata:
        if grace >= metadata.get("deletionGracePeriodSeconds", 0):
            return changed
        begun = parse_timestamp(metadata["deletionTimestamp"])
        begun -= dt.timedelta(seconds=metadata["deletionGracePeriodSeconds"])
        moment = max(begun + dt.timedelta(seconds=grace), dt.datetime.now(dt.UTC)) if grace == 0 else None
        metadata["deletionTimestamp"] = timestamp(moment or begun + dt.timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        return True
    metadata["deletionTimestamp"] = timestamp(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    if metadata.get("generation") and (is_pod or metadata.get("finalizers")):
        metadata["generation"] += 1
    if info.resource.group_resource == "namespaces":
        metadata.pop("deletionGracePeriodSeconds")
        obj["status"] = (obj.get("status") or {}) | {"phase": "Terminating"}
    return True


def _grace_period(pod: Object, options: DeleteOptions) -> int:
    """A pod without a kubelet to stop it, or that has ended, needs no grace."""
    spec, phase = pod["spec"], (pod.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    asked = options.grace_period_seconds
    grace = asked if asked is not None else spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE)
    return int(grace) if grace >= 0 else 1


def _set_propagation(metadata: Object, policy: str) -> bool:
    """The policy is kept as a finalizer, which the garbage collector removes when it has done its work."""
    if not policy:
        return False
    finalizers = [name for name in metadata.get("finalizers") or () if name not in (FOREGROUND, ORPHAN)]
    finalizers += {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(policy, [])
    if finalizers == (metadata.get("finalizers") or []):
        return False
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        del metadata["finalizers"]
    return True
