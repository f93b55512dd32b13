"""Whole lists, page by page."""

from __future__ import annotations

from pytest_cnimigrate.kube import paths
from pytest_cnimigrate.kube.errors import Gone
from pytest_cnimigrate.kube.transport import Query, Request, Transport
from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import Resource

PAGE = 500
"""Objects a page, as kubectl's."""


def list_all(
    transport: Transport, resource: Resource, namespace: str = "", selection: Query = ()
) -> tuple[list[Object], str]:
    """All objects, each with apiVersion and kind, and the list's resource version (to watch from)."""
    target = paths.spoken(resource, namespace=namespace)
    path = paths.collection(resource, namespace)
    objects: list[Object] = []
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
            objects, token, paged = [], "", False
            continue
        for item in page.get("items") or ():
            # Items of a real list carry neither; everybody who handles a single object wants them.
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
            objects.append(item)
        token = page["metadata"].get("continue") or ""
        if not token:
            return objects, page["metadata"].get("resourceVersion", "")
