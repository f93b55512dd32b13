"""`pods/…/proxy` and `services/…/proxy`: HTTP to a pod's port by way of the API server."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import ENDPOINT_SLICES, PODS, SERVICES
from pytest_cnimigrate.simulator.apiserver.calls import Call
from pytest_cnimigrate.simulator.apiserver.errors import bad_request
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.gateway import GatewayError, HttpRequest, KubeletGateway

_HOP_BY_HOP: Final = frozenset(
    {"connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding", "upgrade"}
)
_PRIVATE: Final = frozenset({"authorization", "impersonate-user", "impersonate-group"})


def unavailable(text: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", text)


def _split(name: str) -> tuple[str, str]:
    """`[scheme:]name[:port]` as name and port; raises 400 for https, which no pod here speaks."""
    parts = name.split(":")
    if len(parts) == 3:
        scheme, target, port = parts
        if scheme not in ("", "http"):
            raise bad_request(f"the embedded cluster proxies plain HTTP only, not {scheme}")
        return target, port
    return parts[0], parts[1] if len(parts) == 2 else ""


def _pod_port(pod: Object, port: str) -> int:
    if port.isdigit():
        return int(port)
    for container in pod["spec"]["containers"]:
        for declared in container.get("ports") or ():
            if not port or declared.get("name") == port:
                return int(declared["containerPort"])
    if not port:
        return 80
    raise bad_request(f'invalid port "{port}": no container of the pod declares it')


def _pod_target(server: ApiServer, name: str, port: str, namespace: str) -> tuple[Object, int]:
    pod = server.get(PODS, name, namespace)
    if not (pod.get("status") or {}).get("podIP"):
        raise bad_request(
            "address not allowed" if pod["spec"].get("nodeName") else f"pod {name} has no address yet"
        )
    return pod, _pod_port(pod, port)


class Proxy:
    """Carries requests to pods through the gateway."""

    def __init__(self, server: ApiServer, gateway: KubeletGateway | None, pace: Pace) -> None:
        self._server = server
        self._gateway = gateway
        self._pace = pace
        self._turn = 0

    async def handle(self, call: Call) -> web.Response:
        """Pass the request on; raises 503 in the API server's words when nobody answers."""
        name, port = _split(call.info.name)
        namespace = call.info.namespace
        if call.resource == SERVICES:
            pod, number = self._service_target(name, port, namespace)
        else:
            pod, number = _pod_target(self._server, name, port, namespace)
        if self._gateway is None:
            raise unavailable("error trying to reach service: this cluster has no nodes")
        request = call.request
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP | _PRIVATE}
        query = request.rel_url.raw_query_string
        path = f"/{call.info.tail}" + (f"?{query}" if query else "")
        outgoing = HttpRequest(request.method, path, headers, await request.read())
        try:
            answer = await self._gateway.request(pod, number, outgoing)
        except GatewayError as error:
            raise unavailable(f"error trying to reach service: {error}") from error
        await self._pace.sleep(answer.seconds)
        returned = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
        return web.Response(status=answer.status, body=answer.body, headers=returned)

    def _service_target(self, name: str, port: str, namespace: str) -> tuple[Object, int]:
        """A ready endpoint of the service, each in its turn."""
        service = self._server.get(SERVICES, name, namespace)
        wanted = self._service_port(service, port)
        slices, _ = self._server.list(
            ENDPOINT_SLICES, namespace, label_selector=f"kubernetes.io/service-name={name}"
        )
        targets: list[tuple[str, int]] = []
        for found in slices:
            numbers = [
                p["port"] for p in found.get("ports") or () if p.get("name", "") == wanted.get("name", "")
            ]
            for endpoint in found.get("endpoints") or ():
                reference = endpoint.get("targetRef") or {}
                if (endpoint.get("conditions") or {}).get("ready", True) and reference.get("kind") == "Pod":
                    targets += [(reference["name"], number) for number in numbers]
        if not targets:
            raise unavailable(f'no endpoints available for service "{call_name(name, port)}"')
        self._turn += 1
        pod_name, number = targets[self._turn % len(targets)]
        return self._server.get(PODS, pod_name, namespace), number

    def _service_port(self, service: Object, port: str) -> Object:
        ports: list[Object] = service["spec"].get("ports") or []
        for declared in ports:
            if port in (declared.get("name"), str(declared["port"])) or (not port and len(ports) == 1):
                return declared
        name = service["metadata"]["name"]
        raise unavailable(f'no service port "{port}" found for service "{name}"')


def call_name(name: str, port: str) -> str:
    """As errors name the target: with its port if one was given."""
    return f"{name}:{port}" if port else name
