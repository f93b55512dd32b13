"""Threads that listen: one for each kind that is watched, one for each that is polled."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from pytest_cnimigrate.kube.errors import KubeError
from pytest_cnimigrate.kube.reader import KubeReader
from pytest_cnimigrate.kube.watching import Watch
from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.observe.record.sources import Poll, identity, recorded
from pytest_cnimigrate.observe.record.tracking import Arrival, ArrivalType

Put = Callable[[Arrival], None]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Stream:
    """Lists and watches one resource in a thread of its own, until it is stopped."""

    def __init__(self, kube: KubeReader, resource: Resource, put: Put) -> None:
        self.kind = resource.kind
        self._kube = kube
        self._resource = resource
        self._put = put
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name=f"record {resource.plural}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; `join` waits for that."""
        with self._lock:
            self._stopped.set()
            if self._watch is not None:
                self._watch.stop()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            with self._lock:
                watch = self._watch = self._kube.watch(
                    self._resource,
                    on_interruption=lambda error: self._tell("INTERRUPTED", reason=str(error)),
                    on_connected=lambda: self._tell("CONNECTED"),
                    keep=identity,
                )
                if self._stopped.is_set():
                    return
            try:
                self._tell("LISTING")
                for event in watch:
                    failures = 0
                    obj = recorded(event.object) if event.object else event.object
                    self._tell(event.type, obj, listed=event.listed)
            except KubeError as error:
                # What the watch does not get over by itself: a right that is missing (or a control plane that
                # is still starting), a first list that failed. The list that follows makes up for it.
                self._tell("INTERRUPTED", reason=str(error))
            except Exception as error:  # whatever it is: a stream that dies in silence records no changes
                self._tell("INTERRUPTED", reason=f"{type(error).__name__}: {error}")
            failures += 1
            self._stopped.wait(_pause(failures))

    def _tell(
        self, event: ArrivalType, obj: Object | None = None, *, listed: bool = False, reason: str = ""
    ) -> None:
        self._put(Arrival(self.kind, datetime.now(UTC), event, obj or {}, listed=listed, reason=reason))


class PollStream:
    """Asks for what cannot be watched, in a thread of its own, until it is stopped."""

    def __init__(self, poll: Poll, put: Put) -> None:
        self.kind = poll.kind
        self._poll = poll
        self._put = put
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"record {poll.kind}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; `join` waits for that, and for a poll that is under way."""
        self._stopped.set()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                objects = [recorded(obj) for obj in self._poll.read()]
            except Exception as error:  # the cloud's errors are of many types, and all mean the same here
                self._tell("INTERRUPTED", reason=f"{type(error).__name__}: {error}")
            else:
                self._tell("LISTING")
                for obj in objects:
                    self._tell("ADDED", obj)
                self._tell("SYNCED")
            self._stopped.wait(self._poll.interval)

    def _tell(self, event: ArrivalType, obj: Object | None = None, *, reason: str = "") -> None:
        arrival = Arrival(
            self.kind, datetime.now(UTC), event, obj or {}, listed=True, polled=True, reason=reason
        )
        self._put(arrival)


def _pause(failures: int) -> float:
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 8)) * random.uniform(0.75, 1.25)
