"""`/simulator/…`: what only an embedded cluster has: its faults, its access log, its users."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pytest_cnimigrate.simulator.apiserver.access_log import AccessLog
from pytest_cnimigrate.simulator.apiserver.authentication import AUTHENTICATED, Authenticator, User
from pytest_cnimigrate.simulator.apiserver.calls import json_response
from pytest_cnimigrate.simulator.apiserver.errors import bad_request, method_not_allowed, unknown_path
from pytest_cnimigrate.simulator.apiserver.negotiation import decode
from pytest_cnimigrate.simulator.apiserver.requests import RequestInfo
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.faults import KNOWN, Faults, UnknownFaultError

PREFIX = "/simulator/"


class Control:
    """Requests for masters only, outside the Kubernetes API, and outside the access log."""

    def __init__(self, faults: Faults, log: AccessLog, authenticator: Authenticator) -> None:
        self._faults = faults
        self._log = log
        self._authenticator = authenticator

    async def handle(self, request: web.BaseRequest, info: RequestInfo, user: User) -> web.Response:
        """Answer; raises `ApiError` (403 for anybody but a master)."""
        if not user.is_master:
            text = f'forbidden: User "{user.name}" cannot {info.verb} path "{info.path}"'
            raise ApiError(403, "Forbidden", text)
        match info.path.removeprefix(PREFIX).strip("/"):
            case "requests":
                return self._requests(request)
            case "faults":
                return await self._change_faults(request)
            case "users":
                return await self._users(request)
        raise unknown_path()

    def _requests(self, request: web.BaseRequest) -> web.Response:
        """GET; `?after=<count>` leaves out what had been answered by then."""
        if request.method != "GET":
            raise method_not_allowed()
        after = request.query.get("after", "0")
        if not after.isdigit():
            raise bad_request(f"invalid after {after!r}: must be a number")
        entries = [entry.as_json() for entry in self._log.after(int(after))]
        return json_response({"count": self._log.count, "requests": entries})

    async def _change_faults(self, request: web.BaseRequest) -> web.Response:
        """GET lists; POST and DELETE with `{"name": …}` switch on and off; DELETE alone clears all."""
        if request.method in ("POST", "DELETE"):
            body = await self._body(request)
            names = [str(body["name"])] if "name" in body else []
            if request.method == "DELETE" and not names:
                names = self._faults.names()
            if not names and request.method == "POST":
                raise bad_request('the body must name a fault: {"name": …}')
            for name in names:
                self._switch(name, on=request.method == "POST")
        elif request.method != "GET":
            raise method_not_allowed()
        known = [{"name": f.name, "effect": f.effect, "source": f.source} for _, f in sorted(KNOWN.items())]
        return json_response({"active": self._faults.names(), "known": known})

    def _switch(self, name: str, *, on: bool) -> None:
        try:
            self._faults.activate(name)
        except UnknownFaultError as error:
            raise bad_request(str(error)) from error
        if not on:
            self._faults.clear(name)

    async def _users(self, request: web.BaseRequest) -> web.Response:
        """POST `{"name": …, "groups": […]}`: a token for a user, to rehearse what rights are missing."""
        if request.method != "POST":
            raise method_not_allowed()
        body = await self._body(request)
        name, groups = body.get("name"), body.get("groups") or []
        if not isinstance(name, str) or not name or not all(isinstance(group, str) for group in groups):
            raise bad_request('the body must name a user: {"name": …, "groups": […]}')
        issued = self._authenticator.issue(User(name, (*groups, AUTHENTICATED)))
        return json_response({"token": issued}, status=201)

    async def _body(self, request: web.BaseRequest) -> dict[str, Any]:
        body = decode(await request.read(), request.headers.get("Content-Type", ""))
        if not isinstance(body, dict):
            raise bad_request("the body must be an object")
        return body
