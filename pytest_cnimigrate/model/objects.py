"""Shapes and small helpers for Kubernetes objects as plain JSON.

Objects are plain dictionaries everywhere: typed models cost seconds at 10,000 pods. An object that came out
of a client or an informer is shared with everybody else: treat it as frozen and `copy` it before changing
anything.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson

Object = dict[str, Any]


def copy(obj: Object) -> Object:
    """A deep copy that may be changed (serialise and parse: quicker than `copy.deepcopy`)."""
    result: Object = orjson.loads(orjson.dumps(obj))
    return result


def timestamp(moment: dt.datetime | None = None) -> str:
    """`metav1.Time`: RFC 3339 in UTC with whole seconds, e.g. `2026-11-22T20:30:48Z`."""
    return (moment or dt.datetime.now(dt.UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(moment: dt.datetime | None = None) -> str:
    """`metav1.MicroTime`, used by leases and events."""
    return (moment or dt.datetime.now(dt.UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str) -> dt.datetime:
    """Read `metav1.Time` or `metav1.MicroTime` (also with nanoseconds, as Go writes them)."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


def name_of(obj: Object) -> str:
    name: str = obj["metadata"]["name"]
    return name


def namespace_of(obj: Object) -> str:
    """The namespace, or "" for an object of the cluster."""
    namespace: str = obj["metadata"].get("namespace", "")
    return namespace


def key_of(obj: Object) -> str:
    """`namespace/name`, or `name` for an object of the cluster."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def uid_of(obj: Object) -> str:
    uid: str = obj["metadata"]["uid"]
    return uid


def labels_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def is_terminating(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def condition(obj: Object, kind: str) -> Object | None:
    """The entry of `status.conditions` with `type: kind`, if there is one."""
    for entry in (obj.get("status") or {}).get("conditions") or ():
        if entry["type"] == kind:
            found: Object = entry
            return found
    return None


def is_pod_ready(pod: Object) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def controller_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`, if there is one."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def owner_reference(owner: Object, *, controller: bool = True) -> Object:
    """An owner reference to `owner`, as controllers write it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": controller,
        "blockOwnerDeletion": True,
    }
