"""`meta.k8s.io/v1` Table: what `kubectl get` shows."""

from __future__ import annotations

import re
from typing import Any, Final

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.printing import NONE, since
from pytest_cnimigrate.simulator.apiserver.resources import ResourceInfo
from pytest_cnimigrate.simulator.apiserver.table_kinds import (
    DEFAULT,
    KINDS,
    WIDE_EVENT_COLUMNS,
    TableKind,
    name_and_age,
)

_PART = re.compile(
    r"\.([A-Za-z0-9_\-]+)|\[(\d+|\*)\]|\['([^']+)'\]|\[\?\(@\.([\w.]+)==[\"']([^\"']*)[\"']\)\]"
)


def json_path(obj: Any, path: str) -> list[Any]:
    """The values a JSONPath of `additionalPrinterColumns` finds: fields, indexes, `?(@.a=="b")` filters."""
    found = [obj]
    position = 0
    path = path.replace("\\.", "\0")
    while position < len(path):
        match = _PART.match(path, position)
        if match is None:
            return []
        field, index, quoted, filter_field, wanted = match.groups()
        name = (field or quoted or "").replace("\0", ".")
        following: list[Any] = []
        for value in found:
            if name:
                following += [value[name]] if isinstance(value, dict) and name in value else []
            elif not isinstance(value, list):
                continue
            elif index == "*":
                following += value
            elif index is not None:
                following += value[int(index) : int(index) + 1]
            else:
                following += [item for item in value if json_path(item, f".{filter_field}") == [wanted]]
        found = following
        position = match.end()
    return found


def _custom_kind(info: ResourceInfo) -> TableKind:
    columns = info.printer_columns

    def cell(obj: Object, column: Object) -> Any:
        values = json_path(obj, column["jsonPath"])
        if not values:
            return None
        if column["type"] == "date":
            return since(str(values[0]))
        return values[0] if len(values) == 1 and not isinstance(values[0], (dict, list)) else _flat(values)

    def row(obj: Object) -> list[Any]:
        return [obj["metadata"]["name"], *(cell(obj, column) for column in columns)]

    return TableKind(("Name", *(column["name"] for column in columns)), row)


def _flat(values: list[Any]) -> str:
    items = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return ",".join(str(item) for item in items) or NONE


_FIRST: Final = {"format": "name", "description": "Name must be unique within a namespace."}


def _definitions(info: ResourceInfo, kind: TableKind) -> list[Object]:
    custom = {column["name"]: column for column in info.printer_columns}
    definitions = []
    for index, name in enumerate((*kind.columns, *kind.wide)):
        column = custom.get(name, {})
        wide = name in kind.wide
        if info.resource.group_resource == "events":
            wide = name in WIDE_EVENT_COLUMNS
        definition: Object = {
            "name": name,
            "type": column.get("type", "string"),
            "format": "",
            "description": column.get("description", ""),
            "priority": column.get("priority", 1 if wide else 0),
        }
        definitions.append(definition | (_FIRST if index == 0 and name == "Name" else {}))
    return definitions


def table(
    info: ResourceInfo,
    objects: list[Object],
    *,
    metadata: Object,
    include_object: str = "Metadata",
    with_columns: bool = True,
) -> Object:
    """A table of the objects; `include_object` is `None`, `Metadata` or `Object`."""
    kind = KINDS.get(info.resource.group_resource, DEFAULT)
    if info.custom:
        kind = _custom_kind(info) if info.printer_columns else TableKind(("Name", "Age"), name_and_age)
    rows = []
    for obj in objects:
        row: Object = {"cells": kind.row(obj)}
        if include_object == "Object":
            row["object"] = obj
        elif include_object == "Metadata":
            row["object"] = partial(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": _definitions(info, kind) if with_columns else None,
        "rows": rows,
    }


def partial(obj: Object) -> Object:
    """`PartialObjectMetadata`."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }
