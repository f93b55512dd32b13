"""Recorded watches of a real cluster, as a recorder would have heard them."""

from __future__ import annotations

import gzip
import heapq
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from pytest_cnimigrate.observe.record.lines import Line, as_json
from pytest_cnimigrate.observe.record.sources import recorded
from pytest_cnimigrate.observe.record.state import State
from pytest_cnimigrate.observe.record.tracking import NOT_KEPT, Arrival, Tracker
from pytest_cnimigrate.observe.record.writing import RecordWriter

WATCHES = Path(__file__).parents[1] / "fixtures" / "recordings" / "watches"

NODE_POOL = ("10-watch-nodes", "10-watch-pods", "10-watch-daemonsets")
IN_PLACE = ("80-watch-nodes", "80-watch-pods", "80-watch-daemonsets")

# A watch without a resource version tells first, at once, what is there.
_FIRST = timedelta(milliseconds=200)


def raw_events(name: str) -> list[tuple[datetime, dict[str, Any]]]:
    """The events of one recording as the API server sent them, each with the time of its arrival."""
    with gzip.open(WATCHES / f"{name}.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    return [(datetime.fromisoformat(line["t"]), line["event"]) for line in lines]


def arrivals(*names: str, until: str = "") -> list[Arrival]:
    """What streams on these recordings hear, in the order of time; `until` is a time of day (UTC)."""
    heard = list(heapq.merge(*(_arrivals(name) for name in names), key=lambda one: one.time))
    return [one for one in heard if not until or one.time.strftime("%H:%M:%S.%f") < until]


def _arrivals(name: str) -> Iterator[Arrival]:
    events = raw_events(name)
    kind, begun = events[0][1]["object"]["kind"], events[0][0]
    synced = False
    yield Arrival(kind, begun, "LISTING")
    for time, event in events:
        listed = time - begun < _FIRST
        if not listed and not synced:
            yield Arrival(kind, begun + _FIRST, "SYNCED")
            synced = True
        yield Arrival(kind, time, event["type"], recorded(event["object"]), listed=listed)


def tracked(heard: Iterable[Arrival], state: State | None = None) -> Iterator[tuple[Line, State]]:
    """The lines that a recorder makes of it, each with the state that it has led to."""
    state = state or State()
    tracker = Tracker(state)
    for arrival in heard:
        for line in tracker.take(arrival):
            yield line, state


def write_record(folder: Path, heard: Iterable[Arrival], **settings: Any) -> Path:
    """A record of it on disk."""
    with RecordWriter(folder, **settings) as writer:
        for line, _ in tracked(heard):
            writer.append(orjson.dumps(as_json(line, stored=line.kind not in NOT_KEPT)))
    return folder
