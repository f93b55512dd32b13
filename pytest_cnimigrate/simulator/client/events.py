"""Events (core/v1) as controllers, kubelets and agents record them.

Recording never blocks and never fails its caller: events are written in the background. The same event again
raises `count` instead of making another; many similar ones are combined, as client-go's EventCorrelator
does (the recordings show `(combined from similar events): Scaled up replica set …`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from pytest_cnimigrate.model.objects import Object, name_of, namespace_of, timestamp
from pytest_cnimigrate.model.resources import EVENTS
from pytest_cnimigrate.simulator.client.api import Api, ApiError
from pytest_cnimigrate.simulator.clock import Pace

log = logging.getLogger("cnimigrate.simulator.events")

COMBINE_AFTER = 10
"""Similar events (the same but for the message) of one object within `COMBINE_WINDOW` that stay separate."""
COMBINE_WINDOW = 600.0
"""Simulated seconds after which similar events count from nought again; both are client-go's defaults."""
REMEMBERED = 4096
"""How many events are remembered for counting, as client-go's cache."""


@dataclass(slots=True)
class _Similar:
    messages: set[str] = field(default_factory=set)
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """An event to write; `key` is what makes two events the same."""

    key: tuple[str, ...]
    event: Object


class EventRecorder:
    """Records events under one component's name (`source.component`, and `source.host` for a node's)."""

    def __init__(self, api: Api, component: str, pace: Pace, *, host: str = "") -> None:
        self._api = api
        self._component = component
        self._pace = pace
        self._host = host
        self._queue: asyncio.Queue[_Entry] = asyncio.Queue()
        self._similar: OrderedDict[tuple[str, ...], _Similar] = OrderedDict()
        self._written: OrderedDict[tuple[str, ...], Object] = OrderedDict()

    def event(self, obj: Object, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        """Record that `reason` happened to `obj`; `kind` is `Normal` or `Warning`."""
        reference: Object = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": name_of(obj),
            "uid": obj["metadata"].get("uid", ""),
        }
        # Events of the cluster's own objects are kept in `default`, without a namespace in the reference.
        namespace = namespace_of(obj)
        if namespace:
            reference["namespace"] = namespace
        if "resourceVersion" in obj["metadata"]:
            reference["resourceVersion"] = obj["metadata"]["resourceVersion"]
        if field_path:
            reference["fieldPath"] = field_path
        who = (reference["kind"], namespace, reference["name"], reference["uid"], field_path)
        similar = (*who, kind, reason)
        message = self._combined(similar, message)
        combined = message.startswith(_COMBINED)
        now = timestamp()
        source = {"component": self._component}
        if self._host:
            source["host"] = self._host
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                # client-go's name: the object's and the time in nanoseconds, in hexadecimal.
                "name": f"{reference['name']}.{time.time_ns():x}",
                "namespace": namespace or "default",
            },
            "involvedObject": reference,
            "reason": reason,
            "message": message,
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": kind,
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        self._queue.put_nowait(_Entry((*similar, "" if combined else message), event))

    def _combined(self, similar: tuple[str, ...], message: str) -> str:
        now = time.monotonic()
        entry = self._similar.pop(similar, None)
        if entry is None or now - entry.since > self._pace.wall(COMBINE_WINDOW):
            entry = _Similar()
        entry.since = now
        self._similar[similar] = entry
        if len(self._similar) > REMEMBERED:
            self._similar.popitem(last=False)
        entry.messages.add(message)
        if len(entry.messages) < COMBINE_AFTER:
            return message
        entry.messages.pop()  # the set need not grow any further
        return f"{_COMBINED} {message}"

    async def run(self) -> None:
        """Write what is recorded until cancelled."""
        while True:
            entry = await self._queue.get()
            try:
                await self._write(entry)
            except ApiError as error:
                # Like client-go: an event that the server refuses (its namespace is going) is given up.
                log.debug("event %s is lost: %s", entry.event["metadata"]["name"], error.message)
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Return once everything recorded so far has been written (or given up)."""
        await self._queue.join()

    async def _write(self, entry: _Entry) -> None:
        earlier = self._written.pop(entry.key, None)
        written = None
        if earlier is not None:
            written = await self._raise_count(earlier, entry.event)
        if written is None:
            written = await self._api.create(EVENTS, entry.event, namespace_of(entry.event))
        self._written[entry.key] = written
        if len(self._written) > REMEMBERED:
            self._written.popitem(last=False)

    async def _raise_count(self, earlier: Object, event: Object) -> Object | None:
        """One more of an event that was written before; nothing if it has been deleted meanwhile."""
        patch = {
            "count": earlier["count"] + 1,
            "lastTimestamp": event["lastTimestamp"],
            "message": event["message"],
        }
        try:
            return await self._api.patch(EVENTS, name_of(earlier), patch, namespace_of(earlier))
        except ApiError as error:
            if error.is_not_found:
                return None
            raise


_COMBINED = "(combined from similar events):"
