"""Server-side apply: merging what a manager wants, dropping what it no longer wants, and conflicts.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from typing import Any

from pytest_cnimigrate.model.objects import Object, timestamp
from pytest_cnimigrate.simulator.apiserver.errors import bad_request
from pytest_cnimigrate.simulator.apiserver.field_sets import (
    Path,
    children,
    fields_of,
    item_element,
    remove,
    show,
    value_at,
)
from pytest_cnimigrate.simulator.apiserver.managed_fields import Manager, managers_of, set_managers
from pytest_cnimigrate.simulator.apiserver.options import WriteOptions
from pytest_cnimigrate.simulator.apiserver.resources import ResourceInfo
from pytest_cnimigrate.simulator.apiserver.schema import Schema
from pytest_cnimigrate.simulator.apiserver.strategy import normalise
from pytest_cnimigrate.simulator.client.api import ApiError

APPLY = "Apply"


def applied_object(info: ResourceInfo, patch: Any, name: str, namespace: str) -> Object:
    """The applied configuration; raises 400 when it names another object or carries managedFields."""
    applied = normalise(patch, info)
    metadata = applied["metadata"]
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if metadata.get("name", name) != name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
    metadata["name"] = name
    if info.resource.namespaced:
        if metadata.get("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace on the request"
            )
        metadata["namespace"] = namespace
    return applied


def own_new(schema: Schema, obj: Object, manager: str) -> None:
    """Ownership of an object that apply creates."""
    fields = fields_of(obj, schema)
    set_managers(obj, [Manager(manager, APPLY, obj["apiVersion"], "", timestamp(), fields)])


def apply(
    info: ResourceInfo,
    schema: Schema,
    live: Object,
    applied: Object,
    *,
    subresource: str,
    options: WriteOptions,
) -> Object:
    """The live object with the configuration applied; raises 409 on conflicts unless forced."""
    managers = managers_of(live)
    mine = Manager(options.manager, APPLY, info.resource.api_version, subresource, timestamp(), set())
    previous = next((manager for manager in managers if manager.identity == mine.identity), None)
    others = [manager for manager in managers if manager is not previous]
    mine.fields = fields_of(applied, schema)
    if subresource:
        mine.fields = {path for path in mine.fields if path[0] == "f:status"}
    conflicts = _conflicts(mine.fields, others, live, applied, schema)
    if conflicts and not options.force:
        raise _conflict_error(conflicts)
    for manager, paths in conflicts:
        manager.fields -= set(paths)
    result = _merge(live, applied, schema)
    if previous is not None:
        result = _prune(result, previous.fields - mine.fields, mine.fields, others, schema)
        if previous.fields == mine.fields:
            mine.time = previous.time
    wanted_version = applied["metadata"].get("resourceVersion")
    metadata = dict(result["metadata"])
    metadata["resourceVersion"] = wanted_version or live["metadata"]["resourceVersion"]
    result = normalise({**result, "metadata": metadata}, info)
    set_managers(result, [*others, mine])
    return result


def _merge(live: Any, applied: Any, schema: Schema) -> Any:
    if isinstance(live, dict) and isinstance(applied, dict) and not schema.is_atomic:
        merged = {key: _merge(live[key], value, schema.field(key)) if key in live else value
                  for key, value in applied.items()}  # fmt: skip
        return live | merged
    if isinstance(live, list) and isinstance(applied, list) and children(applied, schema) is not None:
        result = list(live)
        places = {item_element(item, schema): index for index, item in enumerate(result)}
        for item in applied:
            place = places.get(item_element(item, schema))
            if place is None:
                result.append(item)
            else:
                result[place] = _merge(result[place], item, schema.items)
        return result
    return applied


def _prune(obj: Object, dropped: set[Path], kept: set[Path], others: list[Manager], schema: Schema) -> Object:
    """Remove what the manager applied before and does not any more, unless somebody else owns it."""
    owned = kept.union(*(manager.fields for manager in others))
    # From the top: an item that has lost its key could not be found any more.
    for path in sorted(dropped, key=len):
        if not any(other[: len(path)] == path for other in owned):
            obj = remove(obj, path, schema)
    return obj


Conflicts = list[tuple[Manager, list[Path]]]


def _conflicts(
    mine: set[Path], others: list[Manager], live: Object, applied: Object, schema: Schema
) -> Conflicts:
    found: Conflicts = []
    for manager in others:
        paths = [
            path
            for path in sorted(mine & manager.fields)
            if not _is_container(path, mine)
            and value_at(live, path, schema) != value_at(applied, path, schema)
        ]
        if paths:
            found.append((manager, paths))
    return found


def _is_container(path: Path, fields: set[Path]) -> bool:
    """A list's item or a map as such: what is in it is compared field by field."""
    return any(len(other) > len(path) and other[: len(path)] == path for other in fields)


def _conflict_error(conflicts: Conflicts) -> ApiError:
    causes = []
    lines = []
    for manager, paths in conflicts:
        who = f'"{manager.name}"'
        if manager.subresource:
            who += f' with subresource "{manager.subresource}"'
        who += f" using {manager.api_version}"
        lines.append((who, [show(path) for path in paths]))
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": show(path)}
            for path in paths
        ]
    if len(causes) == 1:
        text = f"Apply failed with 1 conflict: conflict with {lines[0][0]}: {lines[0][1][0]}"
    else:
        listed = "\n".join(
            f"conflicts with {who}:\n" + "\n".join(f"- {p}" for p in paths) for who, paths in lines
        )
        text = f"Apply failed with {len(causes)} conflicts: {listed}"
    return ApiError(409, "Conflict", text, details={"causes": causes})


def without_times(obj: Object) -> Object:
    """The object without the times of its managed fields, to see whether a write changed anything."""
    entries = [
        {key: value for key, value in entry.items() if key != "time"}
        for entry in obj["metadata"].get("managedFields") or ()
    ]
    return obj | {"metadata": obj["metadata"] | {"managedFields": entries}}
