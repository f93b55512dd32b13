"""`metadata.managedFields`: which manager owns which fields.

Kept for objects that somebody outside wrote (over HTTP, or through a `LocalApi` with a manager's name). What
the loops of the simulated control plane make for themselves, pods above all, goes without: tracking ten
thousand pods would double the size of every list and tell nobody anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pytest_cnimigrate.model.objects import Object, timestamp
from pytest_cnimigrate.simulator.apiserver.field_sets import (
    MISSING,
    Path,
    changed_fields,
    fields_of,
    from_wire,
    to_wire,
)
from pytest_cnimigrate.simulator.apiserver.schema import Schema

CONTROL_PLANE: Final = "kube-controller-manager"
"""Who a write without a manager's name is put down to."""


@dataclass(slots=True)
class Manager:
    """One entry of `managedFields`."""

    name: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: set[Path]

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return (self.name, self.operation, self.api_version, self.subresource)

    @classmethod
    def parse(cls, entry: Object) -> Manager:
        return cls(
            entry.get("manager", ""),
            entry.get("operation", "Update"),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
            entry.get("time", ""),
            from_wire(entry.get("fieldsV1") or {}),
        )

    def dump(self) -> Object:
        entry: Object = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_wire(self.fields),
        }
        return entry | ({"subresource": self.subresource} if self.subresource else {})


def managers_of(obj: Object) -> list[Manager]:
    return [Manager.parse(entry) for entry in obj["metadata"].get("managedFields") or ()]


def set_managers(obj: Object, managers: Iterable[Manager]) -> None:
    """Write the entries that own anything."""
    entries = [manager.dump() for manager in managers if manager.fields]
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def record_update(
    schema: Schema,
    new: Object,
    old: Object | None,
    *,
    manager: str,
    api_version: str,
    subresource: str = "",
) -> None:
    """Note in `new` who owns what after a create, an update or a patch other than apply."""
    carried = new["metadata"].get("managedFields")
    tracked = old["metadata"].get("managedFields") if old is not None else carried
    if not manager and not tracked:
        new["metadata"].pop("managedFields", None)
        return
    if old is None and carried:
        return  # a create by server-side apply: its entry is there already
    managers = managers_of(old) if old is not None else []
    if carried == [{}]:
        managers = []  # the documented way to reset ownership
    changed = changed_fields(new, old if old is not None else MISSING, schema)
    if changed:
        for other in managers:
            other.fields -= changed
        add_fields(
            managers, changed, name=manager or CONTROL_PLANE, api_version=api_version, subresource=subresource
        )
    if changed or old is None or _shrunk(new, old):
        existing = fields_of(new, schema)
        for other in managers:
            other.fields &= existing
    set_managers(new, managers)


def _shrunk(new: Object, old: Object) -> bool:
    def payload(obj: Object) -> Object:
        metadata = {k: v for k, v in obj["metadata"].items() if k not in ("managedFields", "resourceVersion")}
        return obj | {"metadata": metadata}

    return payload(new) != payload(old)


def add_fields(
    managers: list[Manager],
    fields: set[Path],
    *,
    name: str,
    api_version: str,
    subresource: str = "",
    operation: str = "Update",
) -> None:
    """Give fields to a manager, who is added if need be."""
    fresh = Manager(name, operation, api_version, subresource, timestamp(), set(fields))
    for manager in managers:
        if manager.identity == fresh.identity:
            manager.fields |= fields
            manager.time = fresh.time
            return
    managers.append(fresh)
