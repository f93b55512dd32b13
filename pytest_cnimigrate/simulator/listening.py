"""Listening on loopback: a handler, a port, and one clear error when the port is taken."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

HOST = "127.0.0.1"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class PortInUseError(OSError):
    """Somebody else listens on the port that was asked for."""

    def __init__(self, port: int) -> None:
        super().__init__(
            errno.EADDRINUSE,
            f"port {port} of {HOST} is in use: stop what listens there, or choose another port",
        )
        self.port = port

    def __str__(self) -> str:
        return str(self.strerror)


class Listener:
    """One handler on one port of the loopback interface. Start and stop it on its event loop."""

    def __init__(self, handler: Handler, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._runner: web.ServerRunner | None = None
        self.port = port
        """The port; 0 before the start if any would do."""

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    async def start(self) -> None:
        """Listen; raises `PortInUseError` when the port is taken."""
        # Without cancellation an idle watch would outlive its client until the next event.
        server = web.Server(self._handler, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, HOST, self.port, ssl_context=self._tls)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(self.port) from error
            raise
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and end what is under way. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        connections = runner.server.connections if runner.server is not None else []
        transports = [connection.transport for connection in connections]
        await runner.cleanup()
        # A TLS connection is closed only once the peer has said goodbye as well, which one that is gone
        # never does: asyncio would wait 30 s for it, or warn of an open socket if its loop ends first.
        for transport in transports:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        await asyncio.sleep(0)
