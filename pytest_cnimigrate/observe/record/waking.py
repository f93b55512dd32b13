"""Waiting on the record: woken by what happens, confirmed by one question to the API server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Protocol, TypeVar

from pytest_cnimigrate.observe.record.lines import Line
from pytest_cnimigrate.observe.record.state import State
from pytest_cnimigrate.observe.waiting import Deadline, NotYet, Probe, Ready, wait_for

T = TypeVar("T")

_Subscribe = Callable[[Callable[[Line, State], None]], Callable[[], None]]

LOOK_ANYWAY = 5.0
"""Seconds after which a gate looks again although nothing has woken it."""


class RecordWake:
    """Set by every line of the record about some kinds; `waiting.wait_for` takes it as `wake`.

    While a kind is a gap in the record, its transitions come late: give `wait_for` an interval as well.
    """

    def __init__(self, kinds: Collection[str], subscribe: _Subscribe) -> None:
        self._kinds = frozenset(kinds)
        self._event = threading.Event()
        self._end = subscribe(self._hear)

    def wait(self, timeout: float) -> bool:
        """Return when it has been set, or after `timeout` seconds; whether it has been set."""
        return self._event.wait(timeout)

    def clear(self) -> None:
        """Forget that it has been set."""
        self._event.clear()

    def close(self) -> None:
        """Stop listening."""
        self._end()

    def __enter__(self) -> RecordWake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hear(self, line: Line, state: State) -> None:
        if line.kind in self._kinds:
            self._event.set()


class Record(Protocol):
    """What waiting needs of a `Recorder`."""

    state: State

    def is_current(self, kinds: Collection[str]) -> bool:
        """Whether the state of these kinds is being kept up at present."""

    def wake(self, *kinds: str) -> RecordWake:
        """Something that is set at every transition of these kinds."""


def confirmed(
    record: Record, kinds: Collection[str], look: Callable[[State], Ready[T] | NotYet], ask: Probe[T]
) -> Probe[T]:
    """A probe that looks into the record, and asks the API server only once the record says Ready.

    The record may be behind (a gate must not open on the state from before the change that it waits for),
    so what counts is the answer of `ask`. While the record is not current, `ask` alone decides.
    """

    def probe() -> Ready[T] | NotYet:
        if record.is_current(kinds):
            found = look(record.state)
            if isinstance(found, NotYet):
                return found
        return ask()

    return probe


def wait_on_record(
    record: Record,
    look: Callable[[State], Ready[T] | NotYet],
    ask: Probe[T],
    *,
    kinds: Collection[str],
    what: str,
    timeout: float | Deadline,
    interval: float = LOOK_ANYWAY,
    successes: int = 1,
    hopeless: Callable[[], str | None] | None = None,
    on_progress: Callable[[str], None] | None = None,
    advice: str = "",
) -> T:
    """Wait until the record (`look`) and then the API server (`ask`) say that something is so.

    As `waiting.wait_for`; costs one request of `ask` in the ordinary case, however large the cluster is.
    `kinds` are those that `look` looks at.
    """
    with record.wake(*kinds) as wake:
        return wait_for(
            confirmed(record, kinds, look, ask),
            what=what,
            timeout=timeout,
            interval=interval,
            successes=successes,
            hopeless=hopeless,
            on_progress=on_progress,
            advice=advice,
            wake=wake,
        )
