"""Where objects are kept: versions, indexes, the log of changes, and those who watch it.

The store knows nothing of Kubernetes' rules. It belongs to one event loop, so it needs no locks: a method
that does not await is a transaction. An object in it is never changed, only replaced, so that lists, watch
events and clients in this process can share it, and its JSON is made at most once.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import orjson

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.errors import gone

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
Predicate = Callable[[Object], bool]
IndexFunction = Callable[[Object], str]

MAX_PENDING = 50_000
"""Changes a watcher may leave unread; a real server ends such a watch too."""


class Entry:
    """One version of one object, and its JSON once somebody has asked for it."""

    __slots__ = ("_raw", "obj", "version")

    def __init__(self, obj: Object, version: int) -> None:
        self.obj = obj
        self.version = version
        self._raw: bytes | None = None

    @property
    def raw(self) -> bytes:
        if self._raw is None:
            self._raw = orjson.dumps(self.obj)
        return self._raw


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the log. For a deletion `entry` is the last state, with the deletion's version."""

    type: ChangeType
    version: int
    namespace: str
    entry: Entry
    previous: Entry | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a list or a watch is about."""

    namespace: str = ""
    """Empty for all namespaces."""
    predicate: Predicate | None = None
    """Label and field selectors, as one function."""
    indexed: str | None = None
    """A value of the table's index that every match must have, when the selectors say one."""


EVERYTHING = Scope()


@dataclass(slots=True, eq=False)
class Subscription:
    """Changes of one table for one watcher, in order."""

    scope: Scope
    _close: Callable[[Subscription], None]
    _pending: deque[Change] = field(default_factory=deque)
    _wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    _overrun: bool = False

    def offer(self, change: Change) -> None:
        """Take the change if it is of this watcher's business."""
        seen = self._translate(change)
        if seen is None or self._overrun:
            return
        if len(self._pending) >= MAX_PENDING:
            self._overrun = True
            self._pending.clear()
        else:
            self._pending.append(seen)
        self._wakeup.set()

    def _translate(self, change: Change) -> Change | None:
        """An object that starts or ceases to match appears as added or deleted."""
        scope = self.scope
        if scope.namespace and change.namespace != scope.namespace:
            return None
        matches = scope.predicate
        if matches is None:
            return change
        before = change.previous is not None and matches(change.previous.obj)
        if change.type == "DELETED":
            return change if before else None
        if matches(change.entry.obj):
            return change if before == (change.type == "MODIFIED") else _as(change, "ADDED", change.entry.obj)
        if before and change.previous is not None:
            return _as(change, "DELETED", change.previous.obj)
        return None

    async def next(self) -> list[Change]:
        """Wait for changes and take all that are there; raises 410 for a watcher that fell behind."""
        await self._wakeup.wait()
        self._wakeup.clear()
        if self._overrun:
            raise gone("The resourceVersion for the provided watch is too old.")
        changes = list(self._pending)
        self._pending.clear()
        return changes

    def close(self) -> None:
        self._close(self)


def _as(change: Change, kind: ChangeType, obj: Object) -> Change:
    version = str(change.version)
    if obj["metadata"]["resourceVersion"] != version:
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}
    return Change(kind, change.version, change.namespace, Entry(obj, change.version), change.previous)


class Table:
    """All objects of one kind."""

    def __init__(self, *, index: IndexFunction | None, log_limit: int) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._namespaces: defaultdict[str, dict[str, Entry]] = defaultdict(dict)
        self._index = index
        self._indexed: defaultdict[str, dict[tuple[str, str], Entry]] = defaultdict(dict)
        self._log: list[Change] = []
        self._log_limit = log_limit
        self.floor = 0
        """The oldest version from which a watch can still start."""
        self._watchers: dict[str | None, dict[int, Subscription]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> Entry | None:
        return self._entries.get((namespace, name))

    def select(self, scope: Scope = EVERYTHING) -> Iterator[Entry]:
        """Matching entries, sorted by namespace and name as etcd returns them."""
        candidates: Iterable[Entry]
        if scope.indexed is not None:
            bucket = self._indexed.get(scope.indexed, {})
            candidates = (bucket[key] for key in sorted(bucket) if scope.namespace in ("", key[0]))
        elif scope.namespace:
            names = self._namespaces.get(scope.namespace, {})
            candidates = (names[name] for name in sorted(names))
        else:
            candidates = (self._entries[key] for key in sorted(self._entries))
        matches = scope.predicate
        return (entry for entry in candidates if matches is None or matches(entry.obj))

    def put(self, namespace: str, name: str, entry: Entry) -> None:
        """Add or replace, and tell the watchers."""
        key = (namespace, name)
        previous = self._entries.get(key)
        self._entries[key] = entry
        self._namespaces[namespace][name] = entry
        if self._index is not None:
            if previous is not None and self._index(previous.obj) != self._index(entry.obj):
                self._indexed[self._index(previous.obj)].pop(key, None)
            self._indexed[self._index(entry.obj)][key] = entry
        kind: ChangeType = "ADDED" if previous is None else "MODIFIED"
        self._record(Change(kind, entry.version, namespace, entry, previous))

    def remove(self, namespace: str, name: str, last: Entry) -> None:
        """Remove, and tell the watchers; `last` is the object as the deletion leaves it."""
        key = (namespace, name)
        previous = self._entries.pop(key)
        self._namespaces[namespace].pop(name)
        if self._index is not None:
            self._indexed[self._index(previous.obj)].pop(key, None)
        self._record(Change("DELETED", last.version, namespace, last, previous))

    def _record(self, change: Change) -> None:
        self._log.append(change)
        if len(self._log) > 2 * self._log_limit:
            self.floor = self._log[-self._log_limit - 1].version
            del self._log[: -self._log_limit]
        for subscription in self._interested(change):
            subscription.offer(change)

    def _interested(self, change: Change) -> list[Subscription]:
        """Watchers of another index value are not even asked: a thousand kubelets watch their own pods."""
        found = list(self._watchers.get(None, {}).values())
        if self._index is not None:
            values = {self._index(change.entry.obj)}
            if change.previous is not None:
                values.add(self._index(change.previous.obj))
            for value in values:
                found.extend(self._watchers.get(value, {}).values())
        return found

    def subscribe(self, scope: Scope, *, after: int) -> Subscription:
        """Every change after the version `after`; raises 410 when the log no longer reaches so far back."""
        if after < self.floor:
            raise gone(f"too old resource version: {after} ({self.floor})")
        subscription = Subscription(scope, self._unsubscribe)
        start = bisect_right(self._log, after, key=lambda change: change.version)
        for change in self._log[start:]:
            subscription.offer(change)
        self._watchers.setdefault(scope.indexed, {})[id(subscription)] = subscription
        return subscription

    def _unsubscribe(self, subscription: Subscription) -> None:
        watchers = self._watchers.get(subscription.scope.indexed, {})
        watchers.pop(id(subscription), None)
        if not watchers:
            self._watchers.pop(subscription.scope.indexed, None)

    def watchers(self) -> list[Subscription]:
        """Everybody who watches this kind at the moment."""
        return [found for group in self._watchers.values() for found in group.values()]

    def compact(self) -> None:
        """Forget the log, as etcd does every few minutes: older watches cannot be resumed."""
        if self._log:
            self.floor = self._log[-1].version
            self._log.clear()


class Store:
    """The tables, and the one counter that orders every change in the cluster."""

    def __init__(self, *, log_limit: int = 5_000) -> None:
        self.version = 0
        self._tables: dict[str, Table] = {}
        self._indexes: dict[str, IndexFunction] = {}
        self._log_limit = log_limit

    def add_index(self, group_resource: str, function: IndexFunction) -> None:
        """Before the table's first use: what lists and watches with that selector are looked up by."""
        self._indexes[group_resource] = function

    def table(self, group_resource: str) -> Table:
        """The table of `pods`, `deployments.apps`, …; made on first use."""
        if group_resource not in self._tables:
            self._tables[group_resource] = Table(
                index=self._indexes.get(group_resource), log_limit=self._log_limit
            )
        return self._tables[group_resource]

    def tables(self) -> dict[str, Table]:
        return self._tables

    def entry(self, obj: Object) -> Entry:
        """`obj` as the next version; sets its `metadata.resourceVersion`."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        return Entry(obj, self.version)

    def compact(self) -> None:
        """Forget all logs."""
        for table in self._tables.values():
            table.compact()
