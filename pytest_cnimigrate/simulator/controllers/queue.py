"""The work queue of a controller: keys without repetition, later, and again after a failure."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from pytest_cnimigrate.simulator.clock import Pace

Key = TypeVar("Key", bound=Hashable)

FIRST_RETRY = 0.005
LONGEST_RETRY = 30.0
"""Simulated seconds before the first and the later retries of a key that failed; client-go starts alike and
goes up to 1,000 s, which nobody wants to wait for in a rehearsal."""


class WorkQueue(Generic[Key]):
    """Keys to work on, as client-go's work queue.

    A key that is added while it waits is there once; a key that is added while somebody works on it comes
    back when that is done, so that no two workers ever have the same key.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._ready: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._processing: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._wakeup = asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait to be worked on now (not those for later)."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Nothing is waiting and nothing is being worked on; something may be due later."""
        return not self._dirty and not self._processing

    def add(self, key: Key) -> None:
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._wakeup.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Add the key when `seconds` have passed; of several calls the earliest counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._pace.wall(max(0.0, seconds))
        waiting = self._timers.get(key)
        if waiting is not None:
            if waiting.when() <= due:
                return
            waiting.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    def _fire(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def get(self) -> Key:
        """The next key; the caller owes `done` for it."""
        while not self._ready:
            self._wakeup.clear()
            await self._wakeup.wait()
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: Key) -> None:
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wakeup.set()

    def retry(self, key: Key) -> None:
        """Add the key again after a delay that doubles with every failure in a row."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(FIRST_RETRY * 2**failures, LONGEST_RETRY))

    def forget(self, key: Key) -> None:
        """The key has succeeded: its failures no longer count."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Drop what is due later."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
