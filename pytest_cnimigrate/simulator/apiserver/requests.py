"""What a request is about: its path taken apart, as kube-apiserver's `RequestInfo`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

_NAMESPACE_SUBRESOURCES: Final = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The attributes that routing, authorization and the access log go by."""

    verb: str
    """`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; else the method."""
    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""
    """What follows the subresource: a proxied path."""

    @property
    def resource(self) -> str:
        """`pods` or `pods/log`, as RBAC names it."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


def parse_request(method: str, raw_path: str, query: Mapping[str, str]) -> RequestInfo:
    """Take a request line apart; what is not a resource's path comes back with `is_resource` False."""
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    other = RequestInfo(verb=method.lower(), path=raw_path)
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return other
    namespace = ""
    # `/namespaces/x/pods/…` is in a namespace; `/namespaces/x` and its subresources are about it.
    if rest[0] == "namespaces" and len(rest) >= 2:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    plural, name = rest[0], rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    return RequestInfo(
        verb=_verb(method, name, query),
        path=raw_path,
        is_resource=True,
        group=group,
        version=version,
        namespace=namespace,
        plural=plural,
        name=name,
        subresource=subresource,
        tail="/".join(rest[3:]) + ("/" if len(rest) > 3 and raw_path.endswith("/") else ""),
    )


def is_true(query: Mapping[str, str], name: str) -> bool:
    """Whether a boolean parameter is set; `?watch` alone counts, as in Go."""
    return query.get(name, "false").lower() in ("", "1", "true", "t")


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    match method:
        case "GET" | "HEAD":
            if is_true(query, "watch"):
                return "watch"
            return "get" if name else "list"
        case "POST":
            return "create"
        case "PUT":
            return "update"
        case "PATCH":
            return "patch"
        case "DELETE":
            return "delete" if name else "deletecollection"
    return method.lower()
