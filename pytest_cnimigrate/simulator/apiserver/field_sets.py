"""Sets of fields, and their wire form `FieldsV1`: who owns what is counted in these.

A set holds paths; a path is a tuple of `FieldsV1` elements: `f:<field>`, `k:<keys of a list item>` or
`v:<item of a set>`. See `sigs.k8s.io/structured-merge-diff/v6/fieldpath`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.schema import Schema

Path = tuple[str, ...]
FieldSet = frozenset[Path]

MISSING: Final = object()

_KEY_DEFAULTS: Final = {"protocol": "TCP"}
"""Keys of list items that may be left out: all of them are a port's protocol."""

_UNOWNED: Final = frozenset(
    {("f:apiVersion",), ("f:kind",)}
    | {
        ("f:metadata", f"f:{field}")
        for field in (
            "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink",
            "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields",
        )
    }
)  # fmt: skip


def _dump(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def item_element(item: Any, schema: Schema) -> str | None:
    """How an item of a list is identified; None for a list that is owned as a whole."""
    if schema.list_keys and isinstance(item, dict):
        keys = {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in schema.list_keys}
        return "k:" + _dump({key: value for key, value in keys.items() if value is not None})
    if schema.is_set and not isinstance(item, (dict, list)):
        return "v:" + _dump(item)
    return None


def children(value: Any, schema: Schema) -> list[tuple[str, Any, Schema]] | None:
    """The parts of a value that are owned apart (element, value, type), or None for a leaf."""
    if isinstance(value, dict) and not schema.is_atomic:
        return [(f"f:{key}", item, schema.field(key)) for key, item in value.items()]
    if isinstance(value, list) and (schema.list_keys or schema.is_set):
        parts = [(item_element(item, schema), item, schema.items) for item in value]
        if all(element is not None for element, _, _ in parts):
            return [(str(element), item, kind) for element, item, kind in parts]
    return None


def fields_of(value: Any, schema: Schema, prefix: Path = ()) -> set[Path]:
    """Every field that a value sets."""
    if prefix in _UNOWNED:
        return set()
    parts = children(value, schema)
    if not parts:
        return {prefix} if prefix else set()
    found = {prefix} if _is_member(prefix, schema) else set()
    for element, item, kind in parts:
        found |= fields_of(item, kind, (*prefix, element))
    return found


def _is_member(path: Path, schema: Schema) -> bool:
    """Items of lists, and maps, are owned themselves besides what is in them."""
    return bool(path) and (path[-1].startswith("k:") or bool(schema.raw.get("additionalProperties")))


def changed_fields(new: Any, old: Any, schema: Schema, prefix: Path = ()) -> set[Path]:
    """Every field that `new` sets to something else than `old` does."""
    if new == old or prefix in _UNOWNED:
        return set()
    parts = children(new, schema)
    before = children(old, schema) if old is not MISSING else None
    if parts is None or before is None:
        return fields_of(new, schema, prefix)
    known = {element: item for element, item, _ in before}
    found: set[Path] = set()
    for element, item, kind in parts:
        found |= changed_fields(item, known.get(element, MISSING), kind, (*prefix, element))
    return found


def value_at(value: Any, path: Path, schema: Schema) -> Any:
    """The value of a field, or MISSING."""
    for element in path:
        parts = children(value, schema)
        match = next((part for part in parts or () if part[0] == element), None)
        if match is None:
            return MISSING
        _, value, schema = match
    return value


def remove(value: Any, path: Path, schema: Schema) -> Any:
    """`value` without the field; shares what it leaves alone."""
    element, rest = path[0], path[1:]
    if isinstance(value, dict):
        key = element.removeprefix("f:")
        if key not in value:
            return value
        if not rest:
            return {name: item for name, item in value.items() if name != key}
        return value | {key: remove(value[key], rest, schema.field(key))}
    if isinstance(value, list):
        result = []
        for item in value:
            if item_element(item, schema) != element:
                result.append(item)
            elif rest:
                result.append(remove(item, rest, schema.items))
        return result
    return value


def to_wire(fields: Iterable[Path]) -> Object:
    """As `fieldsV1`."""
    members = set(fields)
    root: Object = {}
    for path in sorted(members):
        node = root
        for depth, element in enumerate(path, start=1):
            node = node.setdefault(element, {})
            if depth < len(path) and path[:depth] in members:
                node.setdefault(".", {})
    return root


def from_wire(node: Object, prefix: Path = ()) -> set[Path]:
    """From `fieldsV1`."""
    found: set[Path] = set()
    for element, child in node.items():
        if element == ".":
            found.add(prefix)
        elif child:
            found |= from_wire(child, (*prefix, element))
        else:
            found.add((*prefix, element))
    return found


def show(path: Path) -> str:
    """`.spec.template.spec.containers[name="web"].image`: how errors name a field."""
    text = ""
    for element in path:
        kind, rest = element[:2], element[2:]
        if kind == "f:":
            text += f".{rest}"
        elif kind == "k:":
            keys = orjson.loads(rest)
            text += "[" + ",".join(f"{key}={_dump(value)}" for key, value in keys.items()) + "]"
        else:
            text += f"[={rest}]"
    return text
