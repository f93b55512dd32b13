"""Namespaces: each gets its service account, and one that is deleted is emptied before it goes."""

from __future__ import annotations

from typing import ClassVar

from pytest_cnimigrate.model import resources as known
from pytest_cnimigrate.model.objects import Object, condition, is_terminating, name_of, timestamp
from pytest_cnimigrate.model.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    NAMESPACES,
    SERVICE_ACCOUNTS,
    Resource,
)
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.controllers.base import Context, Controller
from pytest_cnimigrate.simulator.controllers.custom import custom_resources
from pytest_cnimigrate.simulator.controllers.pods import pod_informer

FINALIZER = "kubernetes"
NEXT_LOOK = 1.0
"""Simulated seconds until a namespace that is not empty yet is looked at again; pods that go hasten it."""

_BUILT_IN = tuple(
    resource
    for resource in vars(known).values()
    if isinstance(resource, Resource) and resource.namespaced and resource.group != "cilium.io"
)


class NamespaceController(Controller):
    component: ClassVar[str] = "namespace-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._namespaces = self.informer(NAMESPACES)
        self._definitions = self.informer(CUSTOM_RESOURCE_DEFINITIONS)
        self._pods = pod_informer(self.informers)

    def watch(self) -> None:
        self.enqueue_changes_of(self._namespaces)
        self._pods.add_handler(self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            namespace = self._namespaces.get(old["metadata"]["namespace"])
            if namespace is not None and is_terminating(namespace):
                self.queue.add(name_of(namespace))

    async def sync(self, key: str) -> None:
        namespace = self._namespaces.get(key)
        if namespace is None or not is_terminating(namespace):
            return
        if FINALIZER not in (namespace["spec"].get("finalizers") or ()):
            return
        remaining: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        for resource in (*_BUILT_IN, *custom_resources(self._definitions.all(), namespaced=True)):
            for obj in await self._delete_all(resource, key):
                remaining[resource.group_resource] = remaining.get(resource.group_resource, 0) + 1
                for finalizer in obj["metadata"].get("finalizers") or ():
                    finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
        if remaining:
            await self._report(namespace, remaining, finalizers)
            self.queue.add_after(key, NEXT_LOOK)
            return
        left = [each for each in namespace["spec"]["finalizers"] if each != FINALIZER]
        body = {**namespace, "spec": {**namespace["spec"], "finalizers": left}}
        await self.api.update(NAMESPACES, body, subresource="finalize")

    async def _delete_all(self, resource: Resource, namespace: str) -> list[Object]:
        """Ask every object to go; returns those that are still there."""
        try:
            objects, _ = await self.api.list(resource, namespace)
        except ApiError as error:
            if error.is_not_found:  # a custom resource whose definition has just gone
                return []
            raise
        for obj in objects:
            if not is_terminating(obj):
                try:
                    await self.api.delete(resource, name_of(obj), namespace, propagation_policy="Background")
                except ApiError as error:
                    if not error.is_not_found:
                        raise
        left, _ = await self.api.list(resource, namespace) if objects else ([], "")
        return left

    async def _report(self, namespace: Object, remaining: dict[str, int], finalizers: dict[str, int]) -> None:
        """Say in the conditions what keeps the namespace, in kube's words."""
        resources = ", ".join(f"{kind} has {n} resource instances" for kind, n in sorted(remaining.items()))
        entries = [
            _entry(
                namespace,
                "NamespaceContentRemaining",
                ("True", "SomeResourcesRemain", f"Some resources are remaining: {resources}"),
            )
        ]
        if finalizers:
            listed = ", ".join(f"{name} in {n} resource instances" for name, n in sorted(finalizers.items()))
            message = f"Some content in the namespace has finalizers remaining: {listed}"
            found = ("True", "SomeFinalizersRemain", message)
            entries.append(_entry(namespace, "NamespaceFinalizersRemaining", found))
        status = {"phase": "Terminating", "conditions": entries}
        if (namespace.get("status") or {}) == status:
            return
        try:
            await self.api.update(NAMESPACES, {**namespace, "status": status}, subresource="status")
        except ApiError as error:
            if not (error.is_conflict or error.is_not_found):
                raise


def _entry(namespace: Object, kind: str, found: tuple[str, str, str]) -> Object:
    status, reason, message = found
    old = condition(namespace, kind)
    since = old["lastTransitionTime"] if old is not None and old["status"] == status else timestamp()
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


class ServiceAccountController(Controller):
    """The service account `default` of each namespace; made again when somebody deletes it."""

    component: ClassVar[str] = "serviceaccount-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._namespaces = self.informer(NAMESPACES)
        self._accounts = self.informer(SERVICE_ACCOUNTS)

    def watch(self) -> None:
        self.enqueue_changes_of(self._namespaces)
        self._accounts.add_handler(self._account_changed)

    def _account_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None and name_of(old) == "default":
            self.queue.add(old["metadata"]["namespace"])

    async def sync(self, key: str) -> None:
        namespace = self._namespaces.get(key)
        if namespace is None or is_terminating(namespace) or self._accounts.get("default", key) is not None:
            return
        body = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": key},
        }
        try:
            created = await self.api.create(SERVICE_ACCOUNTS, body, key)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return
            raise
        await self._accounts.wait_until(lambda: self._accounts.has_seen(created))
