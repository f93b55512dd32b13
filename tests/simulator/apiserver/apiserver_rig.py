"""The embedded API server as tests see it: from outside, and in between from within."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import PODS, Resource
from pytest_cnimigrate.simulator.apiserver.binding import bind
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
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
            ["kubectl", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
            env=self._environment(credentials),
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    def kubectl_until(self, text: str, *arguments: str) -> None:
        """Run a kubectl that would go on for long, and stop it once it has said `text`."""
        process = subprocess.Popen(
            ["kubectl", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(None),
        )
        assert process.stdout is not None
        with process, process.stdout as said:
            lines = []
            for line in said:
                lines.append(line)
                if text in line:
                    process.terminate()
                    return
            raise AssertionError("".join(lines))

    def _environment(self, credentials: Credentials | None) -> dict[str, str]:
        """With a HOME of its own, so that nobody's caches and settings get in the way."""
        return {
            "KUBECONFIG": str(self.kubeconfig(credentials)),
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
        }

    def requests(self) -> list[Object]:
        """The access log, as it is read over HTTP."""
        listed = json.loads(self.kubectl("get", "--raw", "/simulator/requests"))["requests"]
        return list(listed)

    def bind(self, name: str, node: str, namespace: str = "default", *, ready: bool = True) -> None:
        """Play scheduler and kubelet for one pod."""
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        state = {"running": {"startedAt": "2026-11-22T20:00:00Z"}}

        def play(server: ApiServer) -> None:
            bind(server, name, namespace, node)
            pod = server.get(PODS, name, namespace)
            statuses = [
                {"name": c["name"], "ready": ready, "restartCount": 0, "state": state, "image": c["image"]}
                | {"imageID": ""}
                for c in pod["spec"]["containers"]
            ]
            status = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [condition]}
            status["containerStatuses"] = statuses
            server.patch(PODS, name, {"status": status}, namespace, subresource="status")

        self.inside(play)
