"""A container's environment: literal values and the references that kubelet resolves."""

from __future__ import annotations

from typing import Any

from pytest_cnimigrate.model.objects import Object, annotations_of, labels_of, namespace_of
from pytest_cnimigrate.model.resources import CONFIG_MAPS, SECRETS
from pytest_cnimigrate.simulator.client.api import Api, ApiError


class ContainerConfigError(Exception):
    """CreateContainerConfigError: a reference leads nowhere."""


async def environment(api: Api, pod: Object, container: Object, *, host: str, address: str) -> dict[str, str]:
    """Name to value; raises `ContainerConfigError` in kubelet's words."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        for resource, key in ((CONFIG_MAPS, "configMapRef"), (SECRETS, "secretRef")):
            if key in source:
                data = await _data(api, resource, namespace_of(pod), source[key])
                env.update({source.get("prefix", "") + name: value for name, value in data.items()})
    for entry in container.get("env") or ():
        if "valueFrom" not in entry:
            env[entry["name"]] = entry.get("value", "")
            continue
        value = await _reference(api, pod, container, entry["valueFrom"], host=host, address=address)
        if value is not None:
            env[entry["name"]] = value
    return env


async def _reference(
    api: Api, pod: Object, container: Object, source: Object, *, host: str, address: str
) -> str | None:
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"], host=host, address=address)
    if "resourceFieldRef" in source:
        kind, _, name = source["resourceFieldRef"]["resource"].partition(".")
        return str((container.get("resources") or {}).get(kind, {}).get(name, "0"))
    for resource, key in ((CONFIG_MAPS, "configMapKeyRef"), (SECRETS, "secretKeyRef")):
        if key in source:
            reference = source[key]
            data = await _data(api, resource, namespace_of(pod), reference)
            if reference["key"] in data:
                return data[reference["key"]]
            if reference.get("optional"):
                return None
            where = f"{resource.kind} {namespace_of(pod)}/{reference['name']}"
            raise ContainerConfigError(f"couldn't find key {reference['key']} in {where}")
    raise ContainerConfigError(f"unsupported valueFrom {sorted(source)}")


async def _data(api: Api, resource: Any, namespace: str, reference: Object) -> dict[str, str]:
    try:
        found = await api.get(resource, reference["name"], namespace)
    except ApiError as error:
        if not error.is_not_found:
            raise
        if reference.get("optional"):
            return {}
        raise ContainerConfigError(f'{resource.kind.lower()} "{reference["name"]}" not found') from None
    data: dict[str, str] = found.get("data") or {}
    return data


def _field(pod: Object, path: str, *, host: str, address: str) -> str:
    metadata, spec = pod["metadata"], pod["spec"]
    fields = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": host,
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIPs": host,
    }
    if path in fields:
        return str(fields[path])
    for prefix, values in (
        ("metadata.labels[", labels_of(pod)),
        ("metadata.annotations[", annotations_of(pod)),
    ):
        if path.startswith(prefix):
            return values.get(path[len(prefix) :].strip("]'\""), "")
    raise ContainerConfigError(f"unsupported fieldPath {path}")
