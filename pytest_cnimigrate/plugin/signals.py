"""Being told to stop: SIGTERM and SIGHUP end a run as Ctrl-C does, with every fixture taken down.

pytest itself dies of SIGTERM without any teardown, and a cancelled CI job or a dropped connection would
leave a cluster behind.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from pytest_cnimigrate.plugin.state import State

_Handler = Callable[[int, FrameType | None], Any] | int | None

# Ctrl-C stays what it is in pytest: it raises KeyboardInterrupt, and a second one breaks teardown off. But
# not one that comes at once: people press it more than once, and that would break off what the first one
# has set going, such as writing into the journal that the run was interrupted.
_DEAF_SECONDS = 1.0
_ONCE = (signal.SIGTERM, signal.SIGHUP)


class Signals:
    """The signal handlers of one process of the run."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._before: dict[signal.Signals, _Handler] = {}
        self._holding = False
        self._held_back = ""
        self._deaf_until = 0.0
        self.finishing = False
        """Set once the run is ending: SIGTERM then lets it come to its end."""
        self.writing = False
        """Set once everything is taken down and only the record is completed, which takes a moment: then
        nothing stops that, an impatient Ctrl-C neither."""

    def install(self) -> None:
        """Handle the signals, except those that are ignored on purpose (`nohup`)."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows it in the main thread only; an embedding program has its own ways.
        for number in (signal.SIGINT, *_ONCE):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._handle)

    def restore(self) -> None:
        """Put the former handlers back."""
        for number, handler in self._before.items():
            # None: a handler that was not installed from Python and cannot be put back from it.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a piece of work be finished before SIGTERM ends the run: fixtures that are being taken down.

        Ctrl-C is not held back: somebody is there who sees that it takes long.
        """
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._held_back:
            raise KeyboardInterrupt(f"{self._held_back} received")

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.writing or (number == signal.SIGINT and time.monotonic() < self._deaf_until):
            return
        if number != signal.SIGINT and (self._state.interrupted_by or self.finishing):
            return
        self._state.interrupted_by = self._state.interrupted_by or name
        if number != signal.SIGINT and self._holding:
            self._held_back = name
            return
        self._deaf_until = time.monotonic() + _DEAF_SECONDS
        raise KeyboardInterrupt(f"{name} received")


def ask_to_stop(pid: int) -> None:
    """Send SIGTERM to a process of this run, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
