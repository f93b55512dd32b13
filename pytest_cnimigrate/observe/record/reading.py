"""Reading a record: line by line, with the whole state at each step."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import orjson

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.observe.record.differences import FieldChange, patched
from pytest_cnimigrate.observe.record.lines import FORMAT, Line, Mark, Transition, parse_moment
from pytest_cnimigrate.observe.record.state import State
from pytest_cnimigrate.observe.record.tracking import NOT_KEPT, Resumption
from pytest_cnimigrate.observe.record.writing import record_files


class RecordError(Exception):
    """A record that cannot be read; the text names the file and the line."""


def read_record(folder: Path) -> Iterator[Line]:
    """The lines of a record, oldest first, transitions with the whole object before and after.

    A last line that was cut off (the recorder was killed) is left out. Raises `RecordError` if there is no
    record, or one that is damaged or of a newer version.
    """
    return replay(folder, State())


def replay(folder: Path, state: State, *, until: datetime | None = None) -> Iterator[Line]:
    """As `read_record`; after each line `state` (empty at first) holds every object as it was then.

    Ends before the first line later than `until`.
    """
    files = record_files(folder)
    if not files:
        raise RecordError(f"{folder} holds no record (no record-*.jsonl)")
    for path in files:
        for number, raw in _raw_lines(path):
            try:
                if until is not None and parse_moment(raw["t"]) > until:
                    return
                line = _line(raw, state)
            except (LookupError, ValueError, TypeError) as error:
                raise RecordError(f"{path}, line {number}: the record is damaged: {error!r}") from error
            yield line


def state_at(folder: Path, time: datetime | None = None) -> State:
    """Every object as it was at a moment, or at the record's end."""
    state = State()
    for _ in replay(folder, state, until=time):
        pass
    return state


def resume(folder: Path) -> tuple[State, Resumption | None]:
    """The state at a record's end, and where that was; nothing of both if there is no record yet."""
    state = State()
    last: Line | None = None
    kinds: set[str] = set()
    if record_files(folder):
        for line in replay(folder, state):
            last = line
            if isinstance(line, Mark) and line.operation == "synced":
                kinds.add(line.kind)
    return state, Resumption(last.number, last.time, frozenset(kinds)) if last is not None else None


def _raw_lines(path: Path) -> Iterator[tuple[int, Object]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            if not text.endswith(b"\n"):
                return  # cut off
            try:
                yield number, orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise RecordError(f"{path}, line {number}: the record is damaged: {error}") from error


def _line(raw: Object, state: State) -> Line:
    number, time, operation, kind = raw["n"], parse_moment(raw["t"]), raw["op"], raw["kind"]
    since = parse_moment(raw["since"]) if "since" in raw else None
    if operation not in ("added", "changed", "removed"):
        if raw.get("format", FORMAT) > FORMAT:
            raise ValueError(f"format {raw['format']} is newer than this version, which reads {FORMAT}")
        return Mark(
            number=number,
            time=time,
            operation=operation,
            kind=kind,
            reason=raw.get("reason", ""),
            since=since,
            relisted=raw.get("relisted", False),
            count=raw.get("count", 0),
        )
    key = raw["key"]
    old = state.get(kind, key)
    changes = tuple(FieldChange.from_json(change) for change in raw.get("changes", ()))
    new: Object | None = raw.get("object")
    if operation == "removed":
        state.drop(kind, key)
    else:
        if new is None:
            if old is None:
                raise LookupError(f"{kind} {key} changed without having been there")
            new = patched(old, changes)
            if "version" in raw:
                new["metadata"]["resourceVersion"] = raw["version"]
        state.put(kind, key, new, whole=kind not in NOT_KEPT)
    return Transition(
        number=number,
        time=time,
        operation=operation,
        kind=kind,
        key=key,
        old=old,
        new=new,
        changes=changes,
        found_by=raw["found_by"],
        since=since,
    )
