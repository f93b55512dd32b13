"""Serving: ports, TLS, faults, and what the front door says to nonsense."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import Any

import aiohttp
import pytest
import urllib3
from apiserver_rig import Cluster
from apiserver_samples import config_map

from pytest_cnimigrate.model.resources import CONFIG_MAPS
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.listening import PortInUseError
from pytest_cnimigrate.simulator.server import HttpServer


class Plain:
    """HTTP without any help, as the administrator."""

    def __init__(self, cluster: Cluster) -> None:
        credentials = cluster.http.credentials
        self._url = credentials.url
        self._headers = {"Authorization": f"Bearer {credentials.token}"}
        self._pool = urllib3.PoolManager(
            ca_cert_data=credentials.certificate_authority.decode(), retries=False
        )

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = json.dumps(body) if body is not None and not isinstance(body, bytes) else body
        return self._pool.request(method, self._url + path, body=raw, headers=self._headers | named)

    def close(self) -> None:
        self._pool.clear()


@pytest.fixture
def http(cluster: Cluster) -> Any:
    plain = Plain(cluster)
    yield plain
    plain.close()


async def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = HttpServer(ApiServer(), port=port)
        with pytest.raises(PortInUseError, match=f"port {port} of 127.0.0.1 is in use") as error:
            await server.start()
        assert error.value.port == port
        await server.stop()


async def test_a_stopped_server_gives_its_port_back_and_ends_its_watches() -> None:
    server = HttpServer(ApiServer(), tls=False)
    await server.start()
    port = server.port
    headers = {"Authorization": f"Bearer {server.credentials.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}/api/v1/pods?watch=1") as watch,
    ):
        await server.stop()
        with pytest.raises((aiohttp.ClientError, asyncio.IncompleteReadError)):
            await watch.content.readexactly(1)
    again = HttpServer(ApiServer(), port=port, tls=False)
    await again.start()
    await again.stop()
    await again.stop()


async def test_every_start_has_a_certificate_and_a_token_of_its_own() -> None:
    first, second = HttpServer(ApiServer()), HttpServer(ApiServer())
    assert first.credentials.token != second.credentials.token
    await first.start()
    try:
        stranger = ssl.create_default_context(cadata=second.credentials.certificate_authority.decode())
        friend = ssl.create_default_context(cadata=first.credentials.certificate_authority.decode())
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(f"{first.url}/healthz", ssl=stranger)
            async with session.get(f"{first.url}/healthz", ssl=friend) as answer:
                assert answer.status == 401
    finally:
        await first.stop()


@pytest.mark.parametrize(
    ("method", "path", "code", "text"),
    [
        ("GET", "/api/v1/things", 404, "the server could not find the requested resource"),
        ("GET", "/apis/no.such.group/v1", 404, "could not find the requested resource"),
        ("GET", "/nowhere", 404, "could not find the requested resource"),
        ("GET", "/api/v1/nodes/x/scale", 404, "could not find the requested resource"),
        ("GET", "/api/v1/namespaces/default/nodes", 404, "could not find the requested resource"),
        ("POST", "/api/v1/pods", 405, "does not allow this method"),
        ("POST", "/version", 405, "does not allow this method"),
        ("PUT", "/api/v1/namespaces/default/pods", 405, "does not allow this method"),
        ("GET", "/api/v1/pods?limit=many", 400, "invalid limit"),
        ("GET", "/api/v1/pods?continue=%21", 400, "continue key is not valid"),
        ("GET", "/api/v1/pods?watch=1&resourceVersion=abc", 400, "must be a number"),
        ("GET", "/api/v1/pods?labelSelector=a%20in%20b", 400, "unable to parse requirement"),
    ],
)
def test_requests_that_make_no_sense(http: Plain, method: str, path: str, code: int, text: str) -> None:
    answer = http(method, path)
    assert answer.status == code
    status = answer.json()
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", code)
    assert text in status["message"]


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"k8s\x00\x0a", "application/vnd.kubernetes.protobuf", 415),
        (b"<a/>", "application/xml", 415),
        (b"{not json", "application/json", 400),
        (b"[1, 2]", "application/json", 400),
        (b'{"kind": "Pod"}', "application/json", 400),
        (b'{"metadata": {"name": "A_b"}}', "application/json", 422),
        (b"metadata: {name: from-yaml}", "application/yaml", 201),
    ],
)
def test_bodies(http: Plain, body: bytes, content_type: str, code: int) -> None:
    answer = http("POST", "/api/v1/namespaces/default/configmaps", body, Content_Type=content_type)
    assert answer.status == code
    assert answer.json()["kind"] == ("ConfigMap" if code == 201 else "Status")


def test_a_patch_of_an_unknown_kind_is_refused(cluster: Cluster, http: Plain) -> None:
    answer = http("PATCH", "/api/v1/nodes/n1", {}, Content_Type="application/json")
    assert answer.status == 415
    assert "application/strategic-merge-patch+json" in answer.json()["message"]


def test_unknown_fields_are_told_in_a_warning(http: Plain) -> None:
    path = "/api/v1/namespaces/default/configmaps?fieldValidation=Warn"
    answer = http("POST", path, config_map("warned") | {"dada": {}}, Content_Type="application/json")
    assert answer.headers["Warning"] == '299 - "unknown field \\"dada\\""'


def test_metadata_alone_can_be_asked_for(cluster: Cluster, http: Plain) -> None:
    cluster.add(CONFIG_MAPS, config_map("whole", a="1"), "kube-public")
    wanted = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    answer = http("GET", "/api/v1/namespaces/kube-public/configmaps", Accept=wanted).json()
    assert answer["kind"] == "PartialObjectMetadataList"
    assert [set(item) for item in answer["items"]] == [{"kind", "apiVersion", "metadata"}]


def test_a_watch_with_initial_events_marks_their_end(cluster: Cluster, http: Plain) -> None:
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    lines = http("GET", f"/api/v1/namespaces?{query}&timeoutSeconds=1").data.decode().splitlines()
    events = [json.loads(line) for line in lines]
    kinds = [event["type"] for event in events]
    end = kinds.index("BOOKMARK")
    assert end == kinds.count("ADDED") == 4
    mark = events[end]["object"]["metadata"]
    assert mark["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_discovery_is_served_plain_and_aggregated(http: Plain) -> None:
    plain = {group["name"] for group in http("GET", "/apis").json()["groups"]}
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    aggregated = http("GET", "/apis", Accept=accept).json()
    assert aggregated["kind"] == "APIGroupDiscoveryList"
    assert {group["metadata"]["name"] for group in aggregated["items"]} == plain
    assert {"apps", "policy", "authorization.k8s.io"} <= plain
    names = {entry["name"] for entry in http("GET", "/api/v1").json()["resources"]}
    assert {"pods", "pods/eviction", "pods/exec", "services/proxy", "nodes/status"} <= names


def test_health_and_version(http: Plain) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
        assert http("GET", path).data == b"ok"
    assert http("GET", "/version").json()["minor"] == "36"


class TestFaults:
    """Faults are switched over HTTP, by name, at any time."""

    @pytest.fixture(autouse=True)
    def _clear(self, http: Plain) -> Any:
        yield
        http("DELETE", "/simulator/faults")

    def switch_on(self, http: Plain, name: str) -> None:
        answer = http("POST", "/simulator/faults", {"name": name}, Content_Type="application/json")
        assert answer.json()["active"] == [name]

    def test_an_unknown_name_is_answered_with_those_that_exist(self, http: Plain) -> None:
        answer = http("POST", "/simulator/faults", {"name": "typo"}, Content_Type="application/json")
        assert answer.status == 400
        assert "api-unavailable" in answer.json()["message"]

    def test_an_unavailable_server_answers_503_until_the_fault_is_cleared(self, http: Plain) -> None:
        self.switch_on(http, "api-unavailable")
        assert http("GET", "/api/v1/nodes").status == 503
        body = {"name": "api-unavailable"}
        http("DELETE", "/simulator/faults", body, Content_Type="application/json")
        assert http("GET", "/api/v1/nodes").status == 200

    def test_a_throttling_server_says_when_to_come_back(self, http: Plain) -> None:
        self.switch_on(http, "api-throttled")
        answers = [http("GET", "/api/v1/nodes") for _ in range(4)]
        assert [answer.status for answer in answers] == [429, 200, 200, 429]
        assert answers[0].headers["Retry-After"] == "1"

    def test_watches_that_expire_end_with_410_in_an_event(self, http: Plain) -> None:
        self.switch_on(http, "api-watches-expire")
        version = http("GET", "/api/v1/nodes").json()["metadata"]["resourceVersion"]
        answer = http("GET", f"/api/v1/nodes?watch=1&resourceVersion={version}")
        assert answer.status == 200
        event = answer.json()
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)

    def test_a_transient_403_is_gone_with_the_next_try(self, http: Plain) -> None:
        self.switch_on(http, "api-transiently-forbidden")
        assert [http("GET", "/api/v1/nodes").status for _ in range(2)] == [403, 200]
