"""From what streams hear to transitions: one state, one order, and nothing that vanishes unsaid."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pytest_cnimigrate.model.objects import Object, key_of
from pytest_cnimigrate.observe.record.differences import FieldChange, differences
from pytest_cnimigrate.observe.record.lines import FoundBy, Line, Mark, Transition
from pytest_cnimigrate.observe.record.state import State, uid_or_name

ArrivalType = Literal["LISTING", "ADDED", "MODIFIED", "DELETED", "SYNCED", "INTERRUPTED", "CONNECTED"]

NOT_KEPT: Collection[str] = frozenset({"Event"})
"""Kinds that are written down and not kept in memory: they are as many as things happen, and nobody asks for
their state. That one expires (after an hour, by default) is no news."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a stream has heard.

    `LISTING`: every object there is follows as ADDED, up to SYNCED. `INTERRUPTED` and `CONNECTED` tell of
    the connection.
    """

    kind: str
    time: datetime
    type: ArrivalType
    object: Object = field(default_factory=dict)
    listed: bool = False
    """Told by a list, not as it happened."""
    polled: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where an earlier recording ended, if this one goes on from there."""

    number: int
    """Of its last line."""
    time: datetime
    kinds: frozenset[str]
    """The kinds of which it had a whole list."""


@dataclass(slots=True)
class _Story:
    """Where the story of one kind stands."""

    heard: datetime | None = None
    """Up to when everything has been told for certain."""
    connected: datetime | None = None
    """Since when the present connection stands. That it does says nothing yet: a server that has forgotten
    our place accepts the connection and then answers with an error."""
    known: bool = False
    """Whether one list has been in, in this recording or in the one that it goes on from."""
    seen: set[str] | None = None
    """Keys of the list that is coming in, if one is."""
    gap: datetime | None = None
    """Since when nothing is known, if that is so."""
    missed: datetime | None = None
    """Since when nobody recorded, until the first list makes that known as a gap."""


class Tracker:
    """Keeps the state by what arrives, and says what has changed. One thread uses it."""

    def __init__(self, state: State, *, resumption: Resumption | None = None) -> None:
        """`resumption`: of the recording that `state` was read from."""
        self.state = state
        self._number = resumption.number if resumption else 0
        self._resumption = resumption
        self._stories: dict[str, _Story] = {}

    def take(self, arrival: Arrival) -> Iterator[Line]:
        """The lines that an arrival makes; most make one, some none."""
        story = self._story(arrival.kind)
        match arrival.type:
            case "INTERRUPTED":
                story.connected = None
                if story.gap is None:
                    story.gap = story.heard or arrival.time
                    yield self._mark("gap", arrival, since=story.gap)
            case "LISTING":
                story.seen = set()
                if story.missed is not None:
                    story.gap, story.missed = story.missed, None
                    yield self._mark("gap", arrival, since=story.gap, reason="nothing was recorded meanwhile")
            case "CONNECTED":
                if story.connected is not None:
                    story.heard = max(story.connected, story.heard or story.connected)
                story.connected = arrival.time
                if story.gap is not None and story.seen is None:
                    yield self._mark("resumed", arrival, since=story.gap)
                    story.gap = None
            case "SYNCED":
                yield from self._synced(story, arrival)
                story.heard = arrival.time
            case "DELETED":
                yield from self._remove(story, arrival, key_of(arrival.object), arrival.object)
            case _:
                yield from self._upsert(story, arrival)
        if arrival.type in ("ADDED", "MODIFIED", "DELETED") and not arrival.listed:
            story.heard = arrival.time

    def mark(self, operation: Literal["started", "stopped"], time: datetime, reason: str = "") -> Mark:
        """A mark about the recorder."""
        self._number += 1
        return Mark(self._number, time, operation, reason=reason)

    def blind(self) -> dict[str, datetime]:
        """The kinds of which nothing is known at present, each since when."""
        return {kind: story.gap for kind, story in self._stories.items() if story.gap is not None}

    def known(self) -> set[str]:
        """The kinds of which a whole list has been in."""
        return {kind for kind, story in self._stories.items() if story.known}

    def _story(self, kind: str) -> _Story:
        if kind not in self._stories:
            missed = None
            if self._resumption is not None and kind in self._resumption.kinds:
                missed = self._resumption.time
            self._stories[kind] = _Story(heard=missed, missed=missed, known=missed is not None)
        return self._stories[kind]

    def _synced(self, story: _Story, arrival: Arrival) -> Iterator[Line]:
        if story.seen is not None:
            for key in self.state.keys(arrival.kind):
                if key not in story.seen:
                    yield from self._remove(story, arrival, key, None)
        if not story.known:
            yield self._mark("synced", arrival, count=self.state.count(arrival.kind))
        story.seen = None
        story.known = True
        if story.gap is not None:
            yield self._mark("resumed", arrival, since=story.gap, relisted=True)
            story.gap = None

    def _upsert(self, story: _Story, arrival: Arrival) -> Iterator[Line]:
        kind, obj = arrival.kind, arrival.object
        key = key_of(obj)
        if story.seen is not None:
            story.seen.add(key)
        identity = self.state.identity(kind, key)
        if identity is not None and identity[0] != uid_or_name(obj):
            # Its end was missed: an object of this name that is another one.
            yield from self._remove(story, arrival, key, None, found_by="list")
            identity = None
        whole = kind not in NOT_KEPT
        version = obj["metadata"].get("resourceVersion", "")
        if identity is not None and version and identity[1] == version:
            return
        old = self.state.get(kind, key)
        changes = differences(_unversioned(old), _unversioned(obj)) if old is not None else ()
        self.state.put(kind, key, obj, whole=whole)
        if old is not None and not changes:
            return
        operation: Literal["added", "changed"] = "added" if identity is None else "changed"
        yield self._transition(operation, story, arrival, key, old=old, new=obj, changes=changes)

    def _remove(
        self,
        story: _Story,
        arrival: Arrival,
        key: str,
        last: Object | None,
        *,
        found_by: FoundBy | None = None,
    ) -> Iterator[Line]:
        kind = arrival.kind
        old = self.state.get(kind, key)
        known = self.state.identity(kind, key) is not None
        self.state.drop(kind, key)
        if not known or kind in NOT_KEPT:
            return
        # What a list finds missing is known by its key alone; a watch tells the last state too.
        changes = (
            differences(_unversioned(old), _unversioned(last))
            if old is not None and last is not None and not arrival.listed
            else ()
        )
        yield self._transition(
            "removed", story, arrival, key, old=old, new=None, changes=changes, found_by=found_by
        )

    def _transition(
        self,
        operation: Literal["added", "changed", "removed"],
        story: _Story,
        arrival: Arrival,
        key: str,
        *,
        old: Object | None,
        new: Object | None,
        changes: tuple[FieldChange, ...],
        found_by: FoundBy | None = None,
    ) -> Transition:
        found_by = found_by or _found_by(story, arrival)
        self._number += 1
        return Transition(
            number=self._number,
            time=arrival.time,
            operation=operation,
            kind=arrival.kind,
            key=key,
            old=old,
            new=new,
            changes=changes,
            found_by=found_by,
            since=(story.gap or story.heard) if found_by in ("list", "poll") else None,
        )

    def _mark(
        self,
        operation: Literal["gap", "resumed", "synced"],
        arrival: Arrival,
        *,
        since: datetime | None = None,
        relisted: bool = False,
        count: int = 0,
        reason: str = "",
    ) -> Mark:
        self._number += 1
        return Mark(
            number=self._number,
            time=arrival.time,
            operation=operation,
            kind=arrival.kind,
            reason=reason or arrival.reason,
            since=since,
            relisted=relisted,
            count=count,
        )


def _found_by(story: _Story, arrival: Arrival) -> FoundBy:
    if arrival.polled:
        return "poll" if story.known else "start"
    if not arrival.listed:
        return "watch"
    return "list" if story.known else "start"


def _unversioned(obj: Object) -> Object:
    """Without its resource version, which changes with everything and says nothing."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    return obj | {"metadata": metadata}
