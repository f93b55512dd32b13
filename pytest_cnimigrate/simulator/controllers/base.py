"""What every controller has: a queue of keys, workers that make each key right, and an event recorder."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pytest_cnimigrate.model.objects import Object, key_of
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.simulator.client.api import Api, ApiError
from pytest_cnimigrate.simulator.client.events import EventRecorder
from pytest_cnimigrate.simulator.client.informer import Informer, Informers
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.controllers.queue import WorkQueue

log = logging.getLogger("cnimigrate.simulator.controllers")

BATCH_PER_POD = 0.0004
"""Wall seconds for which a change waits for others, for each pod that has to be looked at."""


@dataclass(frozen=True, slots=True)
class Context:
    """What controllers work with. `informers` must belong to `api`."""

    api: Api
    informers: Informers
    pace: Pace


class Controller(ABC):
    """A control loop: informers' handlers put keys into the queue, `sync` makes the world fit each key.

    `sync` is called again after an `ApiError` (a conflict, an injected fault, …) with growing delay, never
    twice at once for the same key, and with different keys by up to `workers` tasks at a time.
    """

    component: ClassVar[str]
    """The name under which it records events, as kube-controller-manager's controllers do."""
    workers: ClassVar[int] = 2

    def __init__(self, context: Context) -> None:
        self.api = context.api
        self.informers = context.informers
        self.pace = context.pace
        self.recorder = EventRecorder(context.api, self.component, context.pace)
        self.queue: WorkQueue[str] = WorkQueue(context.pace)

    @abstractmethod
    def watch(self) -> None:
        """Register handlers and indexes with informers; called once, before anything runs."""

    @abstractmethod
    async def sync(self, key: str) -> None:
        """Make the world fit what `key` stands for. Raises `ApiError` to be called again."""

    def informer(self, resource: Resource) -> Informer:
        return self.informers.of(resource)

    def enqueue_changes_of(self, informer: Informer) -> None:
        """Queue `namespace/name` of every object that comes, changes or goes."""

        def changed(old: Object | None, new: Object | None) -> None:
            obj = new or old
            if obj is not None:
                self.queue.add(key_of(obj))

        informer.add_handler(changed)

    def enqueue_batched(self, key: str, size: int) -> None:
        """Queue the key of something that consists of `size` pods.

        Looking at n pods costs time in proportion to n, so after one pod's change the look waits for more
        of them in the same proportion: three replicas are looked at after a millisecond, a thousand twice a
        second. In wall time, because it is this process's time that is saved.
        """
        self.queue.add_after(key, size * BATCH_PER_POD * self.pace.speed)

    async def run(self) -> None:
        """Work until cancelled; begins when every informer has its first list."""
        await self.informers.wait_synced()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.recorder.run(), name=f"{self.component} events")
                for number in range(self.workers):
                    tasks.create_task(self._work(), name=f"{self.component} worker {number}")
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self.sync(key)
                self.queue.forget(key)
            except ApiError as error:
                level = logging.DEBUG if error.is_conflict or error.is_not_found else logging.WARNING
                log.log(level, "%s: %s: %s", self.component, key, error.message)
                self.queue.retry(key)
            except Exception:
                # As kube's HandleError: one bad object must not stop the controller for all others.
                log.exception("%s: %s failed", self.component, key)
                self.queue.retry(key)
            finally:
                self.queue.done(key)
            # LocalApi may answer without ever suspending: let the others have the loop.
            await asyncio.sleep(0)


async def update_status(api: Api, resource: Resource, obj: Object, status: Object) -> Object:
    """Write `status` of `obj` unless it is that already. Raises `ApiError` 409 if `obj` is stale."""
    if obj.get("status") == status:
        return obj
    return await api.update(resource, {**obj, "status": status}, subresource="status")


def without_zeros(status: Object, *keep: str) -> Object:
    """Go's `omitempty`: drop zeros, empty lists and Nones, except of the fields named in `keep`."""
    return {key: value for key, value in status.items() if value or key in keep}
