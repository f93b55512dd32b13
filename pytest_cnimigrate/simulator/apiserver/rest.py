"""The verbs over HTTP: lists and their forms, single objects, writes, deletions."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from aiohttp import web

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.calls import Call, json_response
from pytest_cnimigrate.simulator.apiserver.errors import bad_request, gone, method_not_allowed
from pytest_cnimigrate.simulator.apiserver.negotiation import patch_type
from pytest_cnimigrate.simulator.apiserver.options import WriteOptions
from pytest_cnimigrate.simulator.apiserver.resources import STATUS
from pytest_cnimigrate.simulator.apiserver.store import Entry
from pytest_cnimigrate.simulator.apiserver.tables import partial, table
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.apiserver.watch import Watch


class Rest:
    """Answers requests for resources and their status."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def handle(self, call: Call) -> web.StreamResponse:
        """Answer by verb; raises `ApiError`."""
        verb = call.info.verb
        if call.info.subresource not in ("", STATUS, "finalize"):
            raise method_not_allowed()
        match verb:
            case "get":
                return self._get(call)
            case "list":
                return self._list(call)
            case "watch":
                return await Watch(self._server, call).serve()
            case "create" if not call.info.name:
                return await self._create(call)
            case "update" if call.info.name:
                return await self._update(call)
            case "patch" if call.info.name:
                return await self._patch(call)
            case "delete":
                return await self._delete(call)
            case "deletecollection":
                return await self._delete_collection(call)
        raise method_not_allowed()

    # Reads

    def _get(self, call: Call) -> web.Response:
        entry = self._server.entry(call.resource, call.info.name, call.info.namespace)
        return self._one(call, self._server.present(call.resource, entry))

    def _one(
        self, call: Call, entry: Entry, status: int = 200, warnings: tuple[str, ...] = ()
    ) -> web.Response:
        headers = {"Warning": ", ".join(f'299 - "{_quoted(text)}"' for text in warnings)} if warnings else {}
        form = call.wanted.form
        if form == "Table":
            metadata = {"resourceVersion": entry.obj["metadata"].get("resourceVersion", "")}
            return json_response(self._table(call, [entry], metadata), status=status, headers=headers)
        if form.startswith("PartialObjectMetadata"):
            return json_response(partial(entry.obj), status=status, headers=headers)
        return json_response(entry.raw, status=status, headers=headers)

    def _table(self, call: Call, entries: list[Entry], metadata: Object) -> Object:
        include = call.query.get("includeObject", "Metadata")
        objects = [entry.obj for entry in entries]
        return table(call.served, objects, metadata=metadata, include_object=include)

    def _list(self, call: Call) -> web.Response:
        query = call.query
        fields = query.get("fieldSelector", "")
        entries = self._server.entries(
            call.resource,
            call.info.namespace,
            label_selector=query.get("labelSelector", ""),
            field_selector=fields,
        )
        page, metadata = self._page(call, entries)
        form = call.wanted.form
        if form == "Table":
            return json_response(self._table(call, page, metadata))
        if form.startswith("PartialObjectMetadata"):
            listed = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            }
            return json_response(listed | {"items": [partial(entry.obj) for entry in page]})
        head = b'{"kind":%b,"apiVersion":%b,"metadata":%b,"items":[' % (
            orjson.dumps(f"{call.resource.kind}List"),
            orjson.dumps(call.resource.api_version),
            orjson.dumps(metadata),
        )
        return json_response(head + b",".join([entry.raw for entry in page]) + b"]}")

    def _page(self, call: Call, entries: list[Entry]) -> tuple[list[Entry], Object]:
        """One page of a list.

        A real server shows all pages as of the first one; here each shows the present, from the key on where
        the last one ended. Objects neither repeat nor get lost, but may be newer than the first page.
        """
        limit, token = _limit(call.query.get("limit")), call.query.get("continue", "")
        version = str(self._server.store.version)
        if token:
            version, after = _read_token(token)
            if int(version) < self._server.table(call.resource).floor:
                raise gone("The provided continue parameter is too old to display a consistent list result.")
            entries = [entry for entry in entries if _key(entry) > after]
        metadata: Object = {"resourceVersion": version}
        if not limit or len(entries) <= limit:
            return entries, metadata
        page = entries[:limit]
        metadata["continue"] = _token(version, _key(page[-1]))
        if not (call.query.get("labelSelector") or call.query.get("fieldSelector")):
            metadata["remainingItemCount"] = len(entries) - limit
        return page, metadata

    # Writes

    async def _create(self, call: Call) -> web.Response:
        if call.info.subresource:
            raise method_not_allowed()
        options = call.write_options()
        obj = self._server.create(call.resource, await call.body(), call.info.namespace, options=options)
        return self._written(call, obj, options, status=201)

    async def _update(self, call: Call) -> web.Response:
        body = await call.body()
        if not isinstance(body, dict) or not isinstance(body.get("metadata"), dict):
            raise bad_request("the body of the request must be an object with metadata")
        metadata = body["metadata"]
        for field, wanted in (("name", call.info.name), ("namespace", call.info.namespace)):
            if wanted and metadata.setdefault(field, wanted) != wanted:
                raise bad_request(
                    f"the {field} of the object ({metadata[field]}) does not match "
                    f"the {field} on the URL ({wanted})"
                )
        options = call.write_options()
        obj = self._server.update(call.resource, body, subresource=call.info.subresource, options=options)
        return self._written(call, obj, options)

    async def _patch(self, call: Call) -> web.Response:
        kind = patch_type(call.request.headers.get("Content-Type", ""))
        if kind == "apply" and not call.query.get("fieldManager"):
            raise bad_request(
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: '
                "is required for apply patch"
            )
        options = call.write_options()
        existed = self._server.table(call.resource).get(call.info.namespace, call.info.name) is not None
        obj = self._server.patch(
            call.resource,
            call.info.name,
            await call.body(),
            call.info.namespace,
            kind=kind,
            subresource=call.info.subresource,
            options=options,
        )
        return self._written(call, obj, options, status=200 if existed or kind != "apply" else 201)

    def _written(self, call: Call, obj: Object, options: WriteOptions, status: int = 200) -> web.Response:
        return self._one(call, Entry(obj, 0), status, tuple(options.warnings))

    async def _delete(self, call: Call) -> web.Response:
        options = await call.delete_options()
        obj, is_gone = self._server.delete(
            call.resource, call.info.name, call.info.namespace, options=options
        )
        if not is_gone or call.resource.group_resource == "pods":
            return self._one(call, Entry(obj, 0))
        details: Object = {
            "name": call.info.name,
            "kind": call.resource.plural,
            "uid": obj["metadata"]["uid"],
        }
        if call.resource.group:
            details["group"] = call.resource.group
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
        return json_response(status)

    async def _delete_collection(self, call: Call) -> web.Response:
        options = await call.delete_options()
        entries = self._server.entries(
            call.resource,
            call.info.namespace,
            label_selector=call.query.get("labelSelector", ""),
            field_selector=call.query.get("fieldSelector", ""),
        )
        for entry in entries:
            metadata = entry.obj["metadata"]
            self._server.delete(
                call.resource, metadata["name"], metadata.get("namespace", ""), options=options
            )
        listed: Object = {
            "kind": f"{call.resource.kind}List",
            "apiVersion": call.resource.api_version,
            "metadata": {"resourceVersion": str(self._server.store.version)},
        }
        return json_response(listed | {"items": [entry.obj for entry in entries]})


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _key(entry: Entry) -> list[str]:
    metadata = entry.obj["metadata"]
    return [metadata.get("namespace", ""), metadata["name"]]


def _limit(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError as error:
        raise bad_request(f"invalid limit {text!r}: must be a number") from error


def _token(version: str, key: list[str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([version, key])).decode()


def _read_token(token: str) -> tuple[str, Any]:
    try:
        version, key = orjson.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise bad_request("continue key is not valid") from error
    return version, key
