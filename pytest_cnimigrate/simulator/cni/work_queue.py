"""Names of objects to look at, each once, with a wait before a failed one is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.clock import Pace

RETRY_SECONDS = 5.0


class WorkQueue:
    """Hands names one after the other to a reconciling function."""

    def __init__(self, pace: Pace, reconcile: Callable[[str], Awaitable[None]]) -> None:
        self._pace = pace
        self._reconcile = reconcile
        self._names: dict[str, None] = {}
        self._filled = asyncio.Event()
        self._retries: set[asyncio.Task[None]] = set()

    def add(self, name: str) -> None:
        self._names[name] = None
        self._filled.set()

    def add_later(self, name: str, seconds: float) -> None:
        """Look at it again after a while."""
        task = asyncio.create_task(self._add_after(name, seconds))
        self._retries.add(task)
        task.add_done_callback(self._retries.discard)

    async def run(self) -> None:
        """Work until cancelled; a refused request is tried again later."""
        try:
            while True:
                await self._filled.wait()
                name = next(iter(self._names))
                del self._names[name]
                if not self._names:
                    self._filled.clear()
                try:
                    await self._reconcile(name)
                except ApiError:
                    self.add_later(name, RETRY_SECONDS)
        finally:
            for task in self._retries:
                task.cancel()

    async def _add_after(self, name: str, seconds: float) -> None:
        await self._pace.sleep(seconds, jitter=0.2)
        self.add(name)
