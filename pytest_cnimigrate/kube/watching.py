"""List, then watch, for as long as somebody wants to know: one consistent story of a resource's objects."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import orjson
import urllib3

from pytest_cnimigrate.kube import paths
from pytest_cnimigrate.kube.errors import Gone, KubeError, from_status
from pytest_cnimigrate.kube.listing import Page
from pytest_cnimigrate.kube.retrying import Timeouts
from pytest_cnimigrate.kube.transport import Query, Request, Transport
from pytest_cnimigrate.model.objects import Object, key_of
from pytest_cnimigrate.model.resources import Resource

log = logging.getLogger("cnimigrate.kube.watch")

EventType = Literal["ADDED", "MODIFIED", "DELETED", "SYNCED"]

SERVER_TIMEOUT = 60
"""Seconds after which the server ends a watch by itself, so that a dead one is never older than that."""
READ_SLACK = 15.0
"""Seconds of silence beyond that until we take the connection for dead."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """What happened to an object; for `SYNCED` (a list has been taken in) the object is empty."""

    type: EventType
    object: Object
    listed: bool = False
    """Told by a list (the first, or one after a gap), not as it happened."""


class Lister(Protocol):
    def __call__(self) -> Iterable[Page]:
        """All objects, page by page, and the list's resource version."""


class Watch:
    """Iterate over it in one thread; `stop()` it from any.

    First every object there is, as ADDED; then SYNCED; then changes as they happen. When the server has
    forgotten our place (410) the list is read again and told as differences, so what vanished meanwhile is
    reported as DELETED, with its last known state. Interruptions are survived by asking again, with growing
    pauses; `on_interruption` hears of each (of a 410 too), `on_connected` of each time that the server has
    begun to tell again. What cannot heal (403, 404, …) is raised, as is any failure of the very first list.

    `keep` says what is remembered of each object to find those differences (client-go's transform): it must
    leave name, namespace, uid and resourceVersion; what it leaves is what a DELETED found by a list shows.
    """

    def __init__(
        self,
        transport: Transport,
        lister: Lister,
        resource: Resource,
        *,
        namespace: str = "",
        query: Query = (),
        on_interruption: Callable[[KubeError], None] | None = None,
        on_connected: Callable[[], None] | None = None,
        keep: Callable[[Object], Object] | None = None,
        server_timeout: int = SERVER_TIMEOUT,
        read_slack: float = READ_SLACK,
    ) -> None:
        self._transport = transport
        self._lister = lister
        self._resource = resource
        self._namespace = namespace
        self._query = query
        self._on_interruption = on_interruption
        self._on_connected = on_connected
        self._keep = keep
        self._server_timeout = server_timeout
        self._read_slack = read_slack
        self._known: dict[str, Object] = {}
        self._version = ""
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._response: urllib3.BaseHTTPResponse | None = None

    def stop(self) -> None:
        """End the iteration soon, even while it waits for an event. Any thread; any number of times.

        Only a server that has not even begun to answer is waited for, as long as a read may take.
        """
        with self._lock:
            self._stopped.set()
            if self._response is not None:
                # The stream may have ended by itself a moment ago; then there is nothing to shut.
                with contextlib.suppress(RuntimeError, ValueError, OSError):
                    self._response.shutdown()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[WatchEvent]:
        first = True
        failures = 0
        while not self._stopped.is_set():
            try:
                if not self._version:
                    yield from self._list()
                    first = False
                started = time.monotonic()
                for event in self._stream():
                    failures = 0
                    yield event
                if time.monotonic() - started < 1.0:
                    # A server that ends watches at once (it is going down) must not be asked in a hot loop.
                    self._stopped.wait(self._transport.retries.backoff(1))
            except Gone as error:
                if not self._version:
                    raise
                log.info("watch of %s starts again: %s", self._resource.plural, error.message)
                if self._on_interruption is not None:
                    self._on_interruption(error)
                self._version = ""
                failures += 1
                if failures > 1:
                    # It forgets faster than we can list: no reason to list in a hot loop.
                    self._stopped.wait(self._transport.retries.backoff(failures - 1))
            except KubeError as error:
                if self._stopped.is_set():
                    return
                if first or not self._heals(error):
                    raise
                failures += 1
                log.info("watch of %s interrupted: %s", self._resource.plural, error)
                if self._on_interruption is not None:
                    self._on_interruption(error)
                self._stopped.wait(self._transport.retries.backoff(failures))

    def _heals(self, error: KubeError) -> bool:
        return error.retriable or (error.status == 403 and self._transport.retries.transient_forbidden)

    def _list(self) -> Iterator[WatchEvent]:
        missing: set[str] = set()
        version = ""
        for page in self._lister():
            if page.is_first:
                missing = set(self._known)
            version = page.version
            for obj in page.objects:
                key = key_of(obj)
                missing.discard(key)
                known = self._known.get(key)
                if known is not None and known["metadata"]["uid"] != obj["metadata"]["uid"]:
                    yield self._take("DELETED", known, listed=True)
                    known = None
                if known is None:
                    yield self._take("ADDED", obj, listed=True)
                elif known["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                    yield self._take("MODIFIED", obj, listed=True)
        for key in sorted(missing):
            yield self._take("DELETED", self._known[key], listed=True)
        self._version = version
        yield WatchEvent("SYNCED", {}, listed=True)

    def _take(self, kind: EventType, obj: Object, *, listed: bool = False) -> WatchEvent:
        if kind == "DELETED":
            self._known.pop(key_of(obj), None)
        else:
            self._known[key_of(obj)] = self._keep(obj) if self._keep else obj
        return WatchEvent(kind, obj, listed)

    def _stream(self) -> Iterator[WatchEvent]:
        request = Request(
            "watch",
            paths.spoken(self._resource, namespace=self._namespace),
            paths.collection(self._resource, self._namespace),
            query=[
                *self._query,
                ("watch", "true"),
                ("allowWatchBookmarks", "true"),
                ("resourceVersion", self._version),
                ("timeoutSeconds", str(self._server_timeout)),
            ],
        )
        timeouts = Timeouts(self._transport.timeouts.connect, self._server_timeout + self._read_slack)
        with self._transport.open(request, timeouts=timeouts) as response:
            try:
                if not self._register(response):
                    return
                if self._on_connected is not None:
                    self._on_connected()
                for line in _lines(response):
                    if self._stopped.is_set():
                        return
                    event = self._read(request, orjson.loads(line))
                    if event is not None:
                        yield event
            finally:
                self._register(None)
                if self._stopped.is_set():
                    # What is left unread would be taken for the answer to the connection's next request.
                    response.close()

    def _register(self, response: urllib3.BaseHTTPResponse | None) -> bool:
        """Let `stop()` reach the connection; False when it has been called already."""
        with self._lock:
            self._response = response
            return not self._stopped.is_set()

    def _read(self, request: Request, raw: Object) -> WatchEvent | None:
        kind, obj = raw["type"], raw["object"]
        if kind == "ERROR":
            raise from_status(self._transport.attempt_of(request), int(obj.get("code") or 500), obj)
        self._version = obj["metadata"]["resourceVersion"]
        return None if kind == "BOOKMARK" else self._take(kind, obj)


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The stream's JSON lines, as soon as each is whole."""
    rest: list[bytes] = []
    for chunk in response.stream(amt=None, decode_content=False):
        head, *tail = chunk.split(b"\n")
        rest.append(head)
        for piece in tail:
            line = b"".join(rest)
            rest = [piece]
            if line.strip():
                yield line
