"""What a container does: a program, chosen by the container's image.

A hollow node has no containers. In their place run programs: coroutines that answer HTTP requests and
commands, say when they are ready, and may write CNI files or talk to the API as the real software does.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_cnimigrate.model.objects import Object, namespace_of
from pytest_cnimigrate.simulator.client.api import Api
from pytest_cnimigrate.simulator.client.events import EventRecorder
from pytest_cnimigrate.simulator.client.informer import Informers
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import Vpc
from pytest_cnimigrate.simulator.faults import Faults
from pytest_cnimigrate.simulator.gateway import ExecResult, HttpRequest, HttpResponse
from pytest_cnimigrate.simulator.nodes import shell

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.network.wire import Wire
    from pytest_cnimigrate.simulator.nodes.machine import Machine, Sandbox

LOG_LINES = 2000
"""How much of a container's output is kept."""


@dataclass(eq=False, slots=True)
class Context:
    """What a program may use: its pod, its node, the API, the network."""

    api: Api
    informers: Informers
    pace: Pace
    faults: Faults
    vpc: Vpc
    wire: Wire
    events: EventRecorder
    """Records events as the node's kubelet."""
    machine: Machine
    sandbox: Sandbox
    container: Object
    """The container's part of the pod's spec."""
    env: dict[str, str]
    """The container's environment, references resolved."""
    on_ready: Callable[[bool], None]
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))

    @property
    def pod(self) -> Object:
        """The latest version of the program's own pod."""
        return self.sandbox.pod

    @property
    def namespace(self) -> str:
        return namespace_of(self.pod)

    def set_ready(self, ready: bool) -> None:
        """What the container's readiness probe finds from now on."""
        self.on_ready(ready)

    def print(self, line: str) -> None:
        """Write a line of output."""
        self.log.append(line)


class Program:
    """A container that becomes ready, runs until it is stopped, and answers on its declared ports.

    Other programs override what they do otherwise. `run` is cancelled when the container is killed; what
    must be undone then belongs into a `finally`.
    """

    shutdown_seconds = 0.5
    """From SIGTERM to the end, in simulated seconds."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def run(self) -> int:
        """Do the container's work; the exit code, if it ends by itself."""
        self.context.set_ready(True)
        duration, exit_code = self._work()
        if duration is None:
            await asyncio.Event().wait()
        else:
            await self.context.pace.sleep(duration)
        return exit_code

    def listens(self, port: int, protocol: str = "tcp") -> bool:
        """Whether the program has the port open: by default what the container declares."""
        for entry in self.context.container.get("ports") or ():
            if entry["containerPort"] == port and entry.get("protocol", "TCP").lower() == protocol:
                return True
        return False

    async def stop(self) -> None:
        """SIGTERM: what must happen before the container is killed."""

    async def request(self, port: int, request: HttpRequest) -> HttpResponse:
        """Answer an HTTP request to an open port."""
        name = self.context.pod["metadata"]["name"]
        return HttpResponse(200, f"{name}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"})

    async def execute(self, command: list[str]) -> ExecResult:
        """Run a command in the container; unknown ones end as the container runtime says it (127)."""
        return shell.execute(command, self.context)

    def logs(self) -> list[str]:
        """What the container has written, a line each."""
        return list(self.context.log)

    def _work(self) -> tuple[float | None, int]:
        """How long the container's work takes (None: it serves without end) and its exit code.

        `sleep N`, `false` and `sh -c "exit N"` do what they say; a Job's container works for three seconds;
        all else serves.
        """
        command = [
            *(self.context.container.get("command") or ()),
            *(self.context.container.get("args") or ()),
        ]
        match command:
            case ["sleep", seconds] if seconds.rstrip("s").isdigit():
                return float(seconds.rstrip("s")), 0
            case ["false"] | ["/bin/false"]:
                return 0.1, 1
            case ["sh" | "/bin/sh", "-c", script] if re.fullmatch(r"exit \d+", script):
                return 0.1, int(script.split()[1])
        owners = self.context.pod["metadata"].get("ownerReferences") or ()
        if any(owner["kind"] == "Job" for owner in owners):
            return 3.0, 0
        return None, 0


class KubeProxy(Program):
    """kube-proxy: once it runs, Services work on its node (and the rules stay in the kernel when it goes)."""

    async def run(self) -> int:
        await self.context.pace.sleep(0.5)
        self.context.machine.service_proxies.add("kube-proxy")
        return await super().run()


class InitProgram(Program):
    """An init container that does its work within a second, as those of Cilium do in the recordings."""

    async def run(self) -> int:
        await self.context.pace.sleep(0.7, jitter=0.3)
        return 0


ProgramFactory = Callable[[Context], Program]


class ProgramRegistry:
    """Which program stands for which image. The first pattern that is found in the image's name counts."""

    def __init__(self) -> None:
        self._entries: list[tuple[re.Pattern[str], ProgramFactory]] = []

    def register(self, image_pattern: str, factory: ProgramFactory) -> None:
        self._entries.append((re.compile(image_pattern), factory))

    def create(self, context: Context, *, init: bool = False) -> Program:
        """The program of the context's container."""
        if init and context.container.get("restartPolicy") != "Always":
            return InitProgram(context)
        image = context.container["image"]
        for pattern, factory in self._entries:
            if pattern.search(image):
                return factory(context)
        return Program(context)
