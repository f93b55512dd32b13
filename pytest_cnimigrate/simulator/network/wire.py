"""HTTP between programs in the cluster, over the data plane, failing in the words of Go's HTTP client."""

from __future__ import annotations

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.gateway import HttpRequest, HttpResponse
from pytest_cnimigrate.simulator.network.dataplane import DataPlane
from pytest_cnimigrate.simulator.network.verdict import Verdict
from pytest_cnimigrate.simulator.nodes.machine import Sandbox


class WireError(Exception):
    """No answer; the text is what Go's `net/http` says, without its `Get "URL": `."""


class Wire:
    """Carries requests. Timeouts count simulated time only, so a busy machine does not make failures."""

    def __init__(self, dataplane: DataPlane, pace: Pace) -> None:
        self.dataplane = dataplane
        self._pace = pace

    async def request(
        self,
        source: Sandbox | Object | str,
        address: str,
        port: int,
        request: HttpRequest,
        *,
        timeout: float,
    ) -> HttpResponse:
        """The answer from `address:port`; raises `WireError`, after `timeout` simulated seconds if silent."""
        verdict = self.dataplane.connect(source, address, port)
        if not verdict.ok:
            raise await self.failure(verdict, address, port, timeout)
        server = verdict.target.server(verdict.port) if verdict.target is not None else None
        if server is None:
            return HttpResponse(200, b"", {"Content-Type": "text/html"})  # a host outside the cluster
        try:
            response = await server.request(verdict.port, request)
        except ConnectionResetError:
            raise WireError("EOF") from None
        if response.seconds > timeout:
            await self._pace.sleep(timeout)
            raise WireError("context deadline exceeded")
        if response.seconds:
            await self._pace.sleep(response.seconds)
        return response

    async def failure(self, verdict: Verdict, address: str, port: int, timeout: float) -> WireError:
        """What a client finds out about a failed connection, and the time that takes it."""
        if verdict.outcome == "refused":
            return WireError(f"dial tcp {address}:{port}: connect: connection refused")
        await self._pace.sleep(timeout)
        return WireError("context deadline exceeded")
