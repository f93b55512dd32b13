"""The journal: what a run did, one JSON object a line, written before and after each step.

It is the source of truth of a run: the terminal's lines, the JUnit entries of tests that never ran, the
HTML page, and what can be resumed or undone are all drawn from it. Several processes append to one journal
(the controller and a worker of pytest-xdist), so each line is one `write` to a file opened with `O_APPEND`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from pytest_cnimigrate.run.redaction import redact

__all__ = ["Journal", "JournalError", "Record", "parse_line", "read_journal", "redact"]

Record = Mapping[str, Any]
"""One line: `t` (UTC, ISO 8601 with milliseconds), `event`, and the event's own fields."""

UNREADABLE = "unreadable"
"""The event that stands in for a line in the middle of a journal that is not JSON (field `text`)."""

# What must be on the disk before anything else happens. Notes and samples may be lost with the machine.
_SYNCED = ("change-", "test-", "run-", "gate-closed", "owner", "interrupted")

_LINE_START = '{"t":'


class JournalError(Exception):
    """The journal cannot be written; the text is one line that names the file.

    Raised before a change this means: the change must not happen.
    """


class Journal:
    """Appends to one journal file. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._torn = False
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(f"cannot write {path}: {error.strerror}") from error

    def append(self, event: str, *, sync: bool | None = None, **fields: Any) -> None:
        """Write one line; secrets in it are redacted.

        `sync` waits until the line is on the disk; by default that is so for everything about tests,
        changes and the run itself. Raises `JournalError` if the line cannot be written, and `TypeError`
        for a field that has no place in JSON.
        """
        data = _encode(event, fields)
        if sync is None:
            sync = event.startswith(_SYNCED)
        with self._lock:
            try:
                # After a write that broke off, a line of its own keeps the next record readable.
                if self._torn:
                    data = b"\n" + data
                written = os.write(self._descriptor, data)
                self._torn = written != len(data)
                if self._torn:
                    raise JournalError(f"cannot write {self.path}: only {written} of {len(data)} bytes fit")
                if sync:
                    os.fsync(self._descriptor)
            except OSError as error:
                raise JournalError(f"cannot write {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file. Later appends raise `JournalError`."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1


def read_journal(path: Path) -> list[Record]:
    """The records of a journal, oldest first; none if there is no such file.

    A last line that was cut off (the process was killed) is left out. A line in the middle that cannot be
    read becomes a record of the event `unreadable`: a gap in the record must be seen.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    complete, _, _torn = data.rpartition(b"\n")
    records = []
    for line in complete.split(b"\n"):
        record = parse_line(line)
        if record is not None:
            records.append(record)
    return records


def parse_line(line: bytes) -> Record | None:
    """The record of one complete line; None for an empty one."""
    text = line.decode("utf-8", errors="replace").strip()
    if not text:
        return None
    try:
        record = json.loads(text)
    except ValueError:
        # A record that another process appended to a torn line is whole: inside JSON texts the quotes
        # would be escaped, so the last start of a line is where it begins.
        start = text.rfind(_LINE_START)
        if start <= 0:
            return {"t": "", "event": UNREADABLE, "text": redact(text[:200])}
        return parse_line(text[start:].encode())
    if not isinstance(record, dict) or "event" not in record:
        return {"t": "", "event": UNREADABLE, "text": redact(text[:200])}
    return record


def _encode(event: str, fields: Mapping[str, Any]) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    try:
        # Through JSON first: redaction then sees what a reader would see.
        plain = json.loads(json.dumps(fields, default=_plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"event {event!r} cannot be written as JSON: {error}") from error
    record = {"t": now, "event": event, **redact(plain)}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
