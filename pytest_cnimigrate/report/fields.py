"""Reading the fields of journal records.

A journal may have been cut off, or written by another version, and the page must still be drawn: a field
that is missing or of another type reads as its empty value.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pytest_cnimigrate.run.journal import Record


def text(record: Record, key: str) -> str:
    """The field as a text; a number is written out."""
    value = record.get(key)
    if value is None or isinstance(value, dict | list):
        return ""
    return value if isinstance(value, str) else str(value)


def number(record: Record, key: str) -> float | None:
    """The field as a number, or None."""
    value = record.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def integer(record: Record, key: str) -> int:
    """The field as a count, 0 if it is none."""
    return int(number(record, key) or 0)


def mapping(record: Record, key: str) -> Mapping[str, Any]:
    """The field as a mapping, or an empty one."""
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def items(record: Record, key: str) -> list[Record]:
    """The mappings in a list field."""
    value = record.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def moment(record: Record) -> datetime | None:
    """When the record was written."""
    try:
        at = datetime.fromisoformat(text(record, "t"))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def rest(record: Record, *known: str) -> Record:
    """The fields that are not in `known`."""
    return {key: value for key, value in record.items() if key not in ("t", "event", *known)}
