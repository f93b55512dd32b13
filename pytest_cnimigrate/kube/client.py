"""Changing a cluster: the verbs that a Change may use. Whoever only looks takes a `KubeReader`."""

from __future__ import annotations

from typing import Any, Literal

from pytest_cnimigrate.kube import paths
from pytest_cnimigrate.kube.reader import KubeReader
from pytest_cnimigrate.kube.transport import Request, Transport
from pytest_cnimigrate.model.objects import Object, name_of, namespace_of
from pytest_cnimigrate.model.resources import PODS, Resource

PatchKind = Literal["json", "merge", "strategic", "apply"]
Propagation = Literal["Background", "Foreground", "Orphan"]

FIELD_MANAGER = "cnimigrate"
"""The owner of the fields that we write, in `metadata.managedFields`."""

_CONTENT_TYPES: dict[PatchKind, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class KubeClient(KubeReader):
    """Reads and changes one cluster; safe to use from several threads.

    A mutation is sent once. It is repeated only where it cannot have been carried out: after a 429 that
    says when to come back, and when no connection came about. With `dry_run` the server checks and answers
    as it would, and stores nothing.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self._transport = transport

    def read_only(self) -> KubeReader:
        """A reader over the same connections, unable to change anything."""
        return KubeReader(self._transport)

    def create(
        self, resource: Resource, obj: Object, namespace: str = "", *, dry_run: bool = False
    ) -> Object:
        """Create the object as given; raises `AlreadyExists`, `Invalid`, …"""
        namespace = namespace or namespace_of(obj)
        name = obj["metadata"].get("name") or obj["metadata"].get("generateName", "")
        if resource.namespaced and not namespace:
            raise ValueError(f"{resource.kind} {name!r} lives in a namespace: name it")
        return self._change(
            "create",
            paths.spoken(resource, name, namespace),
            paths.collection(resource, namespace),
            method="POST",
            body=obj,
            query=_write_query(dry_run),
        )

    def replace(
        self, resource: Resource, obj: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        """PUT the object; with its `resourceVersion` it raises `Conflict` if somebody else was quicker."""
        name, namespace = name_of(obj), namespace_of(obj)
        return self._change(
            "update",
            paths.spoken(resource, name, namespace, subresource=subresource),
            paths.single(resource, name, namespace, subresource=subresource),
            method="PUT",
            body=obj,
            query=_write_query(dry_run),
        )

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        kind: PatchKind = "merge",
        subresource: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        """Patch the object; `patch` is a list of operations for `json`, else a (partial) object.

        `apply` is server-side apply by the field manager `cnimigrate`; it raises `Conflict` when others own
        the fields, unless `force`. Strategic merge does not exist for custom resources.
        """
        if (kind == "json") != isinstance(patch, list):
            raise ValueError(f"a {kind} patch of {resource.plural} cannot be a {type(patch).__name__}")
        if force and kind != "apply":
            raise ValueError("only an apply patch can be forced")
        return self._change(
            "patch",
            paths.spoken(resource, name, namespace, subresource=subresource),
            paths.single(resource, name, namespace, subresource=subresource),
            method="PATCH",
            body=patch,
            query=[*_write_query(dry_run), *([("force", "true")] if force else [])],
            content_type=_CONTENT_TYPES[kind],
        )

    def apply(self, resource: Resource, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply of a whole object, which creates it if there is none."""
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        return self.patch(
            resource, name_of(obj), body, namespace_of(obj), kind="apply", force=force, dry_run=dry_run
        )

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        propagation: Propagation | None = None,
        grace_period: int | None = None,
        uid: str = "",
        dry_run: bool = False,
    ) -> None:
        """Ask for the object's deletion; it may stay for a while (grace period, finalizers).

        With `uid`, only the very object that was seen: raises `Conflict` if another has taken its name.
        """
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if propagation is not None:
            options["propagationPolicy"] = propagation
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        if uid:
            options["preconditions"] = {"uid": uid}
        if dry_run:
            options["dryRun"] = ["All"]
        self._change(
            "delete",
            paths.spoken(resource, name, namespace),
            paths.single(resource, name, namespace),
            method="DELETE",
            body=options,
        )

    def evict(
        self,
        name: str,
        namespace: str,
        *,
        uid: str = "",
        grace_period: int | None = None,
        dry_run: bool = False,
    ) -> None:
        """Delete a pod if its disruption budgets allow it.

        Raises `TooManyRequests` when they do not (its `cause` names the budget), `NotFound` when the pod has
        gone already, `Conflict` when `uid` is given and another pod has taken the name.
        """
        options: Object = {}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        if dry_run:
            options["dryRun"] = ["All"]
        body: Object = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        if options:
            body["deleteOptions"] = options
        self._change(
            "evict",
            paths.spoken(PODS, name, namespace),
            paths.single(PODS, name, namespace, subresource="eviction"),
            method="POST",
            body=body,
        )

    def _change(
        self,
        verb: str,
        target: str,
        path: str,
        *,
        method: str,
        body: Any,
        query: list[tuple[str, str]] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        request = Request(
            verb, target, path, method=method, query=query or (), body=body, content_type=content_type
        )
        return self._transport.fetch(request)


def _write_query(dry_run: bool) -> list[tuple[str, str]]:
    query = [("fieldManager", FIELD_MANAGER)]
    if dry_run:
        query.append(("dryRun", "All"))
    return query


__all__ = ["FIELD_MANAGER", "KubeClient", "KubeReader", "PatchKind", "Propagation"]
