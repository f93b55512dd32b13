"""The recorder: what happens in a cluster, in memory and on disk, from now on until it is stopped."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import orjson

from pytest_cnimigrate.kube.reader import KubeReader
from pytest_cnimigrate.model.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource
from pytest_cnimigrate.observe.record.lines import Line, as_json
from pytest_cnimigrate.observe.record.reading import resume
from pytest_cnimigrate.observe.record.sources import RECORDED, Poll, served_resource
from pytest_cnimigrate.observe.record.state import State
from pytest_cnimigrate.observe.record.streams import PollStream, Stream
from pytest_cnimigrate.observe.record.tracking import NOT_KEPT, Arrival, Tracker
from pytest_cnimigrate.observe.record.waking import RecordWake
from pytest_cnimigrate.observe.record.writing import ROTATE_BYTES, RecordWriter

log = logging.getLogger("cnimigrate.record")

Listener: TypeAlias = Callable[[Line, State], None]
"""Hears of every line, in order, in the recorder's thread: it must be quick, and must not wait."""
Ticker: TypeAlias = Callable[[datetime], None]
"""Hears several times a second that time has passed, in the recorder's thread."""

_WAITING = 500
"""Arrivals that may wait for the recorder's thread. More, and streams stop reading: memory stays bounded."""
_IDLE = 0.2
"""Seconds without news after which there is time for other things."""


class Recorder:
    """Lists and watches a cluster, one thread a kind, and one that keeps the state and writes.

    Starts with `start()` or as a context. Going on in a folder that holds a record is going on with that
    record: what happened in between is found by list.
    """

    def __init__(
        self,
        kube: KubeReader,
        folder: Path,
        *,
        resources: Sequence[Resource] = RECORDED,
        polls: Sequence[Poll] = (),
        custom_resources: bool = True,
        rotate_bytes: int = ROTATE_BYTES,
    ) -> None:
        """`custom_resources`: watch Cilium's own as soon as they are served.

        Raises `RecordError` if the folder holds a record that cannot be read, `OSError` if it cannot be
        written.
        """
        self.folder = folder
        self.failure = ""
        """Why nothing is written any more; empty as long as all is well."""
        self.state, resumption = resume(folder)
        self._kube = kube
        self._tracker = Tracker(self.state, resumption=resumption)
        self._writer = RecordWriter(folder, rotate_bytes=rotate_bytes)
        self._arrivals: queue.Queue[Arrival | None] = queue.Queue(_WAITING)
        self._listeners: tuple[Listener, ...] = ()
        self._tickers: tuple[Ticker, ...] = ()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._known: frozenset[str] = frozenset()
        self._blind: dict[str, datetime] = {}
        self._stopping = False
        self._stopped = False
        self._streams: dict[str, Stream | PollStream] = {}
        watched = [*resources, *([CUSTOM_RESOURCE_DEFINITIONS] if custom_resources else [])]
        for resource in watched:
            self._streams[resource.kind] = Stream(kube, resource, self._put)
        for poll in polls:
            self._streams[poll.kind] = PollStream(poll, self._put)
        self._first = frozenset(self._streams)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> Recorder:
        """Begin to record; returns at once (see `wait_synced`)."""
        self._thread.start()
        for stream in list(self._streams.values()):
            stream.start()
        return self

    def stop(self) -> None:
        """End the recording, and return once everything that was heard is on disk and no thread is left.

        Any number of times. What could not be written is told by `failure`, not raised.
        """
        with self._lock:
            if self._stopped:
                return
            self._stopped = self._stopping = True
            streams = list(self._streams.values())
        for stream in streams:
            stream.stop()
        if self._thread.ident is not None:
            for stream in streams:
                stream.join()
            self._arrivals.put(None)
            self._thread.join()
        else:
            self._writer.close()

    def __enter__(self) -> Recorder:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_synced(self, timeout: float, *, kinds: Collection[str] | None = None) -> bool:
        """Wait until everything, or some kinds, has been listed and nothing is a gap; whether it is so."""
        wanted = self._first if kinds is None else frozenset(kinds)
        with self._changed:
            return self._changed.wait_for(
                lambda: wanted <= self._known and not wanted & self._blind.keys(), timeout
            )

    def is_current(self, kinds: Collection[str]) -> bool:
        """Whether the state of all these kinds is being kept up at present."""
        with self._lock:
            return (
                not self._stopped and self._known.issuperset(kinds) and self._blind.keys().isdisjoint(kinds)
            )

    def blind(self) -> dict[str, datetime]:
        """The kinds of which nothing is known at present, and since when."""
        with self._lock:
            return dict(self._blind)

    def wake(self, *kinds: str) -> RecordWake:
        """Something that `wait_for` is woken by at every transition of these kinds. Close it when done."""
        return RecordWake(kinds, self.subscribe)

    def subscribe(self, listener: Listener, *, ticker: Ticker | None = None) -> Callable[[], None]:
        """Let `listener` hear every line from now on; what is returned ends that.

        Whatever a listener raises is logged and ends the subscription: the record goes on.
        """
        with self._lock:
            self._listeners += (listener,)
            self._tickers += (ticker,) if ticker is not None else ()

        def end() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)
                self._tickers = tuple(one for one in self._tickers if one is not ticker)

        return end

    def _put(self, arrival: Arrival) -> None:
        """From a stream's thread. While stopping, what does not fit is let go: nobody will read it."""
        while True:
            try:
                self._arrivals.put(arrival, timeout=0.5)
                return
            except queue.Full:
                if self._stopping:
                    return

    def _run(self) -> None:
        self._take_line(self._tracker.mark("started", datetime.now(UTC), self._kube.server))
        due = time.monotonic() + _IDLE
        while True:
            try:
                arrival = self._arrivals.get(timeout=_IDLE)
            except queue.Empty:
                self._write(self._writer.flush)
                self._write(self._writer.compress_some)
            else:
                if arrival is None:
                    break
                for line in self._tracker.take(arrival):
                    self._take_line(line)
                self._note(arrival)
                if self._arrivals.empty():
                    self._write(self._writer.flush)
            if time.monotonic() >= due:
                due = time.monotonic() + _IDLE
                self._tick()
        self._take_line(self._tracker.mark("stopped", datetime.now(UTC)))
        self._write(self._writer.close)
        self._writer.abandon()

    def _take_line(self, line: Line) -> None:
        """Write a line and let everybody hear of it."""
        text = orjson.dumps(as_json(line, stored=line.kind not in NOT_KEPT))
        self._write(partial(self._writer.append, text))
        for listener in self._listeners:
            self._guard(listener, partial(listener, line, self.state))

    def _tick(self) -> None:
        now = datetime.now(UTC)
        for ticker in self._tickers:
            self._guard(ticker, partial(ticker, now))

    def _guard(self, who: object, call: Callable[[], object]) -> None:
        """Let somebody hear; who fails does not hear any more, and the record goes on."""
        try:
            call()
        except Exception:
            log.exception("a listener of the record failed and is not told any more")
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not who)
                self._tickers = tuple(one for one in self._tickers if one is not who)

    def _write(self, call: Callable[[], object]) -> None:
        """Do something on disk. After a failure nothing more is written: what follows would not fit to it."""
        if self.failure:
            return
        try:
            call()
        except OSError as error:
            self.failure = f"the record in {self.folder} ends here: {error.strerror or error}"
            log.error("%s", self.failure)

    def _note(self, arrival: Arrival) -> None:
        """Keep what other threads ask for, and begin to watch what has become known."""
        if arrival.type in ("LISTING", "SYNCED", "INTERRUPTED", "CONNECTED"):
            with self._changed:
                self._known = frozenset(self._tracker.known())
                self._blind = self._tracker.blind()
                self._changed.notify_all()
        elif arrival.kind == CUSTOM_RESOURCE_DEFINITIONS.kind and arrival.type != "DELETED":
            resource = served_resource(arrival.object)
            if resource is not None:
                self._watch_also(resource)

    def _watch_also(self, resource: Resource) -> None:
        with self._lock:
            if self._stopping or resource.kind in self._streams:
                return
            stream = self._streams[resource.kind] = Stream(self._kube, resource, self._put)
            stream.start()
