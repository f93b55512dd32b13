"""Waiting for a condition: by asking, with a reason at every "not yet", and a limit.

A probe reads the present state and compares it; polling gets by without trust in events that may have been
missed. Whoever has events hands in `wake`, so that the next look comes at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pytest_cnimigrate.kube.errors import KubeError
from pytest_cnimigrate.providers.node_groups import CloudError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Clock(Protocol):
    """Time as waiting sees it; tests bring their own."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


class Wake(Protocol):
    """Something that cuts a pause short; `threading.Event` is one."""

    def wait(self, timeout: float) -> bool:
        """Return when it has been set, or after `timeout` seconds."""

    def clear(self) -> None:
        """Forget that it has been set."""


@dataclass(frozen=True, slots=True)
class Ready(Generic[T_co]):
    """The condition holds; `value` is what the probe has found."""

    value: T_co


@dataclass(frozen=True, slots=True)
class NotYet:
    """The condition does not hold, and why: the words an operator reads while waiting."""

    reason: str

    def __post_init__(self) -> None:
        if not self.reason:
            raise ValueError("NotYet needs a reason")


Probe = Callable[[], Ready[T] | NotYet]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment until which something, including all waits nested in it, has to be done."""

    at: float
    """On the clock's own scale."""
    seconds: float
    """How long it was from the start, for messages."""
    clock: Clock = SYSTEM_CLOCK

    @classmethod
    def after(cls, seconds: float, *, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        return cls(clock.monotonic() + seconds, seconds, clock)

    def remaining(self) -> float:
        """Seconds left; never negative."""
        return max(0.0, self.at - self.clock.monotonic())

    def within(self, seconds: float) -> Deadline:
        """At most `seconds` from now, but no later than this deadline."""
        inner = Deadline.after(seconds, clock=self.clock)
        return inner if inner.at < self.at else self


class WaitError(Exception):
    """A wait that did not come to its end; the text is for the operator."""

    def __init__(self, what: str, waited: float, observation: str, text: str) -> None:
        super().__init__(text)
        self.what = what
        """What was awaited."""
        self.waited = waited
        """Seconds."""
        self.observation = observation
        """The last thing that the probe said."""


class WaitTimeout(WaitError, TimeoutError):
    """The condition did not come about in time."""


class WaitHopeless(WaitError):
    """The condition cannot come about any more, so nobody waited for the end of the time."""


def wait_for(
    probe: Probe[T],
    *,
    what: str,
    timeout: float | Deadline,
    interval: float = 1.0,
    successes: int = 1,
    hopeless: Callable[[], str | None] | None = None,
    on_progress: Callable[[str], None] | None = None,
    advice: str = "",
    clock: Clock = SYSTEM_CLOCK,
    wake: Wake | None = None,
) -> T:
    """Ask `probe` every `interval` seconds until it is `Ready` `successes` times in a row; its last value.

    The probe says `Ready(value)` or `NotYet(reason)`. A `KubeError` or `CloudError` that may pass
    (`retriable`) counts as `NotYet`; whatever else it raises is raised. `what` completes "waiting for …".

    `timeout` is in seconds, or a `Deadline` shared with other waits, whose clock then counts. There is always
    one look at least, and one at the very end; a look itself is not cut short, its requests have limits of
    their own. `hopeless` is asked after each `NotYet` and gives a reason once waiting has no point any more.

    `on_progress` hears what the probe says whenever it says something new. `advice` tells the operator what
    to do if the condition does not come about. `wake` cuts the pause between two looks short.

    Raises `WaitTimeout` or `WaitHopeless`.
    """
    if successes < 1:
        raise ValueError(f"successes must be at least 1, not {successes}")
    deadline = timeout if isinstance(timeout, Deadline) else Deadline.after(timeout, clock=clock)
    clock = deadline.clock
    started = clock.monotonic()
    streak = 0
    said = ""
    while True:
        if wake is not None:
            # Before the look, so that what happens during it wakes the pause after it.
            wake.clear()
        found = _ask(probe)
        if isinstance(found, Ready):
            streak += 1
            if streak >= successes:
                return found.value
            observation = f"holds, {streak} of {successes} times in a row"
        else:
            streak = 0
            observation = found.reason
            given_up = _ask_hope(hopeless)
            if given_up:
                raise _hopeless(what, clock.monotonic() - started, observation, given_up, advice)
        if observation != said and on_progress is not None:
            on_progress(observation)
        said = observation
        remaining = deadline.remaining()
        if remaining <= 0:
            raise _timeout(what, clock.monotonic() - started, observation, advice)
        pause = min(interval, remaining)
        if wake is not None:
            wake.wait(pause)
        else:
            clock.sleep(pause)


def _ask(probe: Probe[T]) -> Ready[T] | NotYet:
    try:
        return probe()
    except (KubeError, CloudError) as error:
        if not error.retriable:
            raise
        return NotYet(str(error))


def _ask_hope(hopeless: Callable[[], str | None] | None) -> str | None:
    if hopeless is None:
        return None
    try:
        return hopeless()
    except (KubeError, CloudError) as error:
        if not error.retriable:
            raise
        # Nobody can say just now; the next look asks again.
        return None


def _timeout(what: str, waited: float, observation: str, advice: str) -> WaitTimeout:
    advice = (
        advice or "If it is only slow, allow more time and run this phase again; else look into the reason."
    )
    text = (
        f"gave up waiting for {what} after {_spoken(waited)}; last seen: {observation.rstrip('.')}. {advice}"
    )
    return WaitTimeout(what, waited, observation, text)


def _hopeless(what: str, waited: float, observation: str, reason: str, advice: str) -> WaitHopeless:
    text = f"stopped waiting for {what} after {_spoken(waited)}: {reason.rstrip('.')}"
    if observation != reason:
        text += f"; last seen: {observation.rstrip('.')}"
    return WaitHopeless(what, waited, observation, f"{text}. {advice}".rstrip())


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"
