"""The reading verbs: get, list, watch."""

from __future__ import annotations

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.simulator.apiserver.errors import bad_request, from_the_future, not_found, unknown_path
from pytest_cnimigrate.simulator.apiserver.fields import scope_of
from pytest_cnimigrate.simulator.apiserver.resources import Registry, ResourceInfo
from pytest_cnimigrate.simulator.apiserver.store import Entry, Store, Subscription, Table


class Reads:
    """What can be asked of the objects in a store. Nothing here changes anything."""

    registry: Registry
    store: Store

    def info(self, resource: Resource) -> ResourceInfo:
        """How the resource is served; raises 404 when it is not."""
        info = self.registry.of(resource)
        if info is None:
            raise unknown_path()
        return info

    def table(self, resource: Resource) -> Table:
        return self.store.table(resource.group_resource)

    def entry(self, resource: Resource, name: str, namespace: str = "") -> Entry:
        """The stored object with its JSON; raises 404."""
        self.info(resource)
        entry = self.table(resource).get(namespace if resource.namespaced else "", name)
        if entry is None:
            raise not_found(resource, name)
        return entry

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self.present(resource, self.entry(resource, name, namespace)).obj

    def present(self, resource: Resource, entry: Entry) -> Entry:
        """The entry as seen in the resource's version, which may differ from the stored one."""
        if entry.obj["apiVersion"] == resource.api_version:
            return entry
        return Entry({**entry.obj, "apiVersion": resource.api_version}, entry.version)

    def entries(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> list[Entry]:
        """Matching objects in the order of namespace and name."""
        self.info(resource)
        scope = scope_of(resource, namespace, labels=label_selector, fields=field_selector)
        return [self.present(resource, entry) for entry in self.table(resource).select(scope)]

    def list(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[Object], str]:
        """The objects and the version to watch from."""
        found = self.entries(
            resource, namespace, label_selector=label_selector, field_selector=field_selector
        )
        return [entry.obj for entry in found], str(self.store.version)

    def subscribe(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Subscription:
        """Changes after a version; raises 410 when that is too old, 504 when it is yet to come."""
        self.info(resource)
        scope = scope_of(resource, namespace, labels=label_selector, fields=field_selector)
        if not resource_version.isdigit():
            raise bad_request(f"invalid resource version {resource_version!r}: must be a number")
        version = int(resource_version)
        if version > self.store.version:
            raise from_the_future(version, self.store.version)
        return self.table(resource).subscribe(scope, after=version)
