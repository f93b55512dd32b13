"""Watches over HTTP: one JSON line an event, until the client leaves or its time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import orjson
from aiohttp import web

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.api_faults import API_UNAVAILABLE, WATCHES_EXPIRE
from pytest_cnimigrate.simulator.apiserver.calls import Call
from pytest_cnimigrate.simulator.apiserver.errors import bad_request, gone, status_of
from pytest_cnimigrate.simulator.apiserver.requests import is_true
from pytest_cnimigrate.simulator.apiserver.store import Change, Entry, Subscription
from pytest_cnimigrate.simulator.apiserver.tables import partial, table
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import ApiError

DEFAULT_TIMEOUT: Final = 1800.0
BOOKMARK_PERIOD: Final = 5.0
"""Wall seconds between bookmarks; a real server's minute suits runs of hours, not of seconds."""

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"


class Watch:
    """One watch and the form in which its client wants to see objects."""

    def __init__(self, server: ApiServer, call: Call) -> None:
        self._server = server
        self._call = call
        self._wanted = call.wanted
        self._columns_sent = False
        query = call.query
        self._bookmarks = is_true(query, "allowWatchBookmarks")
        self._timeout = _seconds(query.get("timeoutSeconds")) or DEFAULT_TIMEOUT
        self._selectors = {
            "label_selector": query.get("labelSelector", ""),
            "field_selector": query.get("fieldSelector", ""),
        }
        if call.info.name:
            # The old form /watch/… and a GET of one object with ?watch: a field selector in other words.
            own = f"metadata.name={call.info.name}"
            fields = self._selectors["field_selector"]
            self._selectors["field_selector"] = f"{fields},{own}" if fields else own

    async def serve(self) -> web.StreamResponse:
        """Send events until the end; returns the finished response."""
        initial, subscription = self._start()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(self._call.request)
            if initial:
                await response.write(b"".join(initial))
            if subscription is not None:
                await self._follow(response, subscription)
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client has left, which is how most watches end
        finally:
            if subscription is not None:
                subscription.close()
        return response

    def _start(self) -> tuple[list[bytes], Subscription | None]:
        """The first lines, and the subscription that follows them without a gap."""
        version = self._call.query.get("resourceVersion", "")
        send_initial = self._call.query.get("sendInitialEvents")
        from_now = version in ("", "0") or send_initial is not None
        lines = []
        # Selectors are checked before the answer begins: what is wrong with them is a plain 400.
        entries = self._server.entries(self._call.resource, self._call.info.namespace, **self._selectors)
        if from_now:
            start = str(self._server.store.version)
            if send_initial is None or is_true(self._call.query, "sendInitialEvents"):
                lines = [self._line("ADDED", entry) for entry in entries]
            if send_initial is not None and is_true(self._call.query, "sendInitialEvents"):
                lines.append(self._bookmark(annotations={INITIAL_EVENTS_END: "true"}))
        else:
            if not version.isdigit():
                raise bad_request(f'Invalid value: "{version}": resourceVersion must be a number')
            start = version
        try:
            if not from_now and self._server.faults.active(WATCHES_EXPIRE):
                raise gone(f"too old resource version: {start} ({self._server.store.version})")
            subscription = self._server.subscribe(
                self._call.resource, self._call.info.namespace, resource_version=start, **self._selectors
            )
        except ApiError as error:
            # Kubernetes answers 200 and says in an event that the version is too old.
            return [_event("ERROR", orjson.dumps(status_of(error)))], None
        return lines, subscription

    async def _follow(self, response: web.StreamResponse, subscription: Subscription) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, BOOKMARK_PERIOD)):
                    changes = await subscription.next()
            except TimeoutError:
                if self._server.faults.active(API_UNAVAILABLE):
                    return
                if self._bookmarks:
                    await response.write(self._bookmark())
            except ApiError as error:
                await response.write(_event("ERROR", orjson.dumps(status_of(error))))
                return
            else:
                await response.write(b"".join(self._lines(changes)))
                if self._server.faults.active(API_UNAVAILABLE):
                    return

    def _lines(self, changes: Iterable[Change]) -> list[bytes]:
        return [self._line(change.type, change.entry) for change in changes]

    def _line(self, kind: str, entry: Entry) -> bytes:
        entry = self._server.present(self._call.resource, entry)
        return _event(kind, self._shown(entry) if self._wanted.form else entry.raw)

    def _shown(self, entry: Entry) -> bytes:
        if self._wanted.form.startswith("PartialObjectMetadata"):
            return orjson.dumps(partial(entry.obj))
        metadata = {"resourceVersion": str(entry.version)}
        shown = table(
            self._call.served,
            [entry.obj],
            metadata=metadata,
            include_object=self._call.query.get("includeObject", "Metadata"),
            with_columns=not self._columns_sent,
        )
        self._columns_sent = True
        return orjson.dumps(shown)

    def _bookmark(self, *, annotations: dict[str, str] | None = None) -> bytes:
        metadata: Object = {"resourceVersion": str(self._server.store.version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        resource = self._call.resource
        marker: Object = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        if self._wanted.form == "Table":
            row = {"cells": [], "object": marker}
            marker = {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "columnDefinitions": None,
                "rows": [row],
            }
        return _event("BOOKMARK", orjson.dumps(marker))


def _event(kind: str, raw: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), raw)


def _seconds(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError as error:
        raise bad_request(f"invalid timeoutSeconds {text!r}: must be a number") from error
