"""The lines of a record: transitions of objects, and marks about the recording itself.

One JSON object a line, oldest first:

    {"n": 17, "t": "2026-11-22T20:33:13.860710Z", "op": "added", "kind": "Node", "key": "worker3",
     "found_by": "watch", "object": {…}}
    {"n": 18, …, "op": "changed", …, "version": "1472", "changes": [{"path": …, "old": …, "new": …}]}
    {"n": 19, …, "op": "removed", …, "found_by": "list", "since": …}
    {"n": 20, "t": …, "op": "gap", "kind": "Pod", "since": …, "reason": …}

`changed` and `removed` hold what is different from the object's line before, so a record is read from its
start. `metadata.resourceVersion` stands in `version` and not among the changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.observe.record.differences import FieldChange, in_words

FORMAT = 1
"""Of the lines; a reader refuses a record of a newer one."""

Operation = Literal["added", "changed", "removed"]
FoundBy = Literal["start", "watch", "list", "poll"]


@dataclass(frozen=True, slots=True)
class Transition:
    """One object came, changed or went. The objects are shared: never change them."""

    number: int
    """Its place in the record, from 1."""
    time: datetime
    """When this machine heard of it."""
    operation: Operation
    kind: str
    """`Pod`, `Node`, …; `NodeGroup` and `AddOn` are the cloud's."""
    key: str
    """`namespace/name`, or `name`."""
    old: Object | None
    """What was there before; of an Event, which is not kept in memory, None."""
    new: Object | None
    """What is there now; None when it has been removed."""
    changes: tuple[FieldChange, ...] = ()
    """What is different; a removed object may have changed with its removal."""
    found_by: FoundBy = "watch"
    """`start`: it was there when the recording began. `watch`: it happened now. `list`: it happened in a gap,
    some time after `since`, perhaps with others in between. `poll`: some time since the poll before."""
    since: datetime | None = None
    """The earliest time at which it can have happened, if it was not seen as it happened."""

    @property
    def last(self) -> Object:
        """The newest state that is known of the object."""
        state = self.new if self.new is not None else self.old
        return state if state is not None else {}

    @property
    def earliest(self) -> datetime:
        """When it can have happened at the earliest."""
        return self.since or self.time

    @property
    def spoken(self) -> str:
        """The object for people: `Pod kube-system/aws-node-x7k2p`."""
        return f"{self.kind} {self.key}"

    def in_words(self) -> str:
        """What happened, for people."""
        how = {"list": " (found by list after a gap)", "poll": " (found by poll)"}.get(self.found_by, "")
        if self.operation == "added":
            return f"{self.spoken} appeared{how}"
        detail = in_words(self.changes, self.last)
        if self.operation == "removed":
            return f"{self.spoken} was removed{how}"
        return f"{self.spoken} changed{how}: {detail}"


MarkKind = Literal["started", "synced", "gap", "resumed", "stopped"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something about the recording itself.

    `gap`: from `since` on nothing is known of a kind. `resumed`: it is known again; `relisted` tells that
    what happened meanwhile was made up for by a list, else the server has told every event. `synced`: the
    first list of a kind is in. `started` and `stopped`: the recorder.
    """

    number: int
    time: datetime
    operation: MarkKind
    kind: str = ""
    reason: str = ""
    since: datetime | None = None
    relisted: bool = False
    count: int = 0
    """Objects of the kind, for `synced`."""


Line: TypeAlias = Transition | Mark


def moment(time: datetime) -> str:
    """A time as it stands in a record: UTC with microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def as_json(line: Line, *, stored: bool = True) -> Object:
    """A line as it is written. `stored`: whether the object's state before can be had from earlier lines."""
    body: Object = {
        "n": line.number,
        "t": moment(line.time),
        "op": line.operation,
        "kind": line.kind,
    }
    if line.since is not None:
        body["since"] = moment(line.since)
    if isinstance(line, Mark):
        return _mark_json(body, line)
    body |= {"key": line.key, "found_by": line.found_by}
    if line.operation == "added" or (not stored and line.new is not None):
        return body | {"object": line.new}
    if line.new is not None and "resourceVersion" in line.new["metadata"]:
        body["version"] = line.new["metadata"]["resourceVersion"]
    if line.changes:
        body["changes"] = [change.as_json() for change in line.changes]
    return body


def _mark_json(body: Object, mark: Mark) -> Object:
    extra: Object = {"reason": mark.reason} if mark.reason else {}
    match mark.operation:
        case "resumed":
            extra["relisted"] = mark.relisted
        case "synced":
            extra["count"] = mark.count
        case "started":
            extra["format"] = FORMAT
        case _:
            pass
    return body | extra
