"""List and watch: a local copy of one resource, with callbacks and indexes, as client-go's informers.

The informer lists, watches from there, lists again after a 410 or a broken watch (reporting what
vanished meanwhile as deletions), and never blocks its callers: handlers are plain functions that put
keys into queues.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from pytest_cnimigrate.model.objects import Object, key_of
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.simulator.client.api import Api, ApiError

log = logging.getLogger("cnimigrate.simulator.informer")

Handler = Callable[[Object | None, Object | None], None]
"""Called with (old, new): (None, new) on creation, (old, None) on deletion."""

IndexFunction = Callable[[Object], Iterable[str]]


class Informer:
    """The local copy of one resource (optionally of one field selector's share of it)."""

    def __init__(self, api: Api, resource: Resource, *, field_selector: str = "") -> None:
        self.resource = resource
        self._api = api
        self._field_selector = field_selector
        self._objects: dict[str, Object] = {}
        self._handlers: list[Handler] = []
        self._index_functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, defaultdict[str, dict[str, Object]]] = {}
        self._synced = asyncio.Event()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.version = 0
        """The newest resource version that has been taken in."""

    def get(self, name: str, namespace: str = "") -> Object | None:
        return self._objects.get(f"{namespace}/{name}" if namespace else name)

    def by_key(self, key: str) -> Object | None:
        return self._objects.get(key)

    def all(self) -> list[Object]:
        return list(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def add_handler(self, handler: Handler) -> None:
        """Hear of every change from now on; objects already known are reported as created."""
        self._handlers.append(handler)
        for obj in self.all():
            handler(None, obj)

    def remove_handler(self, handler: Handler) -> None:
        self._handlers.remove(handler)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Keep objects findable by what `function` says of each (a node's name, an owner's uid, …)."""
        if name in self._index_functions:
            return
        self._index_functions[name] = function
        self._indexes[name] = defaultdict(dict)
        for key, obj in self._objects.items():
            for value in function(obj):
                self._indexes[name][value][key] = obj

    def indexed(self, name: str, value: str) -> list[Object]:
        """The objects whose index `name` says `value`."""
        bucket = self._indexes[name].get(value)
        return list(bucket.values()) if bucket else []

    def count(self, name: str, value: str) -> int:
        """How many objects `indexed` would return."""
        return len(self._indexes[name].get(value) or ())

    async def wait_synced(self) -> None:
        """Return once the first list has been taken in."""
        await self._synced.wait()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return once `holds()`; it is asked now and after every change that is taken in.

        Whoever has written waits so for the write's echo, lest the next decision be made on a stale copy:
        `await pods.wait_until(lambda: pods.has_seen(created))`.
        """
        if holds():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (holds, future)
        self._waiters.append(waiter)
        try:
            await future
        finally:
            self._waiters.remove(waiter)

    def has_seen(self, obj: Object) -> bool:
        """Whether this version of the object, as a write answered it, has been taken in."""
        return self.version >= int(obj["metadata"]["resourceVersion"])

    def _advance(self, version: str) -> None:
        self.version = max(self.version, int(version or 0))
        for holds, future in self._waiters:
            if not future.done() and holds():
                future.set_result(None)

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                objects, version = await self._api.list(self.resource, field_selector=self._field_selector)
                self._replace(objects)
                self._advance(version)
                self._synced.set()
                async for event in self._api.watch(
                    self.resource, resource_version=version, field_selector=self._field_selector
                ):
                    if event.type == "DELETED":
                        self._apply(key_of(event.object), None)
                    elif event.type != "BOOKMARK":
                        self._apply(key_of(event.object), event.object)
                    self._advance(event.object["metadata"]["resourceVersion"])
            except ApiError as error:
                if not error.is_gone:
                    log.debug("watch of %s ended: %s", self.resource.plural, error.message)
                    await asyncio.sleep(0.1)
            except OSError as error:
                log.debug("watch of %s ended: %s", self.resource.plural, error)
                await asyncio.sleep(0.5)

    def _replace(self, objects: list[Object]) -> None:
        fresh = {key_of(obj): obj for obj in objects}
        for key in [key for key in self._objects if key not in fresh]:
            self._apply(key, None)
        for key, obj in fresh.items():
            old = self._objects.get(key)
            if old is None or old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._apply(key, obj)

    def _apply(self, key: str, new: Object | None) -> None:
        old = self._objects.pop(key, None)
        if new is not None:
            self._objects[key] = new
        elif old is None:
            return
        for name, function in self._index_functions.items():
            index = self._indexes[name]
            if old is not None:
                for value in function(old):
                    bucket = index.get(value)
                    if bucket is not None:
                        bucket.pop(key, None)
                        if not bucket:
                            del index[value]
            if new is not None:
                for value in function(new):
                    index[value][key] = new
        for handler in tuple(self._handlers):
            handler(old, new)


class Informers:
    """One shared informer a resource for everybody on one loop."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._informers: dict[Resource, Informer] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def of(self, resource: Resource) -> Informer:
        """The shared informer, started on first use."""
        if resource not in self._informers:
            informer = Informer(self.api, resource)
            self._informers[resource] = informer
            self._tasks.append(asyncio.create_task(informer.run(), name=f"informer {resource.plural}"))
        return self._informers[resource]

    async def wait_synced(self) -> None:
        """Return once every informer asked for so far has its first list."""
        for informer in list(self._informers.values()):
            await informer.wait_synced()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
