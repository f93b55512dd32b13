"""What a request must satisfy before an operation sees it: required members, known enum values, ranges.

botocore checks some of this before it sends; a CLI, another SDK or curl may not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

REDACTED = "(redacted)"


def violations(shape: Shape | None, value: Any, path: str = "") -> Iterator[str]:
    """What is wrong with `value`, a sentence each, naming the field."""
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if value.get(name) is None:
                yield f"{_join(path, name)} is required"
        for name, item in value.items():
            yield from violations(shape.members[name], item, _join(path, name))
    elif isinstance(shape, ListShape):
        yield from _out_of_range(shape, len(value), path, "the number of entries")
        for index, item in enumerate(value):
            yield from violations(shape.member, item, f"{path}[{index}]")
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from violations(shape.key, key, path)
            yield from violations(shape.value, item, _join(path, key))
    elif isinstance(shape, StringShape):
        if shape.enum and value not in shape.enum:
            known = ", ".join(shape.enum) if len(shape.enum) <= 12 else f"the {len(shape.enum)} known values"
            yield f"{path}: {value!r} is not one of {known}"
        yield from _out_of_range(shape, len(value), path, "the length")
    elif shape is not None and shape.type_name in ("integer", "long"):
        yield from _out_of_range(shape, value, path, "the value")


def _out_of_range(shape: Shape, size: int, path: str, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield f"{path}: {what} must be at least {low}"
    if high is not None and size > high:
        yield f"{path}: {what} must be at most {high}"


def without_secrets(shape: Shape | None, value: Any) -> Any:
    """The value with everything that the model marks as sensitive left out, for logs."""
    if shape is None or shape.metadata.get("sensitive"):
        return REDACTED
    if isinstance(shape, StructureShape):
        return {name: without_secrets(shape.members[name], item) for name, item in _items(value)}
    if isinstance(shape, ListShape):
        return [without_secrets(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: without_secrets(shape.value, item) for key, item in _items(value)}
    return value


def _items(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(value.items())


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
