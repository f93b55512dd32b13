"""Objects from manifests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pytest_cnimigrate.changes.restoring import as_manifest, put_back
from pytest_cnimigrate.kube.client import FIELD_MANAGER
from pytest_cnimigrate.kube.errors import Conflict
from pytest_cnimigrate.model.objects import Object, name_of, namespace_of
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Captured, Change, Worksite


@dataclass(frozen=True, slots=True)
class ApplyObject(Change):
    """Create one object, or bring it to what its manifest says, by server-side apply."""

    kind: ClassVar[str] = "apply-object"

    manifest: Object

    def describe(self) -> str:
        namespace = namespace_of(self.manifest)
        where = f"{namespace}/" if namespace else ""
        return f"apply {self.manifest['kind']} {where}{name_of(self.manifest)}"

    def holds(self, cluster: Cluster) -> bool:
        resource = self._resource(cluster)
        present = cluster.kube.find(resource, name_of(self.manifest), namespace_of(self.manifest))
        return present is not None and is_contained(self.manifest, present)

    def capture(self, cluster: Cluster) -> Captured:
        resource = self._resource(cluster)
        present = cluster.kube.find(resource, name_of(self.manifest), namespace_of(self.manifest))
        return {"before": None if present is None else as_manifest(present)}

    def apply(self, site: Worksite) -> None:
        resource = self._resource(site.cluster)
        try:
            site.cluster.kube.apply(resource, self.manifest)
        except Conflict as error:
            # What an earlier undo of ours put back counts as another manager's, although of the same name.
            if not error.causes or any(f'"{FIELD_MANAGER}"' not in cause.message for cause in error.causes):
                raise
            site.cluster.kube.apply(resource, self.manifest, force=True)

    def undo(self, site: Worksite, captured: Captured) -> None:
        resource = self._resource(site.cluster)
        name, namespace = name_of(self.manifest), namespace_of(self.manifest)
        present = site.cluster.kube.find(resource, name, namespace)
        before: Object | None = captured["before"]
        if before is None:
            if present is not None:
                site.cluster.kube.delete(resource, name, namespace, propagation="Background")
        elif present is None:
            site.cluster.kube.create(resource, before, namespace)
        else:
            site.cluster.kube.replace(resource, put_back(present, before))

    def _resource(self, cluster: Cluster) -> Resource:
        return cluster.kube.resource_of(self.manifest["apiVersion"], self.manifest["kind"])


def is_contained(wanted: object, present: object) -> bool:
    """Whether everything that a manifest says stands in the object; the server may have added more.

    Null, `{}` and `[]` in a manifest say nothing where the object has nothing. Lists must agree entry by
    entry, since their order may matter.
    """
    if wanted is None or (present is None and wanted in ({}, [])):
        return True
    if isinstance(wanted, dict):
        if not isinstance(present, dict):
            return False
        return all(is_contained(value, present.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(present, list)
            and len(wanted) == len(present)
            and all(is_contained(one, other) for one, other in zip(wanted, present, strict=True))
        )
    return wanted == present
