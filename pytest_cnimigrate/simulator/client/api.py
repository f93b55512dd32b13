"""The verbs of the Kubernetes API, as control loops, hollow nodes and CNIs use them.

Everything in the simulator that is not the API server itself is an ordinary client of this protocol.
`local.LocalApi` serves it in the same process; an HTTP client can serve it against a real API server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import Resource

PatchType = Literal["json", "merge", "strategic", "apply"]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    type: EventType
    object: Object


class ApiError(Exception):
    """A failed request, as the `metav1.Status` that the server answers with."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Object | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.retry_after = retry_after

    @property
    def is_not_found(self) -> bool:
        return self.code == 404

    @property
    def is_conflict(self) -> bool:
        return self.code == 409

    @property
    def is_gone(self) -> bool:
        """410: the watch's resource version is too old; list again."""
        return self.code == 410


class Api(Protocol):
    """Every method raises `ApiError`. Returned objects are shared: treat them as frozen."""

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object: ...

    async def list(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[Object], str]:
        """The objects and the list's resource version, to watch from."""

    async def create(self, resource: Resource, obj: Object, namespace: str = "") -> Object: ...

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """PUT; with `metadata.resourceVersion` set it fails with 409 when the object has changed."""

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        kind: PatchType = "merge",
        subresource: str = "",
    ) -> Object: ...

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
        """Delete, with a precondition on the uid if one is given."""

    async def bind(self, pod: Object, node_name: str) -> None:
        """POST `pods/binding`: give the pod to a node; 409 if it has one already or is another pod by now."""

    async def evict(self, name: str, namespace: str) -> None:
        """POST `pods/eviction`: delete the pod unless a disruption budget forbids it (then 429)."""

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`, without end; raises `ApiError` 410 when that is too old."""
