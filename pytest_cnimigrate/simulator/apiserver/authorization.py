"""Who may do what: roles and bindings, evaluated as Kubernetes' RBAC authorizer does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)
from pytest_cnimigrate.simulator.apiserver.authentication import User
from pytest_cnimigrate.simulator.apiserver.requests import RequestInfo
from pytest_cnimigrate.simulator.client.api import ApiError

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody wants to do; `path` is set for what is not a resource."""

    verb: str
    group: str = ""
    resource: str = ""
    """With its subresource: `pods/log`."""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @classmethod
    def of(cls, info: RequestInfo) -> Access:
        if not info.is_resource:
            return cls(info.verb, path=info.path)
        return cls(info.verb, info.group, info.resource, info.namespace, info.name)


class Authorizer:
    """Answers from the roles and bindings that the server holds at the moment."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def allows(self, user: User, access: Access) -> bool:
        """Whether the user may; there are no denying rules."""
        if user.is_master:
            return True
        return any(_covers(rule, access) for rule in self.rules(user, access.namespace))

    def check(self, user: User, access: Access) -> None:
        """Raise 403 in Kubernetes' words when the user may not."""
        if self.allows(user, access):
            return
        who = f'User "{user.name}" cannot {access.verb}'
        if access.path:
            raise ApiError(403, "Forbidden", f'forbidden: {who} path "{access.path}"', details={})
        where = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
        plural = access.resource.split("/", maxsplit=1)[0]
        named = f"{plural}.{access.group}" if access.group else plural
        if access.name:
            named += f' "{access.name}"'
        text = (
            f'{named} is forbidden: {who} resource "{access.resource}" in API group "{access.group}" {where}'
        )
        details: Object = {"name": access.name} if access.name else {}
        raise ApiError(403, "Forbidden", text, details=details | {"group": access.group, "kind": plural})

    def rules(self, user: User, namespace: str = "") -> Iterator[Object]:
        """The rules that bind the user: the cluster's, and those of the namespace."""
        for binding in self._bindings(CLUSTER_ROLE_BINDINGS, ""):
            if _binds(binding, user, ""):
                yield from self._role_rules(binding, "")
        if namespace:
            for binding in self._bindings(ROLE_BINDINGS, namespace):
                if _binds(binding, user, namespace):
                    yield from self._role_rules(binding, namespace)

    def _bindings(self, resource: Resource, namespace: str) -> list[Object]:
        return self._server.list(resource, namespace)[0]

    def _role_rules(self, binding: Object, namespace: str) -> list[Object]:
        reference = binding["roleRef"]
        resource = CLUSTER_ROLES if reference["kind"] == "ClusterRole" else ROLES
        place = namespace if resource is ROLES else ""
        entry = self._server.table(resource).get(place, reference["name"])
        if entry is None:
            return []
        selectors = (entry.obj.get("aggregationRule") or {}).get("clusterRoleSelectors")
        rules: list[Object] = list(entry.obj.get("rules") or ())
        for selector in selectors or ():
            wanted = ",".join(f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items())
            for role in self._server.list(CLUSTER_ROLES, label_selector=wanted)[0]:
                rules += role.get("rules") or ()
        return rules


def _binds(binding: Object, user: User, namespace: str) -> bool:
    for subject in binding.get("subjects") or ():
        match subject.get("kind"):
            case "User" if subject["name"] == user.name:
                return True
            case "Group" if subject["name"] in user.groups:
                return True
            case "ServiceAccount":
                place = subject.get("namespace") or namespace
                if user.name == f"system:serviceaccount:{place}:{subject['name']}":
                    return True
    return False


def _covers(rule: Object, access: Access) -> bool:
    if not _has(rule.get("verbs"), access.verb):
        return False
    if access.path:
        return any(
            pattern in ("*", access.path) or (pattern.endswith("*") and access.path.startswith(pattern[:-1]))
            for pattern in rule.get("nonResourceURLs") or ()
        )
    names = rule.get("resourceNames")
    if names and access.name not in names:
        return False
    return _has(rule.get("apiGroups"), access.group) and _covers_resource(rule, access.resource)


def _covers_resource(rule: Object, resource: str) -> bool:
    plural, _, subresource = resource.partition("/")
    patterns = rule.get("resources") or ()
    if "*" in patterns or resource in patterns:
        return True
    return bool(subresource) and (f"*/{subresource}" in patterns or f"{plural}/*" in patterns)


def _has(values: list[str] | None, wanted: str) -> bool:
    return values is not None and ("*" in values or wanted in values)
