"""The API in the same process: no wire, no copies, many cheap watchers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.simulator.apiserver.binding import bind
from pytest_cnimigrate.simulator.apiserver.deletion import DeleteOptions
from pytest_cnimigrate.simulator.apiserver.eviction import evict
from pytest_cnimigrate.simulator.apiserver.options import WriteOptions
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import PatchType, WatchEvent


class LocalApi:
    """`client.api.Api` over an `ApiServer` on the same event loop.

    With a `manager`, what is written through it is tracked in `metadata.managedFields` under that name.
    Rights (RBAC) are a matter of the wire and do not apply here.
    """

    def __init__(self, server: ApiServer, *, manager: str = "") -> None:
        self._server = server
        self._options = WriteOptions(manager=manager)

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._server.get(resource, name, namespace)

    async def list(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[Object], str]:
        return self._server.list(
            resource, namespace, label_selector=label_selector, field_selector=field_selector
        )

    async def create(self, resource: Resource, obj: Object, namespace: str = "") -> Object:
        created = self._server.create(resource, obj, namespace, options=self._options)
        return await _let_others_run(created)

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        updated = self._server.update(resource, obj, subresource=subresource, options=self._options)
        return await _let_others_run(updated)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        kind: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        patched = self._server.patch(
            resource, name, patch, namespace, kind=kind, subresource=subresource, options=self._options
        )
        return await _let_others_run(patched)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        uid: str = "",
        propagation_policy: str = "",
    ) -> None:
        options = DeleteOptions(
            grace_period_seconds=grace_period_seconds, uid=uid, propagation_policy=propagation_policy
        )
        self._server.delete(resource, name, namespace, options=options)
        await asyncio.sleep(0)

    async def bind(self, pod: Object, node_name: str) -> None:
        metadata = pod["metadata"]
        bind(self._server, metadata["name"], metadata["namespace"], node_name, uid=metadata["uid"])
        await asyncio.sleep(0)

    async def evict(self, name: str, namespace: str) -> None:
        evict(self._server, name, namespace)
        await asyncio.sleep(0)

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        subscription = self._server.subscribe(
            resource,
            namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        try:
            while True:
                for change in await subscription.next():
                    yield WatchEvent(change.type, self._server.present(resource, change.entry).obj)
        finally:
            subscription.close()


async def _let_others_run(obj: Object) -> Object:
    """A loop that writes a thousand objects must not keep a thousand watchers from hearing of them."""
    await asyncio.sleep(0)
    return obj
