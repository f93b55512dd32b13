"""Whole lists, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_cnimigrate.kube import paths
from pytest_cnimigrate.kube.errors import Gone
from pytest_cnimigrate.kube.transport import Query, Request, Transport
from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import Resource

PAGE = 500
"""Objects a page, as kubectl's."""


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a list."""

    objects: list[Object]
    """Each with apiVersion and kind."""
    version: str
    """The list's resource version, to watch from."""
    is_first: bool
    """The list begins (perhaps anew) with this page: what came before it does not count."""


def list_all(
    transport: Transport, resource: Resource, namespace: str = "", selection: Query = ()
) -> tuple[list[Object], str]:
    """All objects, each with apiVersion and kind, and the list's resource version (to watch from)."""
    objects: list[Object] = []
    version = ""
    for page in list_pages(transport, resource, namespace, selection):
        if page.is_first:
            objects.clear()
        objects += page.objects
        version = page.version
    return objects, version


def list_pages(
    transport: Transport, resource: Resource, namespace: str = "", selection: Query = ()
) -> Iterator[Page]:
    """As `list_all`, page by page, so that a large list need not be held in memory."""
    target = paths.spoken(resource, namespace=namespace)
    path = paths.collection(resource, namespace)
    token = ""
    paged = True
    while True:
        query = list(selection)
        if paged:
            query.append(("limit", str(PAGE)))
        if token:
            query.append(("continue", token))
        try:
            page = transport.fetch(Request("list", target, path, query=query))
        except Gone:
            # The snapshot that the pages come from is no longer kept: once more, all in one.
            if not token:
                raise
            token, paged = "", False
            continue
        objects: list[Object] = page.get("items") or []
        for item in objects:
            # Items of a real list carry neither; everybody who handles a single object wants them.
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        yield Page(objects, page["metadata"].get("resourceVersion", ""), is_first=not token)
        token = page["metadata"].get("continue") or ""
        if not token:
            return
