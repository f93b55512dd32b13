"""What each kind does with an object on its way into the store: status, generation, and their like.

The counterpart of `pkg/registry/*/strategy.go`: pure rules on one object, or on its old and new state.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.errors import bad_request
from pytest_cnimigrate.simulator.apiserver.pod_defaults import quality_of_service
from pytest_cnimigrate.simulator.apiserver.resources import STATUS, ResourceInfo

TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"

# Go writes these fields even when they are empty: a null there is part of the object.
_NULLS_KEPT = frozenset({"lastProbeTime", "eventTime"})

_FIXED_METADATA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "uid",
)

_KEEPS_STATUS_ON_CREATE = frozenset({"nodes"})
"""kubelet registers its node together with its status."""


def normalise(obj: Any, info: ResourceInfo) -> Object:
    """A private copy of what a client sent, with the kind filled in; raises 400 when it is not that kind."""
    try:
        raw = orjson.dumps(obj)
    except TypeError as error:
        raise bad_request(f"the object is not JSON: {error}") from error
    copy = orjson.loads(raw)
    if not isinstance(copy, dict):
        raise bad_request("the body of the request must be an object")
    if b"null" in raw:
        _drop_nulls(copy)
    resource = info.resource
    for field, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        if copy.get(field, expected) != expected:
            raise bad_request(
                f"{field} of the object ({copy[field]}) does not match the request, which is for {expected}"
            )
    metadata = copy.pop("metadata", None)
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    stored_version = f"{resource.group}/{info.storage_version}" if resource.group else info.storage_version
    rest = {key: value for key, value in copy.items() if key not in ("apiVersion", "kind")}
    return {"apiVersion": stored_version, "kind": resource.kind, "metadata": metadata or {}, **rest}


def _drop_nulls(value: Any) -> None:
    if isinstance(value, dict):
        for key in [key for key, item in value.items() if item is None and key not in _NULLS_KEPT]:
            del value[key]
        for item in value.values():
            if isinstance(item, (dict, list)):
                _drop_nulls(item)
    elif isinstance(value, list):
        for item in value:
            _drop_nulls(item)


def prepare_create(info: ResourceInfo, obj: Object) -> None:
    """Set what the server decides about a new object, before defaults."""
    resource = info.resource
    metadata = obj["metadata"]
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"):
        metadata.pop(field, None)
    if info.has_generation:
        metadata["generation"] = 1
    if info.has_status and resource.group_resource not in _KEEPS_STATUS_ON_CREATE:
        obj.pop("status", None)
    match resource.group_resource:
        case "namespaces":
            obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]
            obj["status"] = {"phase": "Active"}
        case "services":
            obj["status"] = {"loadBalancer": {}}
        case "persistentvolumeclaims" | "persistentvolumes":
            obj["status"] = {"phase": "Pending"}
        case "daemonsets.apps":
            metadata.setdefault("annotations", {})[TEMPLATE_GENERATION] = "1"
            obj["status"] = {
                "currentNumberScheduled": 0,
                "numberMisscheduled": 0,
                "desiredNumberScheduled": 0,
                "numberReady": 0,
            }
        case "deployments.apps" | "jobs.batch" | "cronjobs.batch":
            obj["status"] = {}
        case "replicasets.apps":
            obj["status"] = {"replicas": 0}
        case "statefulsets.apps":
            obj["status"] = {"replicas": 0, "availableReplicas": 0}
        case "poddisruptionbudgets.policy":
            obj["status"] = {
                "disruptionsAllowed": 0,
                "currentHealthy": 0,
                "desiredHealthy": 0,
                "expectedPods": 0,
            }
        case "customresourcedefinitions.apiextensions.k8s.io":
            obj["status"] = {}


def finish_create(info: ResourceInfo, obj: Object) -> None:
    """Set what depends on the defaults."""
    if info.resource.group_resource == "pods":
        obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(obj)}


def prepare_update(info: ResourceInfo, new: Object, old: Object, subresource: str) -> Object:
    """`new` with everything that this write may not touch taken from `old`."""
    group_resource = info.resource.group_resource
    metadata = new["metadata"]
    for field in _FIXED_METADATA:
        if field in old["metadata"]:
            metadata[field] = old["metadata"][field]
        else:
            metadata.pop(field, None)
    if subresource == STATUS:
        kept = {key: value for key, value in old.items() if key != "status"}
        kept["metadata"] = _status_metadata(info, new, old)
        return kept | ({"status": new["status"]} if "status" in new else {})
    if group_resource == "namespaces" and subresource != "finalize":
        finalizers = (old.get("spec") or {}).get("finalizers")
        if finalizers:
            new.setdefault("spec", {})["finalizers"] = finalizers
    if info.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    if group_resource == "services":
        _keep_addresses(new, old)
    return new


def _status_metadata(info: ResourceInfo, new: Object, old: Object) -> Object:
    """Built-in kinds let labels and annotations pass with a status; custom resources do not."""
    if not info.custom:
        metadata: Object = new["metadata"]
        return metadata
    kept = dict(old["metadata"])
    if "managedFields" in new["metadata"]:
        kept["managedFields"] = new["metadata"]["managedFields"]
    return kept


def _keep_addresses(new: Object, old: Object) -> None:
    """A PUT without addresses or node ports keeps the allocated ones."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if spec.get("type") == "ExternalName" or before.get("type") == "ExternalName":
        return
    for field in ("clusterIP", "clusterIPs"):
        if not spec.get(field) and before.get(field):
            spec[field] = before[field]
    ports = {(port.get("protocol"), port["port"]): port for port in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        previous = ports.get((port.get("protocol", "TCP"), port.get("port")))
        if previous and "nodePort" in previous and spec.get("type") in ("NodePort", "LoadBalancer"):
            port.setdefault("nodePort", previous["nodePort"])


def count_generation(info: ResourceInfo, new: Object, old: Object) -> None:
    """Raise `metadata.generation` when what is wanted has changed."""
    if not info.has_generation:
        return
    group_resource = info.resource.group_resource
    if info.custom or "spec" not in new:
        changed = _payload(new) != _payload(old)
    else:
        changed = new.get("spec") != old.get("spec")
    if group_resource == "deployments.apps":
        # Deployments count annotations too: the revision is kept in one.
        changed = changed or new["metadata"].get("annotations") != old["metadata"].get("annotations")
    if group_resource == "daemonsets.apps":
        _count_template_generation(new, old)
    if changed:
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _payload(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "metadata", "status")}


def _count_template_generation(new: Object, old: Object) -> None:
    before = int((old["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "1"))
    changed = new["spec"].get("template") != old["spec"].get("template")
    annotations = new["metadata"].setdefault("annotations", {})
    annotations[TEMPLATE_GENERATION] = str(before + 1 if changed else before)


def is_removable(info: ResourceInfo, obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if info.resource.group_resource == "namespaces" and (obj.get("spec") or {}).get("finalizers"):
        return False
    return bool(metadata.get("deletionGracePeriodSeconds", 0) == 0)
