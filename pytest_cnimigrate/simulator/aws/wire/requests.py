"""From an HTTP request to an operation and its parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.wire.services import Service
from pytest_cnimigrate.simulator.aws.wire.values import scalar_from_text

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WireRequest:
    """An HTTP request, with only what AWS protocols look at."""

    method: str
    path: str
    """Still percent-encoded."""
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes

    def form(self) -> dict[str, str]:
        """Fields of a query-protocol request, wherever they are."""
        return {**dict(self.query), **dict(parse_qsl(self.body.decode(), keep_blank_values=True))}


def parse_request(service: Service, request: WireRequest) -> tuple[OperationModel, Parameters]:
    """The operation and its parameters in the names of the service's model.

    Raises `AwsError`: UnknownOperationException or InvalidAction for what no model has, and
    ValidationException or SerializationException for values that do not fit their shape.
    """
    if service.protocol == "rest-json":
        return _parse_rest(service, request)
    return _parse_query(service, request)


def _parse_rest(service: Service, request: WireRequest) -> tuple[OperationModel, Parameters]:
    for route in service.routes:
        match = route.path.fullmatch(request.path)
        if match and route.method == request.method:
            break
    else:
        raise AwsError(
            "UnknownOperationException", f"{service.name} has no {request.method} {request.path}", status=404
        )
    shape = route.operation.input_shape
    if shape is None:
        return route.operation, {}
    body = _json_body(request)
    values: Parameters = {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        if location == "uri":
            values[name] = scalar_from_text(member, unquote(match[wire_name]), name)
        elif location == "querystring":
            given = [value for key, value in request.query if key == wire_name]
            if given and isinstance(member, ListShape):
                values[name] = [scalar_from_text(member.member, text, name) for text in given]
            elif given:
                values[name] = scalar_from_text(member, given[0], name)
        elif body.get(wire_name) is not None:
            values[name] = _from_json(member, body[wire_name], name)
    return route.operation, values


def _json_body(request: WireRequest) -> dict[str, Any]:
    if not request.body:
        return {}
    try:
        body = json.loads(request.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise AwsError("SerializationException", "the body is not a JSON object")
    return body


def _from_json(shape: Shape, value: Any, path: str) -> Any:
    if isinstance(shape, StructureShape):
        _expect(isinstance(value, dict), shape, path)
        return {
            name: _from_json(member, value[wire_name], f"{path}.{name}")
            for name, member in shape.members.items()
            if value.get(wire_name := member.serialization.get("name", name)) is not None
        }
    if isinstance(shape, ListShape):
        _expect(isinstance(value, list), shape, path)
        return [_from_json(shape.member, item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(shape, MapShape):
        _expect(isinstance(value, dict), shape, path)
        return {key: _from_json(shape.value, item, f"{path}.{key}") for key, item in value.items()}
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "boolean": bool,
        "integer": int,
        "long": int,
        "float": (int, float),
        "double": (int, float),
    }
    _expect(isinstance(value, kinds.get(shape.type_name, object)), shape, path)
    _expect(shape.type_name == "boolean" or not isinstance(value, bool), shape, path)
    return value


def _expect(fits: bool, shape: Shape, path: str) -> None:
    if not fits:
        raise AwsError("SerializationException", f"{path}: expected {shape.type_name}")


def _parse_query(service: Service, request: WireRequest) -> tuple[OperationModel, Parameters]:
    form = request.form()
    action = form.get("Action", "")
    if action not in service.model.operation_names:
        raise AwsError(
            "InvalidAction",
            f"The action {action} is not valid for this web service "
            f"({service.name} {service.model.api_version}).",
        )
    operation = service.model.operation_model(action)
    shape = operation.input_shape
    if shape is None:
        return operation, {}
    values: Parameters = _FormReader(form, ec2=service.protocol == "ec2").read(shape, "") or {}
    return operation, values


class _FormReader:
    """Nested values out of flat fields such as `Filter.1.Value.2`.

    The protocols differ in two things: how a member is called, and whether a list has a level of its own.
    """

    def __init__(self, form: Mapping[str, str], *, ec2: bool) -> None:
        self._form = form
        self._ec2 = ec2

    def read(self, shape: Shape, prefix: str) -> Any:
        """The value at `prefix`, or None when no field speaks of it."""
        if isinstance(shape, StructureShape):
            values = {
                name: value
                for name, member in shape.members.items()
                if (value := self.read(member, self._member_prefix(prefix, name, member))) is not None
            }
            return values or None
        if isinstance(shape, ListShape):
            return self._read_list(shape, prefix)
        if isinstance(shape, MapShape):
            return self._read_map(shape, prefix)
        text = self._form.get(prefix)
        return None if text is None else scalar_from_text(shape, text, prefix)

    def _member_prefix(self, prefix: str, name: str, member: Shape) -> str:
        wire_name = member.serialization.get("name", name)
        if self._ec2:
            wire_name = member.serialization.get("queryName") or wire_name[0].upper() + wire_name[1:]
        elif isinstance(member, ListShape) and member.serialization.get("flattened"):
            wire_name = member.member.serialization.get("name", wire_name)
        return f"{prefix}.{wire_name}" if prefix else wire_name

    def _read_list(self, shape: ListShape, prefix: str) -> list[Any] | None:
        if self._form.get(prefix) == "":
            return []
        if not self._ec2 and not shape.serialization.get("flattened"):
            prefix = f"{prefix}.{shape.member.serialization.get('name', 'member')}"
        indexes = self._indexes(prefix)
        return [self.read(shape.member, f"{prefix}.{index}") for index in indexes] or None

    def _read_map(self, shape: MapShape, prefix: str) -> dict[str, Any] | None:
        if not shape.serialization.get("flattened"):
            prefix = f"{prefix}.entry"
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        return {
            self._form[f"{prefix}.{index}.{key_name}"]: self.read(
                shape.value, f"{prefix}.{index}.{value_name}"
            )
            for index in self._indexes(prefix)
        } or None

    def _indexes(self, prefix: str) -> list[int]:
        pattern = re.compile(re.escape(prefix) + r"\.(\d+)(?:\.|$)")
        return sorted({int(match[1]) for field in self._form if (match := pattern.match(field))})
