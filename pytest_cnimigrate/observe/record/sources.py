"""What is recorded, and in what shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.redaction import redact
from pytest_cnimigrate.model.resources import (
    CILIUM_ENDPOINTS,
    CILIUM_NODE_CONFIGS,
    CILIUM_NODES,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    EVENTS,
    NETWORK_POLICIES,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Resource,
)

RECORDED = (
    NODES,
    PODS,
    DAEMON_SETS,
    DEPLOYMENTS,
    STATEFUL_SETS,
    REPLICA_SETS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    EVENTS,
)
"""What is watched from the start."""

RECORDED_ONCE_SERVED = (CILIUM_NODES, CILIUM_ENDPOINTS, CILIUM_NODE_CONFIGS)
"""What is watched as soon as its CustomResourceDefinition is established, in whichever version is served."""


@dataclass(frozen=True, slots=True)
class Poll:
    """Something that cannot be watched and is asked again and again, such as the cloud's node groups."""

    kind: str
    read: Callable[[], Iterable[Object]]
    """Everything of this kind, as objects: with `metadata.name`, and whatever else is worth recording.
    Whatever it raises becomes a gap in the record."""
    interval: float
    """Seconds."""


def recorded(obj: Object) -> Object:
    """An object as it is recorded: without its secrets, and without what only the server's bookkeeping needs.

    `managedFields` is half of an object's size. Of a CustomResourceDefinition the schemas are left out (those
    of Cilium are 600 kB), of a node the list of images.
    """
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    trimmed = obj | {"metadata": metadata}
    match obj.get("kind"):
        case "CustomResourceDefinition":
            trimmed["spec"] = _without_schemas(obj.get("spec") or {})
        case "Node" if "images" in (obj.get("status") or {}):
            trimmed["status"] = {key: value for key, value in obj["status"].items() if key != "images"}
        case _:
            pass
    found: Object = redact(trimmed)
    return found


def _without_schemas(spec: Object) -> Object:
    versions = [
        {key: value for key, value in version.items() if key in ("name", "served", "storage", "deprecated")}
        for version in spec.get("versions") or ()
    ]
    return spec | {"versions": versions}


def identity(obj: Object) -> Object:
    """The least of an object that tells whether it is still the same, for `Watch`'s `keep`."""
    names = ("name", "namespace", "uid", "resourceVersion")
    return {"metadata": {name: obj["metadata"][name] for name in names if name in obj["metadata"]}}


def served_resource(definition: Object) -> Resource | None:
    """The resource to watch that a CustomResourceDefinition makes known, if it is one that is recorded.

    None as long as it is not established: the server would answer 404.
    """
    spec = definition.get("spec") or {}
    wanted = next(
        (one for one in RECORDED_ONCE_SERVED if definition["metadata"]["name"] == one.group_resource), None
    )
    if wanted is None or not _is_established(definition):
        return None
    served = [version["name"] for version in spec.get("versions") or () if version.get("served")]
    if not served:
        return None
    # CiliumNodeConfig is v2alpha1 up to Cilium 1.15, and both up to 1.19.
    version = wanted.version if wanted.version in served else served[0]
    return Resource(wanted.group, version, wanted.plural, wanted.kind, wanted.namespaced)


def _is_established(definition: Object) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


__all__ = [
    "CUSTOM_RESOURCE_DEFINITIONS",
    "RECORDED",
    "RECORDED_ONCE_SERVED",
    "Poll",
    "identity",
    "recorded",
    "served_resource",
]
