"""Types of objects: what merging needs to know of lists and maps, and which fields exist at all.

Built-in kinds come from `schemas.json` (written by tools/generate_schemas.py), custom resources from their
definition; both speak OpenAPI, so one class reads both.
"""

from __future__ import annotations

from functools import cache
from importlib import resources as package_files
from typing import Any, Final

import orjson

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.resources import ResourceInfo

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class Schema:
    """One node of a type: an object with fields, a map, a list, or a scalar."""

    __slots__ = ("_fields", "raw")

    def __init__(self, raw: Object) -> None:
        self.raw = raw
        self._fields: dict[str, Schema] = {}

    @property
    def type(self) -> str:
        """`object`, `array`, `string`, …; empty where anything goes (`IntOrString`, `Quantity`)."""
        kind: str = self.raw.get("type", "")
        return kind

    def field(self, name: str) -> Schema:
        """The type of a field or of a map's values; knows nothing of unknown fields."""
        found = self._fields.get(name)
        if found is None:
            raw = (self.raw.get("properties") or {}).get(name)
            if raw is None:
                extra = self.raw.get("additionalProperties")
                raw = extra if isinstance(extra, dict) else None
            found = _resolve(raw) if raw is not None else UNKNOWN
            self._fields[name] = found
        return found

    def knows(self, name: str) -> bool:
        """Whether a field of that name may be there."""
        if name in (self.raw.get("properties") or {}) or self.raw.get("additionalProperties"):
            return True
        return "properties" not in self.raw or bool(self.raw.get("x-kubernetes-preserve-unknown-fields"))

    @property
    def items(self) -> Schema:
        """The type of a list's items."""
        found = self._fields.get("")
        if found is None:
            raw = self.raw.get("items")
            found = self._fields[""] = _resolve(raw) if raw is not None else UNKNOWN
        return found

    @property
    def merge_key(self) -> str | None:
        """Strategic merge patch's key of a list, or None if lists are replaced."""
        if self.raw.get("x-kubernetes-patch-strategy", "").find("merge") < 0:
            return None
        key: str | None = self.raw.get("x-kubernetes-patch-merge-key")
        return key

    @property
    def merges_primitives(self) -> bool:
        """Whether strategic merge patch unites a list of scalars, as it does finalizers."""
        return "merge" in self.raw.get("x-kubernetes-patch-strategy", "") and self.merge_key is None

    @property
    def retains_keys(self) -> bool:
        return "retainKeys" in self.raw.get("x-kubernetes-patch-strategy", "")

    @property
    def list_keys(self) -> tuple[str, ...]:
        """The keys by which server-side apply identifies items; empty for other lists."""
        if self.raw.get("x-kubernetes-list-type") != "map":
            return ()
        return tuple(self.raw.get("x-kubernetes-list-map-keys") or ())

    @property
    def is_set(self) -> bool:
        return self.raw.get("x-kubernetes-list-type") == "set"

    @property
    def is_atomic(self) -> bool:
        """Whether an object is owned as a whole, as selectors are."""
        return self.raw.get("x-kubernetes-map-type") == "atomic"


def _resolve(raw: Object) -> Schema:
    reference = raw.get("$ref")
    if isinstance(reference, str):
        return definition(reference.rsplit("/", 1)[1])
    return Schema(raw)


UNKNOWN: Final = Schema({})


@cache
def _document() -> Object:
    text = (package_files.files(__package__) / "schemas.json").read_bytes()
    document: Object = orjson.loads(text)
    return document


def definitions() -> Object:
    """Every definition by name, in the form of OpenAPI v2."""
    found: Object = _document()["definitions"]
    return found


@cache
def definition(name: str) -> Schema:
    """A built-in type by its full name."""
    return Schema(definitions()[name])


def references(raw: Any) -> set[str]:
    """The names of all built-in types that a raw schema refers to."""
    if isinstance(raw, list):
        return set().union(*(references(item) for item in raw))
    if not isinstance(raw, dict):
        return set()
    # JSONSchemaProps has a *property* of that name, whose value is a schema.
    reference = raw.get("$ref")
    found = {reference.rsplit("/", 1)[1]} if isinstance(reference, str) else set()
    return found.union(*(references(value) for value in raw.values()))


@cache
def _by_kind() -> dict[tuple[str, str, str], str]:
    return {
        (kind["group"], kind["version"], kind["kind"]): name
        for name, raw in definitions().items()
        for kind in raw.get("x-kubernetes-group-version-kind", ())
    }


def definition_name(group: str, version: str, kind: str) -> str | None:
    """The full name of a built-in kind's type."""
    return _by_kind().get((group, version, kind))


def schema_of(info: ResourceInfo) -> Schema:
    """The type of a resource's objects."""
    resource = info.resource
    if info.custom:
        return _custom_schema(info)
    name = definition_name(resource.group, resource.version, resource.kind)
    return definition(name) if name else UNKNOWN


def _custom_schema(info: ResourceInfo) -> Schema:
    cached = info.cache.get("schema")
    if isinstance(cached, Schema):
        return cached
    raw: dict[str, Any] = dict(info.schema or {"x-kubernetes-preserve-unknown-fields": True})
    text = {"type": "string"}
    raw["properties"] = dict(raw.get("properties") or {}) | {
        "apiVersion": text,
        "kind": text,
        "metadata": {"$ref": f"#/definitions/{_META}"},
    }
    schema = info.cache["schema"] = Schema(raw)
    return schema
