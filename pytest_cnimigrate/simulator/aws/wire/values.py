"""Single values on the wire: text to Python and back, as the shape's type says."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import Any

from botocore.model import Shape

from pytest_cnimigrate.simulator.aws.errors import AwsError


def scalar_from_text(shape: Shape, text: str, path: str) -> Any:
    """A value from a query string, form field or path; ValidationException names the field otherwise."""
    try:
        match shape.type_name:
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case "integer" | "long":
                return int(text)
            case "float" | "double":
                return float(text)
            case "timestamp":
                return dt.datetime.fromisoformat(text)
            case "blob":
                return base64.b64decode(text, validate=True)
            case _:
                return text
    except (KeyError, ValueError, binascii.Error):
        raise AwsError(
            "ValidationException", f"{path}: {text!r} is not a {shape.type_name}", status=400
        ) from None


def scalar_to_text(shape: Shape, value: Any) -> str:
    """A value as XML text."""
    match shape.type_name:
        case "boolean":
            return "true" if value else "false"
        case "timestamp":
            return _iso(value)
        case "blob":
            return base64.b64encode(value).decode()
        case _:
            return str(value)


def scalar_to_json(shape: Shape, value: Any) -> Any:
    """A value in a JSON body; timestamps are seconds since 1970 unless the shape says otherwise."""
    match shape.type_name:
        case "timestamp":
            if shape.serialization.get("timestampFormat") == "iso8601":
                return _iso(value)
            return round(value.timestamp(), 3)
        case "blob":
            return base64.b64encode(value).decode()
        case _:
            return value


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
