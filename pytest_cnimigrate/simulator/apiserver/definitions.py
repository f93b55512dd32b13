"""Custom resource definitions: served as soon as they are written, gone when they are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_cnimigrate.model.objects import Object, timestamp
from pytest_cnimigrate.model.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource
from pytest_cnimigrate.simulator.apiserver.deletion import DeleteOptions
from pytest_cnimigrate.simulator.apiserver.resources import custom_infos

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def establish(definition: Object) -> None:
    """The status of a definition whose names are free, which in this cluster they always are."""
    spec = definition["spec"]
    status = definition.get("status") or {}
    now = timestamp()
    conditions = status.get("conditions") or [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
        }
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    storage = [version["name"] for version in spec["versions"] if version.get("storage")]
    known = [name for name in status.get("storedVersions") or () if name not in storage]
    definition["status"] = {
        "acceptedNames": spec["names"],
        "conditions": conditions,
        "storedVersions": known + storage,
    }


def written(server: ApiServer, definition: Object) -> None:
    """Serve what a definition declares."""
    spec = definition["spec"]
    server.registry.remove(spec["group"], spec["names"]["plural"])
    for info in custom_infos(definition):
        server.registry.add(info)


def removed(server: ApiServer, definition: Object) -> None:
    """Stop serving it."""
    spec = definition["spec"]
    server.registry.remove(spec["group"], spec["names"]["plural"])


def delete_instances(server: ApiServer, definition: Object) -> None:
    """Delete every object of a definition that is being deleted."""
    spec = definition["spec"]
    served = next((version["name"] for version in spec["versions"] if version.get("served")), None)
    if served is None:
        return
    names = spec["names"]
    resource = Resource(spec["group"], served, names["plural"], names["kind"], spec["scope"] == "Namespaced")
    for entry in server.entries(resource):
        metadata = entry.obj["metadata"]
        server.delete(resource, metadata["name"], metadata.get("namespace", ""), options=DeleteOptions())


def is_definition(resource: Resource) -> bool:
    return resource == CUSTOM_RESOURCE_DEFINITIONS
