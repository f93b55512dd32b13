"""Discovery: which groups, versions and resources there are, plain and aggregated; and their schemas.

Both forms of discovery are served: current clients ask for the aggregated one (one request in place of one a
group), older ones for the plain lists.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Any, Final

import orjson

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.resources import Registry, ResourceInfo
from pytest_cnimigrate.simulator.apiserver.reviews import REVIEWS
from pytest_cnimigrate.simulator.apiserver.schema import definition_name, definitions, references, schema_of

VERBS: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]

_SUBRESOURCES: Final[dict[str, tuple[str, str, str, list[str]]]] = {
    "scale": ("autoscaling", "v1", "Scale", ["get", "patch", "update"]),
    "eviction": ("policy", "v1", "Eviction", ["create"]),
    "binding": ("", "v1", "Binding", ["create"]),
    "exec": ("", "v1", "PodExecOptions", ["create", "get"]),
    "log": ("", "v1", "Pod", ["get"]),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ["create"]),
    "finalize": ("", "v1", "Namespace", ["update"]),
}
"""By name: group, version and kind of the body, and verbs; others carry the resource itself."""

_PROXY_VERBS: Final = ["create", "delete", "get", "patch", "update"]

GroupVersion = tuple[str, str]


def _group_versions(registry: Registry) -> dict[GroupVersion, list[ResourceInfo]]:
    found: defaultdict[GroupVersion, list[ResourceInfo]] = defaultdict(list)
    for info in registry.all():
        found[info.resource.group, info.resource.version].append(info)
    for group, _ in REVIEWS:
        found[group, "v1"] = []
    return dict(found)


def _subresource(info: ResourceInfo, name: str) -> tuple[str, str, str, list[str]]:
    resource = info.resource
    if name == "proxy":
        return ("", "v1", f"{resource.kind}ProxyOptions", _PROXY_VERBS)
    if name in _SUBRESOURCES:
        return _SUBRESOURCES[name]
    return (resource.group, resource.version, resource.kind, ["get", "patch", "update"])


# The plain form


def core_versions(address: str) -> Object:
    """`/api`."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _versions_by_group(registry: Registry) -> dict[str, list[str]]:
    """Versions of a group with the preferred one first: stable before beta before alpha, higher first."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for group, version in _group_versions(registry):
        if group:
            found[group].append(version)
    return {group: sorted(found[group], key=_version_rank) for group in sorted(found)}


def _version_rank(version: str) -> tuple[int, int, int]:
    for stage, word in enumerate(("alpha", "beta")):
        major, found, minor = version.removeprefix("v").partition(word)
        if found and major.isdigit():
            return (2 - stage, -int(major), -int(minor or 0))
    number = version.removeprefix("v")
    return (0, -int(number), 0) if number.isdigit() else (3, 0, 0)


def groups(registry: Registry) -> Object:
    """`/apis`."""
    listed = [_group(name, versions) for name, versions in _versions_by_group(registry).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(registry: Registry, name: str) -> Object | None:
    """`/apis/<group>`, or None if there is no such group."""
    versions = _versions_by_group(registry).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def resources(registry: Registry, group_name: str, version: str) -> Object | None:
    """`/api/v1` and `/apis/<group>/<version>`, or None if there is no such version."""
    infos = _group_versions(registry).get((group_name, version))
    if infos is None:
        return None
    listed: list[Object] = []
    for info in infos:
        entry: Object = {
            "name": info.resource.plural,
            "singularName": info.singular,
            "namespaced": info.resource.namespaced,
            "kind": info.resource.kind,
            "verbs": VERBS,
        }
        if info.short_names:
            entry["shortNames"] = list(info.short_names)
        if info.categories:
            entry["categories"] = list(info.categories)
        listed.append(entry)
        for name in info.subresources:
            group_, version_, kind, verbs = _subresource(info, name)
            listed.append(
                {
                    "name": f"{info.resource.plural}/{name}",
                    "singularName": "",
                    "namespaced": info.resource.namespaced,
                    "group": group_,
                    "version": version_,
                    "kind": kind,
                    "verbs": verbs,
                }
            )
    for (review_group, plural), (kind, namespaced, _) in REVIEWS.items():
        if review_group == group_name:
            review = {"name": plural, "singularName": kind.lower(), "namespaced": namespaced}
            listed.append(review | {"kind": kind, "verbs": ["create"]})
    group_version = f"{group_name}/{version}" if group_name else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": sorted(listed, key=lambda entry: str(entry["name"])),
    }


# The aggregated form


def aggregated(registry: Registry, *, core: bool) -> Object:
    """`/api` or `/apis` as `APIGroupDiscoveryList`."""
    by_group = {"": ["v1"]} if core else _versions_by_group(registry)
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None},
            "versions": [_aggregated_version(registry, name, version) for version in versions],
        }
        for name, versions in by_group.items()
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_version(registry: Registry, group_name: str, version: str) -> Object:
    plain = resources(registry, group_name, version) or {"resources": []}
    listed: dict[str, Object] = {}
    for entry in plain["resources"]:
        plural, _, subresource = entry["name"].partition("/")
        kind = {
            "group": entry.get("group", group_name),
            "version": entry.get("version", version),
            "kind": entry["kind"],
        }
        if subresource:
            listed[plural]["subresources"].append(
                {"subresource": subresource, "responseKind": kind, "verbs": entry["verbs"]}
            )
            continue
        listed[plural] = {
            "resource": plural,
            "responseKind": kind,
            "scope": "Namespaced" if entry["namespaced"] else "Cluster",
            "singularResource": entry["singularName"],
            "verbs": entry["verbs"],
            "subresources": [],
        }
        for key in ("shortNames", "categories"):
            if key in entry:
                listed[plural][key] = entry[key]
    return {"version": version, "freshness": "Current", "resources": list(listed.values())}


# Schemas


def _url(group_name: str, version: str) -> str:
    return f"apis/{group_name}/{version}" if group_name else f"api/{version}"


def openapi_index(registry: Registry) -> Object:
    """`/openapi/v3`: where the schemas of each version are. The hash lets clients cache them."""
    paths: dict[str, Object] = {}
    for group_name, version in sorted(_group_versions(registry)):
        url = _url(group_name, version)
        body = orjson.dumps(openapi(registry, group_name, version))
        digest = hashlib.sha256(body).hexdigest().upper()
        paths[url] = {"serverRelativeURL": f"/openapi/v3/{url}?hash={digest}"}
    return {"paths": paths}


def openapi(registry: Registry, group_name: str, version: str) -> Object | None:
    """`/openapi/v3/…`: types of one version, and the paths as far as clients look at them.

    kubectl reads the types (merge keys, `explain`) and, to know that the server validates fields itself, the
    parameter `fieldValidation` of the PATCH operation. There are no descriptions.
    """
    infos = _group_versions(registry).get((group_name, version))
    if infos is None:
        return None
    schemas: dict[str, Any] = {}
    paths: dict[str, Object] = {}
    for info in infos:
        resource = info.resource
        kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        name = definition_name(resource.group, resource.version, resource.kind)
        if info.custom or name is None:
            reversed_group = ".".join(reversed(resource.group.split(".")))
            name = f"{reversed_group}.{resource.version}.{resource.kind}"
            schemas[name] = schema_of(info).raw | {
                "type": "object",
                "x-kubernetes-group-version-kind": [kind],
            }
        else:
            schemas[name] = definitions()[name]
        place = "namespaces/{namespace}/" if resource.namespaced else ""
        paths[f"/{_url(group_name, version)}/{place}{resource.plural}/{{name}}"] = {
            "get": _operation(kind, "get", name),
            "patch": _operation(kind, "patch", name),
        }
    pending = set().union(*(references(schema) for schema in schemas.values()))
    while pending:
        name = pending.pop()
        if name not in schemas:
            schemas[name] = definitions()[name]
            pending |= references(schemas[name])
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes (embedded cluster)", "version": "v1"},
        "paths": paths,
        "components": {"schemas": {name: _as_v3(schema) for name, schema in sorted(schemas.items())}},
    }


def _operation(kind: Object, action: str, name: str) -> Object:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    parameters = [
        {"name": parameter, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for parameter in ("dryRun", "fieldManager", "fieldValidation", "force")
        if action == "patch"
    ]
    return {
        "operationId": f"{action}{kind['kind']}",
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
    }


def _as_v3(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: value.replace("#/definitions/", "#/components/schemas/")
            if key == "$ref" and isinstance(value, str)
            else _as_v3(value)
            for key, value in schema.items()
        }
    return [_as_v3(item) for item in schema] if isinstance(schema, list) else schema
