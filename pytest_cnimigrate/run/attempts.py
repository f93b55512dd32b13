"""Attempts at changes, as the journal has them: what there is to undo, and what undoing needs.

The journal redacts whatever looks like a secret, and a manifest has much that does (a Secret volume, a
variable named …TOKEN). What must be put back as it was is then kept whole in `saved/` beside the journal,
readable by its owner only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_cnimigrate.run.journal import Journal, JournalError, Record, read_journal
from pytest_cnimigrate.run.redaction import redact

Captured = dict[str, Any]
"""What was there before a change, as JSON: what undoing it needs."""

_EVENTS = frozenset(
    {"change-started", "change-held", "change-done", "change-failed", "change-undone", "undo-started"}
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A change that was begun."""

    id: int
    captured: Captured
    """As it stands in the journal: redacted."""
    saved: str = ""
    """The file beside the journal that holds it whole, if redaction took something away."""
    is_done: bool = False
    """False: it failed or was cut off, so that nobody knows whether it came about."""


class Attempts:
    """The attempts that one journal tells of."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def next_id(self) -> int:
        """An id that no change in this journal has, whether it was made, held or refused."""
        return 1 + max((record["id"] for record in self._records()), default=0)

    def of(self, kind: str, parameters: dict[str, Any]) -> list[Attempt]:
        """The attempts at one change that have not been undone, the newest first."""
        wanted = redact(_through_json(parameters))
        found: dict[int, Attempt] = {}
        for record in self._records():
            if (record["change"], record["parameters"]) != (kind, wanted):
                continue
            match record["event"]:
                case "change-started":
                    found[record["id"]] = Attempt(record["id"], record["captured"], record.get("saved", ""))
                case "change-done":
                    found[record["id"]] = replace(found[record["id"]], is_done=True)
                case "change-undone":
                    # What was put back is the state before this attempt; those before it are history.
                    found.clear()
        return list(reversed(found.values()))

    def keep(self, identity: int, captured: Captured) -> dict[str, Any]:
        """The fields of `change-started` that remember what was there before.

        Raises `JournalError` if it cannot be kept whole: the change must not happen then.
        """
        plain: Captured = _through_json(captured)
        if redact(plain) == plain:
            return {"captured": plain}
        name = f"change-{identity}.json"
        path = self._folder / name
        try:
            path.parent.mkdir(exist_ok=True)
            # A file of this id is of a run that was killed before it told the journal.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(plain, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise JournalError(f"cannot write {path}: {error.strerror or error}") from error
        return {"captured": plain, "saved": name}

    def recall(self, attempt: Attempt) -> Captured:
        """What was there before an attempt, whole. Raises `JournalError` if its file cannot be read."""
        if not attempt.saved:
            return attempt.captured
        path = self._folder / attempt.saved
        try:
            captured: Captured = json.loads(path.read_bytes())
        except OSError as error:
            raise JournalError(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise JournalError(f"cannot read {path}: it is not JSON any more: {error}") from error
        return captured

    @property
    def _folder(self) -> Path:
        return self._journal.path.parent / "saved"

    def _records(self) -> Iterator[Record]:
        return _changes(read_journal(self._journal.path))


def _changes(records: Iterable[Record]) -> Iterator[Record]:
    return (record for record in records if record["event"] in _EVENTS)


def _through_json(value: Any) -> Any:
    # What stands in the journal went through JSON, where a tuple becomes a list.
    return json.loads(json.dumps(value))
