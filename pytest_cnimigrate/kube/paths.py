"""Where an object lives in the API, and what it is called in messages."""

from __future__ import annotations

from urllib.parse import quote

from pytest_cnimigrate.model.resources import Resource


def collection(resource: Resource, namespace: str = "") -> str:
    """The path of a resource's list; without a namespace, of all namespaces."""
    root = f"/apis/{resource.group}" if resource.group else "/api"
    middle = f"/namespaces/{_part(namespace)}" if namespace and resource.namespaced else ""
    return f"{root}/{resource.version}{middle}/{resource.plural}"


def single(resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> str:
    """The path of one object, or of a subresource of it."""
    if resource.namespaced and not namespace:
        raise ValueError(f"{resource.kind} {name!r} lives in a namespace: name it")
    path = f"{collection(resource, namespace)}/{_part(name)}"
    return f"{path}/{subresource}" if subresource else path


def spoken(resource: Resource, name: str = "", namespace: str = "", *, subresource: str = "") -> str:
    """`pod kube-system/x`, `pods in kube-system`, `nodes`: for people."""
    if name:
        kind = resource.kind.lower() + (f"/{subresource}" if subresource else "")
        return f"{kind} {namespace}/{name}" if namespace and resource.namespaced else f"{kind} {name}"
    return f"{resource.plural} in {namespace}" if namespace and resource.namespaced else resource.plural


def _part(text: str) -> str:
    """One path segment: an empty or dotted one would address something else."""
    if not text or text in (".", ".."):
        raise ValueError(f"{text!r} is no name of an object")
    return quote(text, safe=":")
