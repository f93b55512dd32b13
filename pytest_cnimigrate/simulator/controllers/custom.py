"""Custom resources as controllers need them: from definitions to `Resource` values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_cnimigrate.model.objects import Object, condition, is_terminating
from pytest_cnimigrate.model.resources import Resource


def custom_resources(definitions: Iterable[Object], *, namespaced: bool | None = None) -> Iterator[Resource]:
    """The resource (in its storage version) of each definition that is established and stays.

    The same value as the constants of `model.resources` where there is one, so that informers are shared.
    """
    for definition in definitions:
        established = condition(definition, "Established")
        if is_terminating(definition) or established is None or established["status"] != "True":
            continue
        spec = definition["spec"]
        in_namespaces = spec["scope"] == "Namespaced"
        if namespaced is not None and in_namespaces is not namespaced:
            continue
        for version in spec["versions"]:
            if version.get("storage") and version.get("served"):
                names = spec["names"]
                yield Resource(spec["group"], version["name"], names["plural"], names["kind"], in_namespaces)
