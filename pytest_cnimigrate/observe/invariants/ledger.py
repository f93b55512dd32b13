"""What the run itself has changed, by its journal: whatever else happened was somebody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

JournalRecord = Mapping[str, Any]

REACH = timedelta(seconds=2)
"""How long after the end of a change what it did may still be heard of: a watch is behind by milliseconds, on
a busy machine by more."""


@dataclass(slots=True)
class OwnChange:
    """A change that the run has begun."""

    kind: str
    parameters: Mapping[str, Any]
    captured: Mapping[str, Any]
    started: datetime
    ended: datetime | None = None
    """When it was done, undone or failed; None while it is under way."""
    is_undo: bool = False

    def can_have_caused(self, earliest: datetime, latest: datetime) -> bool:
        """Whether something that happened at some time between these can be its direct work."""
        return self.started <= latest and (self.ended is None or earliest <= self.ended + REACH)


class Ledger:
    """The run's own changes, oldest first. New records are fetched whenever somebody asks."""

    def __init__(self, fetch: Callable[[], Iterable[JournalRecord]] = tuple) -> None:
        """`fetch`: the journal's records that it has not yet given; see `of` and `JournalTail`."""
        self._fetch = fetch
        self._changes: list[OwnChange] = []
        self._open: dict[tuple[int, bool], OwnChange] = {}

    @classmethod
    def of(cls, records: Iterable[JournalRecord]) -> Ledger:
        """A ledger of records that are all there."""
        iterator = iter(records)
        return cls(lambda: iterator)

    def changes(self, kinds: Collection[str], *, until: datetime) -> Iterator[OwnChange]:
        """The run's changes of these kinds that had begun by `until`, undoings included, newest first."""
        for record in self._fetch():
            self._take(record)
        for change in reversed(self._changes):
            if change.kind in kinds and change.started <= until:
                yield change

    def _take(self, record: JournalRecord) -> None:
        event = record.get("event")
        match event:
            case "change-started" | "undo-started":
                change = OwnChange(
                    record["change"],
                    record.get("parameters") or {},
                    record.get("captured") or {},
                    datetime.fromisoformat(record["t"]),
                    is_undo=event == "undo-started",
                )
                self._changes.append(change)
                self._open[record["id"], change.is_undo] = change
            case "change-done" | "change-undone" | "change-failed":
                undo = event == "change-undone" or (
                    event == "change-failed" and (record["id"], True) in self._open
                )
                opened = self._open.pop((record["id"], undo), None)
                if opened is not None:
                    opened.ended = datetime.fromisoformat(record["t"])
            case _:
                pass


class JournalTail:
    """The records of a journal that is being written: each call gives those that are new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def __call__(self) -> list[JournalRecord]:
        try:
            if self._path.stat().st_size == self._offset:
                return []
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        complete, _, _ = data.rpartition(b"\n")
        if complete:
            self._offset += len(complete) + 1
        return [record for line in complete.split(b"\n") if (record := _parsed(line)) is not None]


def read_changes(journal: Path) -> Ledger:
    """The ledger of a journal that is complete; one that is missing is a run that changed nothing."""
    return Ledger.of(JournalTail(journal)())


def _parsed(line: bytes) -> JournalRecord | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None  # cut off, or empty; whoever reads the journal as such tells of it
    return record if isinstance(record, dict) else None
