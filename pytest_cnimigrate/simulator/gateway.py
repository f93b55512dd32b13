"""What the API server needs of the nodes: the kubelet's side of proxy, exec and logs.

In a real cluster the API server reaches a pod's port directly and a container through its kubelet. Here
both go through one `KubeletGateway`, which the hollow nodes implement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pytest_cnimigrate.model.objects import Object


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to a pod's port, as it arrives there."""

    method: str
    path: str
    """Path and query, beginning with `/`."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """How long the answer took, in simulated seconds: whoever carries it lets them pass."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command in a container ended."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""


class GatewayError(Exception):
    """The pod or its container cannot be reached; the text is what kubelet or the API server would say."""


class KubeletGateway(Protocol):
    """Reach into a pod. Every method raises `GatewayError` with the real cluster's words."""

    async def request(self, pod: Object, port: int, request: HttpRequest) -> HttpResponse:
        """Send an HTTP request to the pod's port from the control plane's place in the network."""

    async def execute(self, pod: Object, container: str, command: list[str]) -> ExecResult:
        """Run a command in a container that runs."""

    async def logs(self, pod: Object, container: str, *, previous: bool = False) -> list[str]:
        """What the container has written, a line each, without timestamps."""
