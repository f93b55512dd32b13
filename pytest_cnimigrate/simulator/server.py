"""Serves an `ApiServer` on loopback, with tokens, TLS if wanted, and a kubeconfig to reach it."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from typing import Any

from pytest_cnimigrate.simulator.apiserver.application import Application
from pytest_cnimigrate.simulator.apiserver.authentication import ADMIN, AUTHENTICATED, User
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.certificates import Certificate
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.gateway import KubeletGateway
from pytest_cnimigrate.simulator.listening import HOST, Listener


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client needs to reach the server."""

    url: str
    token: str
    certificate_authority: bytes = b""
    """PEM; empty when the server speaks plain HTTP."""


class HttpServer:
    """One API server on one port of the loopback interface. Start and stop it on its event loop.

    TLS is the rule because kubectl and Helm send a token over TLS only (client-go drops it on plain HTTP).
    Without TLS the Python client works as well; the Go programs get a 401.
    """

    def __init__(
        self,
        server: ApiServer,
        *,
        pace: Pace | None = None,
        gateway: KubeletGateway | None = None,
        port: int = 0,
        tls: bool = True,
    ) -> None:
        self.application = Application(server, pace=pace or Pace(), gateway=gateway)
        self._certificate = Certificate.issue(HOST) if tls else None
        self._token = self.application.authenticator.issue(ADMIN)
        context: ssl.SSLContext | None = self._certificate.server_context() if self._certificate else None
        self._listener = Listener(self.application.handle, port=port, tls=context)

    async def start(self) -> None:
        """Listen; raises `PortInUseError` when the port is taken."""
        await self._listener.start()

    async def stop(self) -> None:
        """Stop listening and end what is under way. Safe to call twice."""
        await self._listener.stop()

    @property
    def port(self) -> int:
        """The port it listens on; 0 before the start if any would do."""
        return self._listener.port

    @property
    def url(self) -> str:
        return self._listener.url

    @property
    def credentials(self) -> Credentials:
        """Those of the administrator."""
        authority = self._certificate.authority if self._certificate else b""
        return Credentials(self.url, self._token, authority)

    def add_user(self, name: str, *groups: str) -> Credentials:
        """Credentials for a user who may do what roles and bindings say."""
        token = self.application.authenticator.issue(User(name, (*groups, AUTHENTICATED)))
        return Credentials(self.url, token, self.credentials.certificate_authority)

    def kubeconfig(
        self, name: str = "simulator", *, credentials: Credentials | None = None
    ) -> dict[str, Any]:
        """A kubeconfig with one context. It holds a token: write it with mode 0600."""
        return kubeconfig(name, credentials or self.credentials)


def kubeconfig(name: str, credentials: Credentials) -> dict[str, Any]:
    """A kubeconfig, ready to be dumped as YAML or JSON."""
    cluster: dict[str, str] = {"server": credentials.url}
    if credentials.certificate_authority:
        encoded = base64.b64encode(credentials.certificate_authority).decode()
        cluster["certificate-authority-data"] = encoded
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": credentials.token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
