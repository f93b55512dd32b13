"""How values look in kubectl's tables."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from pytest_cnimigrate.model.objects import Object, parse_timestamp

NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"


def human_duration(seconds: float) -> str:
    """`45s`, `3m12s`, `2h5m`, `3d4h`, `10d`, `1y20d`: as `k8s.io/apimachinery/pkg/util/duration` does."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 0:
        return "0s"
    if total < 120:
        return f"{total}s"
    minutes, second = divmod(total, 60)
    if minutes < 10:
        return f"{minutes}m{second}s" if second else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, minute = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{minute}m" if minute else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, hour = divmod(hours, 24)
    if days < 8:
        return f"{days}d{hour}h" if hour else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years, day = divmod(days, 365)
    return f"{years}y{day}d" if years < 8 and day else f"{years}y"


def since(text: str | None, now: dt.datetime | None = None) -> str:
    """The time since a timestamp."""
    if not text:
        return UNKNOWN
    now = now or dt.datetime.now(dt.UTC)
    return human_duration((now - parse_timestamp(text)).total_seconds())


def age(obj: Object) -> str:
    return since(obj["metadata"].get("creationTimestamp"))


def pairs(values: dict[str, str] | None) -> str:
    """Labels: `a=b,c=d`."""
    return ",".join(f"{key}={value}" for key, value in sorted((values or {}).items())) or NONE


def joined(values: Any) -> str:
    return ",".join(str(value) for value in values) or NONE


def containers_of(spec: Object) -> tuple[str, str]:
    """Names and images of the containers, for the wide columns."""
    containers = spec.get("containers") or []
    return ",".join(c["name"] for c in containers), ",".join(c.get("image", "") for c in containers)
