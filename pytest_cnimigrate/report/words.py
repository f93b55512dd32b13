"""Numbers and times as people read them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min 12 s`, `1 h 05 min`; an empty text for None."""
    if seconds is None:
        return ""
    if seconds < 0.05:
        return "<0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 check`, `96 checks`, `1,024 pods`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def number(value: Any) -> str:
    """A measured value: thousands grouped, at most three decimals, anything else as JSON."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        text = f"{value:,.3f}"
        return text.rstrip("0").rstrip(".")
    return value if isinstance(value, str) else compact(value)


def compact(value: Any) -> str:
    """A value in one line: texts as they are, the rest as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), default=str)


def clock(moment: datetime | None) -> str:
    """The time of day in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%H:%M:%S") if moment else ""


def day(moment: datetime | None) -> str:
    """The date in UTC, e.g. `22 November 2026`."""
    if moment is None:
        return ""
    moment = moment.astimezone(UTC)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


# strftime("%B") would follow the locale of whoever draws the page; the page is in English.
_MONTHS = [
    *["January", "February", "March", "April", "May", "June"],
    *["July", "August", "September", "October", "November", "December"],
]


def listing(items: Sequence[str], *, most: int = 5) -> str:
    """`a`, `a and b`, `a, b and c`, or the first few `and 7 more`."""
    shown = list(items[:most])
    if len(items) > most:
        return f"{', '.join(shown)} and {len(items) - most} more"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def shorten(text: str, limit: int) -> str:
    """The text in one line, cut at `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def middle_cut(text: str, limit: int) -> str:
    """At most about `limit` characters of a long text: its head and, where errors stand, more of its tail."""
    if len(text) <= limit:
        return text
    head = limit // 3
    gone = len(text) - limit
    gap = f"[… {gone:,} characters are left out here; the journal has them …]"
    return f"{text[:head]}\n{gap}\n{text[head + gone :]}"


_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# Control characters have no place in HTML; lone surrogates cannot be encoded; bidirectional controls could
# make an approver read something else than what is there (https://trojansource.codes).
_UNFIT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\u200e\u200f\ufffe\uffff]"
)


def legible(text: str) -> str:
    """Text that is fit to print: terminal colours gone, invisible characters spelled out."""
    if text.isascii() and text.isprintable():
        return text  # nearly all of a journal, and much quicker than looking
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _UNFIT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
