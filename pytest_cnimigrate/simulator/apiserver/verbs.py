"""The verbs of the API and their semantics: what every write goes through, whoever sends it.

Synchronous on purpose: one event loop owns the server, and a method that does not await is a transaction.
REST (`rest.py`) and clients in the same process (`client/local.py`) are thin layers over this class.
"""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from pytest_cnimigrate.model.objects import Object, timestamp
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.simulator.apiserver import apply, bootstrap, definitions, strategy
from pytest_cnimigrate.simulator.apiserver.admission import Admission
from pytest_cnimigrate.simulator.apiserver.conform import conform
from pytest_cnimigrate.simulator.apiserver.defaults import apply_defaults
from pytest_cnimigrate.simulator.apiserver.deletion import DeleteOptions, check_preconditions, mark_deleted
from pytest_cnimigrate.simulator.apiserver.errors import (
    already_exists,
    bad_request,
    conflict,
    forbidden_field,
    invalid,
    invalid_value,
    method_not_allowed,
    not_found,
    unknown_path,
)
from pytest_cnimigrate.simulator.apiserver.fields import INDEXED, index_function
from pytest_cnimigrate.simulator.apiserver.managed_fields import record_update
from pytest_cnimigrate.simulator.apiserver.options import WriteOptions as WriteOptions
from pytest_cnimigrate.simulator.apiserver.patch import json_patch, merge_patch, strategic_merge_patch
from pytest_cnimigrate.simulator.apiserver.pod_defaults import random_suffix
from pytest_cnimigrate.simulator.apiserver.reads import Reads
from pytest_cnimigrate.simulator.apiserver.resources import STATUS, Registry, ResourceInfo
from pytest_cnimigrate.simulator.apiserver.schema import schema_of
from pytest_cnimigrate.simulator.apiserver.store import Entry, Store
from pytest_cnimigrate.simulator.apiserver.validation import validate, validate_update
from pytest_cnimigrate.simulator.client.api import ApiError, PatchType
from pytest_cnimigrate.simulator.faults import Faults

DEFAULT_WRITE = WriteOptions()


class ApiServer(Reads):
    """A Kubernetes API server without its wire: objects, their rules, and the log of their changes."""

    def __init__(
        self,
        *,
        faults: Faults | None = None,
        service_cidr: str = "10.100.0.0/16",
        version: str = "v1.36.2",
        log_limit: int = 5_000,
    ) -> None:
        self.version = version
        """What `/version` and `kubectl version` say."""
        self.faults = faults or Faults()
        self.registry = Registry()
        self.store = Store(log_limit=log_limit)
        for group_resource in INDEXED:
            self.store.add_index(group_resource, index_function(group_resource))
        self.admission = Admission(self.store, service_cidr=service_cidr)
        bootstrap.populate(self, service_cidr)

    # Writes

    def create(
        self, resource: Resource, obj: Any, namespace: str = "", *, options: WriteOptions = DEFAULT_WRITE
    ) -> Object:
        """POST: the object as the server keeps it."""
        info = self.info(resource)
        new = self._decode(info, obj, options)
        metadata = new["metadata"]
        if metadata.pop("resourceVersion", ""):
            raise bad_request("resourceVersion should not be set on objects to be created")
        self._place(resource, metadata, namespace)
        generated = not metadata.get("name") and bool(metadata.get("generateName"))
        if generated:
            metadata["name"] = self._free_name(resource, metadata)
        name, place = metadata.get("name") or "", metadata.get("namespace", "")
        if resource.namespaced:
            self.admission.check_namespace(info, place, name)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp()
        strategy.prepare_create(info, new)
        apply_defaults(resource.group_resource, new)
        errors = validate(resource.group_resource, new)
        if errors:
            raise invalid(resource, name, errors)
        if self.table(resource).get(place, name) is not None:
            raise already_exists(resource, name)
        self.admission.admit_create(info, new)
        strategy.finish_create(info, new)
        if definitions.is_definition(resource):
            definitions.establish(new)
        record_update(schema_of(info), new, None, manager=options.manager, api_version=resource.api_version)
        return self._commit(info, new, options, resource)

    def update(
        self,
        resource: Resource,
        obj: Any,
        *,
        subresource: str = "",
        options: WriteOptions = DEFAULT_WRITE,
    ) -> Object:
        """PUT of the object, or of its status: replaces what the request is about."""
        info = self.info(resource)
        self._check_subresource(info, subresource)
        new = self._decode(info, obj, options)
        metadata = new["metadata"]
        name = metadata.get("name") or ""
        if not name:
            raise bad_request("name must be provided")
        if not metadata.get("resourceVersion") and not info.unconditional_update:
            detail = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource, name, [detail])
        return self._write(info, resource, new, subresource, options)

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        kind: PatchType = "merge",
        subresource: str = "",
        options: WriteOptions = DEFAULT_WRITE,
    ) -> Object:
        """PATCH; `apply` creates the object when it is not there."""
        info = self.info(resource)
        self._check_subresource(info, subresource)
        schema = schema_of(info)
        found = self.table(resource).get(namespace if resource.namespaced else "", name)
        if kind == "apply":
            if not options.manager:
                raise bad_request("fieldManager is required for apply patch")
            applied = apply.applied_object(info, self._decode(info, patch, options), name, namespace)
            if found is None:
                if subresource:
                    raise not_found(resource, name)
                apply.own_new(schema, applied, options.manager)
                return self.create(resource, applied, namespace, options=WriteOptions(options.dry_run))
            new = apply.apply(info, schema, found.obj, applied, subresource=subresource, options=options)
            return self._write(info, resource, new, subresource, options, applied=True)
        if found is None:
            raise not_found(resource, name)
        current = self.present(resource, found).obj
        if kind == "json":
            new = json_patch(current, patch)
        elif not isinstance(patch, dict):
            raise bad_request(f"a {kind} patch is an object")
        elif kind == "merge":
            new = merge_patch(current, patch)
        elif info.custom:
            raise ApiError(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: "
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )
        else:
            new = strategic_merge_patch(current, patch, schema)
        return self._write(info, resource, self._decode(info, new, options, current), subresource, options)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        options: DeleteOptions = DeleteOptions(),  # noqa: B008 - frozen
    ) -> tuple[Object, bool]:
        """DELETE: the object as it is left, and whether it is gone already."""
        info = self.info(resource)
        entry = self.entry(resource, name, namespace)
        check_preconditions(info, entry.obj, options)
        if resource.group_resource == "namespaces":
            self.admission.check_namespace_deletion(name)
        new: Object = orjson.loads(entry.raw)
        changed = mark_deleted(info, new, options)
        gone = strategy.is_removable(info, new)
        if gone and resource.group_resource != "pods" and "deletionTimestamp" not in entry.obj["metadata"]:
            # What has nothing to wait for goes as it was; only pods are deleted gracefully, and marked first.
            new = orjson.loads(entry.raw)
        if options.dry_run:
            return new, gone
        # A pod's watchers see that its grace is over before they see it go, as in the recordings.
        if changed and (not gone or resource.group_resource == "pods"):
            self._put(resource, new)
        if gone:
            new = self._remove(resource, {**new, "metadata": dict(new["metadata"])})
        return self.present(resource, Entry(new, 0)).obj, gone

    # The way every change of an existing object takes

    def _write(
        self,
        info: ResourceInfo,
        resource: Resource,
        new: Object,
        subresource: str,
        options: WriteOptions,
        *,
        applied: bool = False,
    ) -> Object:
        metadata = new["metadata"]
        entry = self.entry(resource, metadata.get("name", ""), metadata.get("namespace", ""))
        old = entry.obj
        self._check_identity(resource, metadata, old["metadata"])
        new = strategy.prepare_update(info, new, old, subresource)
        if subresource != STATUS:
            group_resource = resource.group_resource
            apply_defaults(group_resource, new)
            errors = validate(group_resource, new) + validate_update(group_resource, new, old)
            errors += _new_finalizers(new["metadata"], old["metadata"])
            if errors:
                raise invalid(resource, metadata["name"], errors)
            if group_resource == "services":
                self.admission.allocate(info, new)
            if definitions.is_definition(resource):
                definitions.establish(new)
            strategy.count_generation(info, new, old)
        if not applied:
            record_update(
                schema_of(info),
                new,
                old,
                manager=options.manager,
                api_version=resource.api_version,
                subresource=subresource,
            )
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if _same(new, old):
            return self.present(resource, entry).obj
        return self._commit(info, new, options, resource)

    def _commit(self, info: ResourceInfo, new: Object, options: WriteOptions, resource: Resource) -> Object:
        if not options.dry_run:
            if strategy.is_removable(info, new):
                self._remove(resource, new)
            else:
                self._put(resource, new)
        return self.present(resource, Entry(new, 0)).obj

    def replace(self, resource: Resource, obj: Object) -> Object:
        """Store a private copy as it is, for subresources whose rules are their own (binding)."""
        self._put(resource, obj)
        return obj

    def _put(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        self.table(resource).put(metadata.get("namespace", ""), metadata["name"], self.store.entry(obj))
        if definitions.is_definition(resource):
            definitions.written(self, obj)

    def _remove(self, resource: Resource, obj: Object) -> Object:
        metadata = obj["metadata"]
        if definitions.is_definition(resource):
            definitions.delete_instances(self, obj)
        self.table(resource).remove(metadata.get("namespace", ""), metadata["name"], self.store.entry(obj))
        if definitions.is_definition(resource):
            definitions.removed(self, obj)
        return obj

    # Checks

    def _decode(
        self, info: ResourceInfo, obj: Any, options: WriteOptions, old: Object | None = None
    ) -> Object:
        """A private copy of what a client sent, in the form that its kind has."""
        new = strategy.normalise(obj, info)
        if options.field_validation:
            options.warnings.extend(conform(info, new, mode=options.field_validation, old=old))
        return new

    def _place(self, resource: Resource, metadata: Object, namespace: str) -> None:
        if not resource.namespaced:
            metadata.pop("namespace", None)
            return
        namespace = namespace or metadata.get("namespace", "")
        if not namespace:
            raise bad_request("an empty namespace may not be set during creation")
        if metadata.get("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = namespace

    def _free_name(self, resource: Resource, metadata: Object) -> str:
        table = self.table(resource)
        while True:
            name = f"{metadata['generateName']}{random_suffix()}"
            if table.get(metadata.get("namespace", ""), name) is None:
                return name

    def _check_subresource(self, info: ResourceInfo, subresource: str) -> None:
        if not subresource:
            return
        if subresource not in info.subresources:
            raise unknown_path()
        if subresource not in (STATUS, "finalize"):
            raise method_not_allowed()

    def _check_identity(self, resource: Resource, new: Object, old: Object) -> None:
        """Raise 409 when the write is about another version or another object of the same name."""
        if new.get("uid", old["uid"]) != old["uid"]:
            detail = (
                f"Precondition failed: UID in precondition: {new['uid']}, UID in object meta: {old['uid']}"
            )
            raise conflict(resource, old["name"], detail)
        if (new.get("resourceVersion") or old["resourceVersion"]) != old["resourceVersion"]:
            raise conflict(resource, old["name"])


def _new_finalizers(new: Object, old: Object) -> list[Any]:
    if "deletionTimestamp" not in old:
        return []
    added = [name for name in new.get("finalizers") or () if name not in (old.get("finalizers") or ())]
    if not added:
        return []
    detail = "no new finalizers can be added if the object is being deleted, found new finalizers "
    return [forbidden_field("metadata.finalizers", detail + orjson.dumps(added).decode())]


def _same(new: Object, old: Object) -> bool:
    """Whether a write changes nothing: such a write makes no version and no event."""
    if new == old:
        return True
    if "managedFields" not in new["metadata"]:
        return False
    return apply.without_times(new) == apply.without_times(old)
