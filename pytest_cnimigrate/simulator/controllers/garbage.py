"""The garbage collector: objects whose owners are gone go too, before, after or without them.

Which resources are looked at: those of `model.resources`, and custom ones as soon as their definition is
established. Events are nobody's dependents and are left out.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pytest_cnimigrate.model import resources as known
from pytest_cnimigrate.model.objects import Object, is_terminating, key_of, name_of, namespace_of, uid_of
from pytest_cnimigrate.model.resources import CUSTOM_RESOURCE_DEFINITIONS, EVENTS, Resource
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.client.informer import Handler
from pytest_cnimigrate.simulator.controllers.base import Context, Controller
from pytest_cnimigrate.simulator.controllers.custom import custom_resources

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
BY_OWNERS = "owners"

_BUILT_IN = tuple(
    resource
    for resource in vars(known).values()
    if isinstance(resource, Resource) and resource.group != "cilium.io" and resource != EVENTS
)


class GarbageCollector(Controller):
    component: ClassVar[str] = "garbage-collector-controller"
    workers: ClassVar[int] = 4

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._resources: dict[str, Resource] = {}
        """`group/plural` -> resource."""
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._alive: dict[str, tuple[Resource, str]] = {}
        """uid -> resource and key of every object that exists."""

    def watch(self) -> None:
        for resource in _BUILT_IN:
            self._follow(resource)
        self.informer(CUSTOM_RESOURCE_DEFINITIONS).add_handler(self._definition_changed)

    def _definition_changed(self, old: Object | None, new: Object | None) -> None:
        for resource in custom_resources([new] if new is not None else ()):
            self._follow(resource)

    def _follow(self, resource: Resource) -> None:
        name = f"{resource.group}/{resource.plural}"
        if name in self._resources:
            return
        self._resources[name] = resource
        self._kinds[resource.group, resource.kind] = resource
        informer = self.informer(resource)
        informer.add_index(BY_OWNERS, _owner_uids)
        informer.add_handler(self._handler(name, resource))

    def _handler(self, name: str, resource: Resource) -> Handler:
        def changed(old: Object | None, new: Object | None) -> None:
            if new is None:
                if old is not None:
                    self._alive.pop(uid_of(old), None)
                    self._enqueue_dependents(uid_of(old))
                    self._enqueue_owners(old)
                return
            if old is not None and uid_of(old) != uid_of(new):
                self._alive.pop(uid_of(old), None)
                self._enqueue_dependents(uid_of(old))
            self._alive[uid_of(new)] = (resource, key_of(new))
            deleting = is_terminating(new)
            if deleting and (old is None or not is_terminating(old)):
                self._enqueue_dependents(uid_of(new))
            finalizers = new["metadata"].get("finalizers") or ()
            concerns_us = deleting and (FOREGROUND in finalizers or ORPHAN in finalizers)
            owners = new["metadata"].get("ownerReferences") or []
            changed_owners = owners and (old is None or old["metadata"].get("ownerReferences") != owners)
            if concerns_us or (changed_owners and any(o["uid"] not in self._alive for o in owners)):
                self.queue.add(f"{name} {key_of(new)}")

        return changed

    def _enqueue_dependents(self, uid: str) -> None:
        for name, resource in self._resources.items():
            for dependent in self.informer(resource).indexed(BY_OWNERS, uid):
                self.queue.add(f"{name} {key_of(dependent)}")

    def _enqueue_owners(self, obj: Object) -> None:
        """An owner that is deleted in the foreground waits for the last of its dependents."""
        for reference in obj["metadata"].get("ownerReferences") or ():
            if reference["uid"] in self._alive:
                resource, key = self._alive[reference["uid"]]
                owner = self.informer(resource).by_key(key)
                if owner is not None and is_terminating(owner):
                    self.queue.add(f"{resource.group}/{resource.plural} {key}")

    def _dependents(self, uid: str) -> list[tuple[Resource, Object]]:
        return [
            (resource, obj)
            for resource in self._resources.values()
            for obj in self.informer(resource).indexed(BY_OWNERS, uid)
        ]

    async def sync(self, key: str) -> None:
        name, _, obj_key = key.partition(" ")
        resource = self._resources[name]
        obj = self.informer(resource).by_key(obj_key)
        if obj is None:
            return
        if is_terminating(obj):
            finalizers = obj["metadata"].get("finalizers") or ()
            if ORPHAN in finalizers:
                await self._orphan(resource, obj)
            elif FOREGROUND in finalizers:
                await self._finish_foreground(resource, obj)
            return
        if obj["metadata"].get("ownerReferences"):
            await self._judge(resource, obj)

    async def _orphan(self, resource: Resource, owner: Object) -> None:
        """Set the dependents free, then let the owner go."""
        for dependent_resource, dependent in self._dependents(uid_of(owner)):
            await self._drop_references(dependent_resource, dependent, {uid_of(owner)})
        await self._drop_finalizer(resource, owner, ORPHAN)

    async def _finish_foreground(self, resource: Resource, owner: Object) -> None:
        blocking = [
            dependent
            for _, dependent in self._dependents(uid_of(owner))
            if any(
                reference["uid"] == uid_of(owner) and reference.get("blockOwnerDeletion")
                for reference in dependent["metadata"]["ownerReferences"]
            )
        ]
        if not blocking:
            await self._drop_finalizer(resource, owner, FOREGROUND)

    async def _judge(self, resource: Resource, obj: Object) -> None:
        """Delete the object if no owner that stays is left; drop references to those that are gone."""
        gone, waiting, solid = set(), set(), False
        for reference in obj["metadata"]["ownerReferences"]:
            owner = await self._owner(reference, namespace_of(obj))
            if owner is None:
                gone.add(reference["uid"])
            elif is_terminating(owner) and FOREGROUND in (owner["metadata"].get("finalizers") or ()):
                waiting.add(reference["uid"])
            else:
                solid = True
        if solid:
            if gone or waiting:
                await self._drop_references(resource, obj, gone | waiting)
            return
        finalizers = obj["metadata"].get("finalizers") or ()
        policy = "Background"
        if ORPHAN in finalizers:
            policy = "Orphan"
        elif FOREGROUND in finalizers or (waiting and self._dependents(uid_of(obj))):
            policy = "Foreground"
        try:
            await self.api.delete(
                resource, name_of(obj), namespace_of(obj), uid=uid_of(obj), propagation_policy=policy
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise

    async def _owner(self, reference: Object, namespace: str) -> Object | None:
        """The owner as it is, or None if it is gone. What the informers do not show is asked of the API."""
        alive = self._alive.get(reference["uid"])
        if alive is not None:
            owner = self.informer(alive[0]).by_key(alive[1])
            if owner is not None:
                return owner
        group = reference["apiVersion"].rpartition("/")[0]
        resource = self._kinds.get((group, reference["kind"]))
        if resource is None:
            # Nobody knows what it is; kube keeps the object, too (its mapper fails and it tries again).
            return reference | {"metadata": {}}
        try:
            owner = await self.api.get(resource, reference["name"], namespace if resource.namespaced else "")
        except ApiError as error:
            if error.is_not_found:
                return None
            raise
        return owner if uid_of(owner) == reference["uid"] else None

    async def _drop_references(self, resource: Resource, obj: Object, uids: set[str]) -> None:
        references = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] not in uids]
        await self._patch_metadata(resource, obj, {"ownerReferences": references or None})

    async def _drop_finalizer(self, resource: Resource, obj: Object, finalizer: str) -> None:
        finalizers = [f for f in obj["metadata"].get("finalizers") or () if f != finalizer]
        await self._patch_metadata(resource, obj, {"finalizers": finalizers or None})

    async def _patch_metadata(self, resource: Resource, obj: Object, change: dict[str, Any]) -> None:
        patch = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"], **change}}
        try:
            await self.api.patch(resource, name_of(obj), patch, namespace_of(obj))
        except ApiError as error:
            if not error.is_not_found:
                raise


def _owner_uids(obj: Object) -> list[str]:
    return [reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ()]
