"""Failures in the API server's own words, as clients and people know them.

The texts follow `k8s.io/apimachinery/pkg/api/errors` and `pkg/util/validation/field`: runbooks quote them and
tools match on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.simulator.client.api import ApiError


@dataclass(frozen=True, slots=True)
class FieldError:
    """One cause of a 422."""

    reason: str
    field: str
    message: str

    @property
    def cause(self) -> Object:
        return {"reason": self.reason, "message": self.message, "field": self.field}


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, "Required value" + (f": {detail}" if detail else ""))


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, f"Invalid value: {_shown(value)}: {detail}")


def unsupported_value(field: str, value: Any, supported: list[str]) -> FieldError:
    choices = ", ".join(f'"{choice}"' for choice in supported)
    return FieldError(
        "FieldValueNotSupported", field, f"Unsupported value: {_shown(value)}: supported values: {choices}"
    )


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {_shown(value)}")


def forbidden_field(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, f"Forbidden: {detail}")


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()


def _details(resource: Resource, name: str, **more: Any) -> Object:
    details: Object = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    return details | more


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(
        404, "NotFound", f'{resource.group_resource} "{name}" not found', details=_details(resource, name)
    )


def unknown_path() -> ApiError:
    """What the server answers for a resource, group or version that it does not serve."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> ApiError:
    return ApiError(
        409,
        "AlreadyExists",
        f'{resource.group_resource} "{name}" already exists',
        details=_details(resource, name),
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: Resource, name: str, detail: str = MODIFIED) -> ApiError:
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {detail}',
        details=_details(resource, name),
    )


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def invalid(resource: Resource, name: str, errors: list[FieldError]) -> ApiError:
    """422 with one cause for each error."""
    texts = [f"{error.field}: {error.message}" for error in errors]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details: Object = {"name": name}
    if resource.group:
        details["group"] = resource.group
    return ApiError(
        422,
        "Invalid",
        f'{kind} "{name}" is invalid: {text}',
        details=details | {"kind": resource.kind, "causes": [error.cause for error in errors]},
    )


def forbidden(resource: Resource, name: str, detail: str) -> ApiError:
    named = f' "{name}"' if name else ""
    return ApiError(
        403,
        "Forbidden",
        f"{resource.group_resource}{named} is forbidden: {detail}",
        details=_details(resource, name),
    )


def method_not_allowed() -> ApiError:
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def unsupported_media_type(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message)


def gone(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def from_the_future(version: int, current: int) -> ApiError:
    """A version that this server has not given out: its client has seen another server's life."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    text = f"Too large resource version: {version}, current: {current}"
    return ApiError(504, "Timeout", text, details={"causes": [cause]}, retry_after=1)


def status_of(error: ApiError) -> Object:
    """The `metav1.Status` that goes over the wire."""
    status: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
    }
    details = dict(error.details)
    if error.retry_after is not None:
        details["retryAfterSeconds"] = error.retry_after
    if details:
        status["details"] = details
    status["code"] = error.code
    return status
