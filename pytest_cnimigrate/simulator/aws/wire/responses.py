"""From an operation's result, or its error, to an HTTP response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.wire.services import Protocol, Service
from pytest_cnimigrate.simulator.aws.wire.values import scalar_to_json, scalar_to_text


@dataclass(frozen=True, slots=True)
class WireResponse:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def render_result(
    service: Service, operation: OperationModel, result: Mapping[str, Any], *, request_id: str
) -> WireResponse:
    """The response of an operation that succeeded.

    A member that the model does not have is a bug of the simulator and raises `KeyError`.
    """
    shape = operation.output_shape
    if service.protocol == "rest-json":
        body = json.dumps(_to_json(shape, result) if shape else {}).encode()
        return _json_response(operation.http.get("responseCode", 200), body, request_id)
    namespace = service.model.metadata["xmlNamespace"]
    root = ElementTree.Element(f"{operation.name}Response", {"xmlns": namespace})
    target = root
    if service.protocol == "ec2":
        ElementTree.SubElement(root, "requestId").text = request_id
    else:
        wrapper = shape.serialization.get("resultWrapper") if shape else None
        if wrapper:
            target = ElementTree.SubElement(root, wrapper)
    if isinstance(shape, StructureShape):
        _fill_structure(target, shape, result)
    if service.protocol == "query":
        metadata = ElementTree.SubElement(root, "ResponseMetadata")
        ElementTree.SubElement(metadata, "RequestId").text = request_id
    return _xml_response(200, root, request_id)


def render_error(protocol: Protocol, error: AwsError, *, request_id: str) -> WireResponse:
    """The response of an operation that failed, so that boto3 raises the error's own exception class."""
    if protocol == "rest-json":
        body = json.dumps({"message": error.message, **error.fields}).encode()
        response = _json_response(error.status, body, request_id)
        response.headers["x-amzn-ErrorType"] = error.code
        return response
    if protocol == "ec2":
        root = ElementTree.Element("Response")
        entry = ElementTree.SubElement(ElementTree.SubElement(root, "Errors"), "Error")
        request_tag = "RequestID"
    else:
        root = ElementTree.Element("ErrorResponse")
        entry = ElementTree.SubElement(root, "Error")
        ElementTree.SubElement(entry, "Type").text = "Sender" if error.status < 500 else "Receiver"
        request_tag = "RequestId"
    ElementTree.SubElement(entry, "Code").text = error.code
    ElementTree.SubElement(entry, "Message").text = error.message
    ElementTree.SubElement(root, request_tag).text = request_id
    return _xml_response(error.status, root, request_id)


def _json_response(status: int, body: bytes, request_id: str) -> WireResponse:
    return WireResponse(status, body, {"Content-Type": "application/json", "x-amzn-RequestId": request_id})


def _xml_response(status: int, root: ElementTree.Element, request_id: str) -> WireResponse:
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return WireResponse(
        status, body, {"Content-Type": "text/xml;charset=UTF-8", "x-amzn-RequestId": request_id}
    )


def _to_json(shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape):
        return {
            shape.members[name].serialization.get("name", name): _to_json(shape.members[name], item)
            for name, item in value.items()
            if item is not None
        }
    if isinstance(shape, ListShape):
        return [_to_json(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: _to_json(shape.value, item) for key, item in value.items()}
    return scalar_to_json(shape, value)


def _fill_structure(parent: ElementTree.Element, shape: StructureShape, value: Mapping[str, Any]) -> None:
    for name, item in value.items():
        member = shape.members[name]
        if item is not None:
            _append(parent, member.serialization.get("name", name), member, item)


def _append(parent: ElementTree.Element, tag: str, shape: Shape, value: Any) -> None:
    if isinstance(shape, ListShape):
        flattened = shape.serialization.get("flattened")
        target = parent if flattened else ElementTree.SubElement(parent, tag)
        item_tag = shape.member.serialization.get("name", tag if flattened else "member")
        for item in value:
            _append(target, item_tag, shape.member, item)
    elif isinstance(shape, MapShape):
        target = ElementTree.SubElement(parent, tag)
        for key, item in value.items():
            entry = ElementTree.SubElement(target, "entry")
            ElementTree.SubElement(entry, shape.key.serialization.get("name", "key")).text = key
            _append(entry, shape.value.serialization.get("name", "value"), shape.value, item)
    elif isinstance(shape, StructureShape):
        _fill_structure(ElementTree.SubElement(parent, tag), shape, value)
    else:
        ElementTree.SubElement(parent, tag).text = scalar_to_text(shape, value)
