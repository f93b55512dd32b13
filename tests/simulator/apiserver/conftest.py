"""One embedded API server a module, served over HTTP and TLS from a thread of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import PODS, Resource
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.gateway import ExecResult, GatewayError, HttpRequest, HttpResponse
from pytest_cnimigrate.simulator.server import Credentials, HttpServer

T = TypeVar("T")


@dataclass
class Kubelets:
    """A gateway whose pods answer with what they were asked; those named `dead-…` cannot be reached."""

    requests: list[HttpRequest] = field(default_factory=list)
    lines: list[str] = field(default_factory=lambda: ["one", "two", "three"])

    async def request(self, pod: Object, port: int, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        name = pod["metadata"]["name"]
        if name.startswith("dead-"):
            raise GatewayError("dial tcp 10.0.0.9:8080: i/o timeout")
        return HttpResponse(418, f"{name}:{port}".encode(), {"X-Pod": name, "Content-Type": "text/plain"})

    async def execute(self, pod: Object, container: str, command: list[str]) -> ExecResult:
        match command:
            case ["echo", *words]:
                return ExecResult(0, " ".join(words) + "\n")
            case ["fail", code]:
                return ExecResult(int(code), "", f"{container} failed\n")
        raise GatewayError(f'exec: "{command[0]}": executable file not found in $PATH')

    async def logs(self, pod: Object, container: str, *, previous: bool = False) -> list[str]:
        return [f"{'previous ' if previous else ''}{container}", *self.lines]


@dataclass
class Cluster:
    """The server as tests see it: from outside, and in between from within."""

    http: HttpServer
    api: ApiServer
    kubelets: Kubelets
    loop: asyncio.AbstractEventLoop
    folder: Path

    def inside(self, function: Callable[[ApiServer], T]) -> T:
        """Call a function on the server's own loop."""

        async def call() -> T:
            return function(self.api)

        return self.run(call())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def add(self, resource: Resource, obj: Object, namespace: str = "") -> Object:
        return self.inside(lambda server: server.create(resource, obj, namespace))

    def kubeconfig(self, credentials: Credentials | None = None) -> Path:
        credentials = credentials or self.http.credentials
        path = self.folder / f"{abs(hash(credentials))}.yaml"
        path.write_text(yaml.safe_dump(self.http.kubeconfig(credentials=credentials)))
        path.chmod(0o600)
        return path

    def client(self, credentials: Credentials | None = None) -> kubernetes_client.ApiClient:
        return kubernetes_config.new_client_from_config(str(self.kubeconfig(credentials)))

    def kubectl(
        self, *arguments: str, stdin: str = "", credentials: Credentials | None = None, fails: bool = False
    ) -> str:
        """Run the real kubectl; returns what it wrote (both streams when it is to fail)."""
        done = subprocess.run(
            ["kubectl", f"--cache-dir={self.folder}/cache", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
            env={
                "KUBECONFIG": str(self.kubeconfig(credentials)),
                "HOME": str(self.folder),
                "PATH": os.environ["PATH"],
            },
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    def requests(self) -> list[Object]:
        """The access log, as it is read over HTTP."""
        listed = json.loads(self.kubectl("get", "--raw", "/simulator/requests"))["requests"]
        return list(listed)

    def bind(self, name: str, node: str, namespace: str = "default", *, ready: bool = True) -> None:
        """Play scheduler and kubelet for one pod."""
        from pytest_cnimigrate.simulator.apiserver.binding import bind

        condition = {"type": "Ready", "status": "True" if ready else "False"}
        state = {"running": {"startedAt": "2026-11-22T20:00:00Z"}}

        def play(server: ApiServer) -> None:
            bind(server, name, namespace, node)
            pod = server.get(PODS, name, namespace)
            statuses = [
                {"name": c["name"], "ready": ready, "restartCount": 0, "state": state, "image": c["image"]}
                for c in pod["spec"]["containers"]
            ]
            status = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [condition]}
            status["containerStatuses"] = statuses
            server.patch(PODS, name, {"status": status}, namespace, subresource="status")

        self.inside(play)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    loop = asyncio.new_event_loop()
    api, kubelets = ApiServer(), Kubelets()
    http = HttpServer(api, gateway=kubelets, pace=Pace(speed=1000))
    loop.run_until_complete(http.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    cluster = Cluster(http, api, kubelets, loop, tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.run(http.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def server() -> ApiServer:
    """A server without its wire."""
    return ApiServer()


@pytest.fixture
def core(cluster: Cluster) -> Iterator[kubernetes_client.CoreV1Api]:
    """The official client."""
    with cluster.client() as client:
        yield kubernetes_client.CoreV1Api(client)
