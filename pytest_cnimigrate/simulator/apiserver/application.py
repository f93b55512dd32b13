"""The API server's front door: authentication, authorization, routing, and errors as `Status`."""

from __future__ import annotations

import logging
import traceback

from aiohttp import web

from pytest_cnimigrate.model.objects import Object, timestamp
from pytest_cnimigrate.model.resources import NAMESPACES
from pytest_cnimigrate.simulator.apiserver import discovery, reviews, subresources
from pytest_cnimigrate.simulator.apiserver.access_log import AccessEntry, AccessLog
from pytest_cnimigrate.simulator.apiserver.api_faults import FaultyFront
from pytest_cnimigrate.simulator.apiserver.authentication import Authenticator, User, impersonated
from pytest_cnimigrate.simulator.apiserver.authorization import Access, Authorizer
from pytest_cnimigrate.simulator.apiserver.calls import Call, error_response, json_response
from pytest_cnimigrate.simulator.apiserver.control import PREFIX, Control
from pytest_cnimigrate.simulator.apiserver.errors import bad_request, method_not_allowed, unknown_path
from pytest_cnimigrate.simulator.apiserver.execution import execute
from pytest_cnimigrate.simulator.apiserver.logs import logs
from pytest_cnimigrate.simulator.apiserver.negotiation import accepted, decode
from pytest_cnimigrate.simulator.apiserver.proxy import Proxy
from pytest_cnimigrate.simulator.apiserver.requests import RequestInfo, parse_request
from pytest_cnimigrate.simulator.apiserver.rest import Rest
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.gateway import KubeletGateway

log = logging.getLogger("cnimigrate.simulator.apiserver")

_HEALTH = ("/healthz", "/livez", "/readyz")


class Application:
    """An aiohttp handler for the whole of one API server."""

    def __init__(self, server: ApiServer, *, pace: Pace, gateway: KubeletGateway | None = None) -> None:
        self.server = server
        self.authenticator = Authenticator()
        self.authorizer = Authorizer(server)
        self.access_log = AccessLog()
        self._gateway = gateway
        self._rest = Rest(server)
        self._proxy = Proxy(server, gateway, pace)
        self._front = FaultyFront(server.faults)
        self._control = Control(server.faults, self.access_log, self.authenticator)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever goes wrong is a `Status`."""
        info = parse_request(request.method, request.rel_url.raw_path, request.query)
        user = User("system:anonymous", ("system:unauthenticated",))
        try:
            user = self._authenticate(request)
            if info.path.startswith(PREFIX):
                response: web.StreamResponse = await self._control.handle(request, info, user)
            else:
                response = await self._answer(request, info, user)
        except ApiError as error:
            response = error_response(error)
        except ConnectionResetError:
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, info.path)
            text = f"an error in the embedded cluster: {traceback.format_exception_only(error)[-1].strip()}"
            response = error_response(ApiError(500, "InternalError", text))
        if not info.path.startswith(PREFIX):
            self._note(request, info, user, response.status)
        return response

    def _note(self, request: web.BaseRequest, info: RequestInfo, user: User, code: int) -> None:
        """Watches are noted when they end: their code is known then."""
        resource = info.resource
        if info.group and resource:
            plural, _, subresource = resource.partition("/")
            resource = f"{plural}.{info.group}" + (f"/{subresource}" if subresource else "")
        self.access_log.add(
            AccessEntry(
                timestamp(),
                info.verb,
                request.method,
                info.path,
                resource,
                info.namespace,
                info.name,
                user.name,
                request.headers.get("User-Agent", ""),
                code,
                "dryRun" in request.query,
            )
        )

    def _authenticate(self, request: web.BaseRequest) -> User:
        user = self.authenticator.user_of(request.headers)
        other = impersonated(request.headers, request.headers.getall("Impersonate-Group", []))
        if other is None:
            return user
        self.authorizer.check(user, Access("impersonate", "", "users", "", other.name))
        return other

    async def _answer(self, request: web.BaseRequest, info: RequestInfo, user: User) -> web.StreamResponse:
        self._front.check(info, user.name)
        self.authorizer.check(user, Access.of(info))
        if not info.is_resource:
            return self._other(request, info)
        if (info.group, info.plural) in reviews.REVIEWS and info.version == "v1":
            return await self._review(request, info, user)
        served = self.server.registry.find(info.group, info.version, info.plural)
        if served is None:
            raise unknown_path()
        if info.subresource and info.subresource not in served.subresources:
            raise unknown_path()
        self._check_place(info, served.resource.namespaced)
        return await self._route(Call(request, info, user, served))

    def _check_place(self, info: RequestInfo, namespaced: bool) -> None:
        """A namespaced object is not at the cluster's level, nor the other way round."""
        if info.plural == NAMESPACES.plural and not info.group:
            return
        if info.namespace and not namespaced:
            raise unknown_path()
        if namespaced and not info.namespace and (info.name or info.verb in ("create", "deletecollection")):
            raise method_not_allowed() if not info.name else unknown_path()

    async def _route(self, call: Call) -> web.StreamResponse:
        verb, subresource = call.info.verb, call.info.subresource
        match subresource:
            case "scale":
                return await subresources.scale(self.server, call)
            case "proxy":
                return await self._proxy.handle(call)
            case "exec" if verb in ("get", "create"):
                return await execute(self.server, call, self._gateway)
            case "log" if verb == "get":
                return await logs(self.server, call, self._gateway)
            case "eviction" if verb == "create":
                return await subresources.eviction(self.server, call)
            case "binding" if verb == "create":
                return await subresources.binding(self.server, call)
            case "token" if verb == "create":
                return await subresources.token(self.server, call, self.authenticator)
        return await self._rest.handle(call)

    async def _review(self, request: web.BaseRequest, info: RequestInfo, user: User) -> web.Response:
        if info.verb != "create":
            raise method_not_allowed()
        body = decode(await request.read(), request.headers.get("Content-Type", ""))
        if not isinstance(body, dict):
            raise bad_request("the body of a review must be an object")
        answer = reviews.answer(
            self.authorizer, user, group=info.group, plural=info.plural, body=body, namespace=info.namespace
        )
        return json_response(answer, status=201)

    # Paths that are not resources

    def _other(self, request: web.BaseRequest, info: RequestInfo) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        path = info.path.rstrip("/") or "/"
        if path == "/version":
            return json_response(self._version())
        if any(path == health or path.startswith(f"{health}/") for health in _HEALTH):
            return web.Response(text="ok")
        found = self._discover(request, path)
        if found is None:
            raise unknown_path()
        return found

    def _discover(self, request: web.BaseRequest, path: str) -> web.Response | None:
        registry = self.server.registry
        parts = path.strip("/").split("/")
        if path in ("/api", "/apis"):
            return self._root(request, core=path == "/api")
        if path == "/":
            return json_response({"paths": ["/api", "/apis", *_HEALTH, "/openapi/v3", "/version"]})
        body: Object | None = None
        if parts[0] == "api" and len(parts) == 2:
            body = discovery.resources(registry, "", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            body = discovery.group(registry, parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            body = discovery.resources(registry, parts[1], parts[2])
        elif parts[:2] == ["openapi", "v3"]:
            body = self._openapi(parts[2:])
        return json_response(body) if body is not None else None

    def _openapi(self, parts: list[str]) -> Object | None:
        registry = self.server.registry
        match parts:
            case []:
                return discovery.openapi_index(registry)
            case ["api", version]:
                return discovery.openapi(registry, "", version)
            case ["apis", group, version]:
                return discovery.openapi(registry, group, version)
        return None

    def _root(self, request: web.BaseRequest, *, core: bool) -> web.Response:
        wanted = accepted(request.headers.get("Accept", ""))
        registry = self.server.registry
        if wanted.form == "APIGroupDiscoveryList" and wanted.parameters.get("v") == "v2":
            media_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            return json_response(discovery.aggregated(registry, core=core), media_type=media_type)
        return json_response(discovery.core_versions(request.host) if core else discovery.groups(registry))

    def _version(self) -> Object:
        major, minor, *_ = self.server.version.removeprefix("v").split(".")
        return {
            "major": major,
            "minor": minor,
            "gitVersion": self.server.version,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "",
            "platform": "linux/amd64",
        }
