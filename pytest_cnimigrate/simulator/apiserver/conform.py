"""Decoding: does an object have only fields that exist, each of the right type?

A real server drops fields it does not know, refuses them when asked to (`fieldValidation=Strict`, as kubectl
asks), and refuses wrong types always. A typing error in a manifest must not pass here and fail there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from pytest_cnimigrate.model.objects import Object, copy
from pytest_cnimigrate.simulator.apiserver.errors import (
    FieldError,
    bad_request,
    invalid,
    required,
    unsupported_value,
)
from pytest_cnimigrate.simulator.apiserver.resources import ResourceInfo
from pytest_cnimigrate.simulator.apiserver.schema import Schema, schema_of

FIELD_VALIDATION: Final = ("Ignore", "Warn", "Strict")

_JSON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@dataclass(slots=True)
class Findings:
    """What is wrong with an object's form."""

    unknown: list[str] = field(default_factory=list)
    mistyped: list[tuple[str, str, Any]] = field(default_factory=list)
    """Field, the type it should have, its value."""
    errors: list[FieldError] = field(default_factory=list)
    """Custom resources only: what else their schema asks."""


def conform(info: ResourceInfo, obj: Object, *, mode: str, old: Object | None = None) -> list[str]:
    """Drop unknown fields from a private copy and return warnings about them.

    What is wrong with `old`, the object that a patch changes, is not the client's doing: no word about that.
    Raises `ApiError` 400 for a wrong type (422 for a custom resource) and, in the mode Strict, for an unknown
    field.
    """
    if mode not in FIELD_VALIDATION:
        raise bad_request(f"invalid fieldValidation {mode!r}: one of {', '.join(FIELD_VALIDATION)}")
    findings = Findings()
    schema = schema_of(info)
    _walk(obj, schema, "", findings, custom=info.custom)
    if old is not None and (findings.unknown or findings.mistyped or findings.errors):
        before = Findings()
        _walk(copy(old), schema, "", before, custom=info.custom)
        findings.unknown = [path for path in findings.unknown if path not in before.unknown]
        findings.mistyped = [found for found in findings.mistyped if found not in before.mistyped]
        findings.errors = [found for found in findings.errors if found not in before.errors]
    kind = info.resource.kind
    if findings.mistyped and not info.custom:
        path, expected, value = findings.mistyped[0]
        problem = f"json: cannot unmarshal {_go_name(value)} into Go struct field {path} of type {expected}"
        raise bad_request(
            f'{kind} in version "{info.resource.version}" cannot be handled as a {kind}: {problem}'
        )
    if info.custom and (findings.mistyped or findings.errors):
        errors = [_body_error(path, expected, value) for path, expected, value in findings.mistyped]
        raise invalid(info.resource, str(obj["metadata"].get("name", "")), errors + findings.errors)
    if findings.unknown and mode == "Strict":
        listed = ", ".join(f'unknown field "{path}"' for path in findings.unknown)
        raise bad_request(
            f'{kind} in version "{info.resource.version}" cannot be handled as a {kind}: '
            f"strict decoding error: {listed}"
        )
    return [f'unknown field "{path}"' for path in findings.unknown] if mode == "Warn" else []


def _body_error(path: str, expected: str, value: Any) -> FieldError:
    detail = f"{path} in body must be of type {expected}: {_json_type(value)!r}".replace("'", '"')
    return FieldError("FieldValueTypeInvalid", path, f'Invalid value: "{_json_type(value)}": {detail}')


def _json_type(value: Any) -> str:
    for name, types in _JSON_TYPES.items():
        if isinstance(value, types) and not (name in ("integer", "number") and isinstance(value, bool)):
            return name
    return "null"


def _go_name(value: Any) -> str:
    return {"boolean": "bool", "integer": "number"}.get(_json_type(value), _json_type(value))


def _has_type(value: Any, schema: Schema) -> bool:
    if schema.raw.get("x-kubernetes-int-or-string"):
        return isinstance(value, (int, str)) and not isinstance(value, bool)
    types = _JSON_TYPES.get(schema.type)
    if types is None:
        return True
    if isinstance(value, bool):
        return schema.type == "boolean"
    return isinstance(value, types)


def _walk(value: Any, schema: Schema, path: str, findings: Findings, *, custom: bool) -> None:
    if value is None:
        return
    if not _has_type(value, schema):
        findings.mistyped.append((path or "object", schema.raw.get("format") or schema.type, value))
        return
    if custom:
        _check_custom(value, schema, path, findings)
    if isinstance(value, dict):
        for key in list(value):
            at = f"{path}.{key}" if path else key
            if schema.knows(key):
                _walk(value[key], schema.field(key), at, findings, custom=custom)
            else:
                findings.unknown.append(at)
                del value[key]
    elif isinstance(value, list):
        items = schema.items
        for index, item in enumerate(value):
            _walk(item, items, f"{path}[{index}]", findings, custom=custom)


def _check_custom(value: Any, schema: Schema, path: str, findings: Findings) -> None:
    choices = schema.raw.get("enum")
    if choices and value not in choices:
        findings.errors.append(unsupported_value(path, value, [str(choice) for choice in choices]))
    if isinstance(value, dict):
        findings.errors += [
            required(f"{path}.{name}" if path else name)
            for name in schema.raw.get("required") or ()
            if name not in value
        ]
