"""Whether a pod's service account may list pods: what a program finds out when it asks the API."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_cnimigrate.model.objects import Object, namespace_of
from pytest_cnimigrate.model.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from pytest_cnimigrate.simulator.client.informer import Informers


class PodReader:
    """Evaluates roles and bindings for one service account.

    The simulator's own parts use the API without a user, so programs that depend on their rights ask here.
    """

    def __init__(self, informers: Informers, *, namespace: str, service_account: str) -> None:
        self._cluster_bindings = informers.of(CLUSTER_ROLE_BINDINGS)
        self._bindings = informers.of(ROLE_BINDINGS)
        self._bindings.add_index("namespace", lambda binding: (namespace_of(binding),))
        self._cluster_roles = informers.of(CLUSTER_ROLES)
        self._roles = informers.of(ROLES)
        self._namespace = namespace
        self._name = service_account
        self._groups = {
            "system:authenticated",
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
        }

    async def wait_synced(self) -> None:
        for informer in (self._cluster_bindings, self._bindings, self._cluster_roles, self._roles):
            await informer.wait_synced()

    def may_list(self, namespace: str) -> bool:
        """Whether pods of the namespace ("" for all) may be listed."""
        return any(
            _has(rule.get("verbs"), "list")
            and _has(rule.get("apiGroups"), "")
            and _has(rule.get("resources"), "pods")
            and not rule.get("resourceNames")
            for rule in self._rules(namespace)
        )

    def _rules(self, namespace: str) -> Iterator[Object]:
        bindings = [*self._cluster_bindings.all()]
        if namespace:
            bindings += self._bindings.indexed("namespace", namespace)
        for binding in bindings:
            if not any(self._is_subject(s, namespace_of(binding)) for s in binding.get("subjects") or ()):
                continue
            reference = binding["roleRef"]
            if reference["kind"] == "ClusterRole":
                role = self._cluster_roles.get(reference["name"])
            else:
                role = self._roles.get(reference["name"], namespace_of(binding))
            yield from (role or {}).get("rules") or ()

    def _is_subject(self, subject: Object, namespace: str) -> bool:
        if subject["kind"] == "Group":
            return subject["name"] in self._groups
        if subject["kind"] == "User":
            return bool(subject["name"] == f"system:serviceaccount:{self._namespace}:{self._name}")
        return bool(
            subject["kind"] == "ServiceAccount"
            and subject["name"] == self._name
            and (subject.get("namespace") or namespace) == self._namespace
        )


def _has(values: list[str] | None, wanted: str) -> bool:
    return values is not None and ("*" in values or wanted in values)
