"""One request on its way through the server, and the answers it can get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.simulator.apiserver.authentication import User
from pytest_cnimigrate.simulator.apiserver.deletion import DeleteOptions
from pytest_cnimigrate.simulator.apiserver.errors import bad_request, status_of
from pytest_cnimigrate.simulator.apiserver.negotiation import JSON, Wanted, accepted, decode
from pytest_cnimigrate.simulator.apiserver.options import WriteOptions
from pytest_cnimigrate.simulator.apiserver.requests import RequestInfo, is_true
from pytest_cnimigrate.simulator.apiserver.resources import ResourceInfo
from pytest_cnimigrate.simulator.client.api import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Call:
    """A request for a resource, authenticated and allowed."""

    request: web.BaseRequest
    info: RequestInfo
    user: User
    served: ResourceInfo

    @property
    def resource(self) -> Resource:
        return self.served.resource

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    @property
    def wanted(self) -> Wanted:
        return accepted(self.request.headers.get("Accept", ""))

    @property
    def dry_run(self) -> bool:
        values = self.request.query.getall("dryRun", [])
        if any(value != "All" for value in values):
            raise bad_request(f"invalid dryRun {values}: the one value is All")
        return bool(values)

    def write_options(self, *, manager: str = "") -> WriteOptions:
        """From the query; who does not name itself is known by the first word of its user agent."""
        agent = self.request.headers.get("User-Agent", "unknown").split("/")[0]
        return WriteOptions(
            dry_run=self.dry_run,
            manager=self.query.get("fieldManager") or manager or agent[:128],
            force=is_true(self.query, "force"),
            field_validation=self.query.get("fieldValidation") or "Warn",
            warnings=[],
        )

    async def body(self) -> Any:
        return decode(await self.request.read(), self.request.headers.get("Content-Type", ""))

    async def delete_options(self) -> DeleteOptions:
        """From the body or the query, which says the same in older clients."""
        body = await self.body()
        if isinstance(body, dict):
            if "gracePeriodSeconds" in self.query:
                body.setdefault("gracePeriodSeconds", int(self.query["gracePeriodSeconds"]))
            if "propagationPolicy" in self.query:
                body.setdefault("propagationPolicy", self.query["propagationPolicy"])
        return DeleteOptions.parse(body, dry_run=self.dry_run)


def json_response(
    value: Any, *, status: int = 200, headers: dict[str, str] | None = None, media_type: str = JSON
) -> web.Response:
    """An answer; bytes are taken as JSON already made."""
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    return web.Response(body=body, status=status, headers={"Content-Type": media_type, **(headers or {})})


def error_response(error: ApiError) -> web.Response:
    """The failure as a `Status`."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    return json_response(status_of(error), status=error.code, headers=headers)
