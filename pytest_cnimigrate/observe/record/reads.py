"""Asking a state as one asks a cluster, so that the same check runs on either."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_cnimigrate.kube import paths
from pytest_cnimigrate.kube.errors import Attempt, NotFound
from pytest_cnimigrate.model.objects import Object, labels_of
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.model.selectors import matches, parse_label_selector
from pytest_cnimigrate.observe.record.state import State


class StateReads:
    """`get`, `find` and `list` of `KubeReader`, answered by a `State`. Costs no request.

    Only kinds that are recorded can be asked for; another is a `NotFound`, or an empty list. Objects are as
    they are recorded: redacted, without managedFields, and nodes without their images.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """The object; raises `NotFound` when there is none."""
        found = self.find(resource, name, namespace)
        if found is None:
            spoken = paths.spoken(resource, name, namespace)
            raise NotFound(Attempt("get", spoken, "the record"), f"the record holds no {spoken}")
        return found

    def find(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """The object, or None if there is none."""
        key = f"{namespace}/{name}" if resource.namespaced else name
        return self._state.get(resource.kind, key)

    def list(self, resource: Resource, namespace: str = "", *, label_selector: str = "") -> list[Object]:
        """All matching objects, in one namespace or (without one) in all."""
        found: Iterable[Object]
        if namespace:
            found = self._state.in_namespace(resource.kind, namespace)
        else:
            found = self._state.all(resource.kind)
        if not label_selector:
            return list(found)
        selector = parse_label_selector(label_selector)
        return [obj for obj in found if matches(selector, labels_of(obj))]
