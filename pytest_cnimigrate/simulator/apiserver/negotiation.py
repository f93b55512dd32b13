"""What a client sends and what it wants back: media types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson
import yaml

from pytest_cnimigrate.simulator.apiserver.errors import bad_request, unsupported_media_type
from pytest_cnimigrate.simulator.client.api import ApiError, PatchType

JSON: Final = "application/json"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"

PATCH_TYPES: Final[dict[str, PatchType]] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One media type of an Accept header: `application/json;as=Table;g=meta.k8s.io;v=v1`."""

    media_type: str
    parameters: dict[str, str]

    @property
    def form(self) -> str:
        """`Table`, `PartialObjectMetadataList`, `APIGroupDiscoveryList`, …; empty for plain objects."""
        return self.parameters.get("as", "")


def accepted(header: str) -> Wanted:
    """The first media type of an Accept header that can be served; raises 406 if there is none."""
    for part in (header or JSON).split(","):
        media_type, *rest = [item.strip() for item in part.split(";")]
        parameters = dict(item.split("=", 1) for item in rest if "=" in item)
        if media_type in (JSON, "*/*", "application/*"):
            return Wanted(JSON, parameters)
    raise ApiError(406, "NotAcceptable", f"only the following media types are accepted: {JSON}")


def decode(body: bytes, content_type: str) -> Any:
    """The body as JSON or YAML; raises 415 for protobuf and others, 400 when it cannot be read."""
    media_type = content_type.split(";")[0].strip().lower()
    if media_type == PROTOBUF:
        raise unsupported_media_type(
            "the embedded cluster does not speak protobuf; send JSON (with kubectl: put the object into a "
            "file and use `kubectl apply -f`, the short forms of `kubectl create` send protobuf)"
        )
    if media_type not in ("", JSON, "application/yaml", *PATCH_TYPES):
        raise unsupported_media_type(
            f"the body of the request was in an unknown format ({media_type}) - "
            f"accepted media types include: {JSON}, application/yaml"
        )
    if not body:
        return {}
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if not media_type.endswith("yaml"):
            raise bad_request(f"the object provided is unrecognized: {error}") from error
    try:
        return yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from error


def patch_type(content_type: str) -> PatchType:
    """Which patch a PATCH is; raises 415 for any other body."""
    media_type = content_type.split(";")[0].strip().lower()
    kind = PATCH_TYPES.get(media_type)
    if kind is None:
        raise unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: "
            + ", ".join(PATCH_TYPES)
        )
    return kind
