"""An API server that answers what a test tells it to, good manners and bad ones, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from pytest_cnimigrate.kube.client import KubeClient
from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.kube.retrying import RetryPolicy, Timeouts

PATIENCE = 5.0
"""Seconds that a hanging reply hangs: longer than any client here waits when all is well."""

Reply = Callable[["_Handler"], None]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class ScriptedApi:
    """Answers requests with the replies in the order they were given; one more request is an error."""

    url: str
    start: Callable[[], None]
    seen: list[Seen] = field(default_factory=list)
    replies: deque[Reply] = field(default_factory=deque)
    closing: threading.Event = field(default_factory=threading.Event)

    def will(self, *replies: Reply) -> None:
        self.replies.extend(replies)

    @staticmethod
    def json(body: Any, code: int = 200, **headers: str) -> Reply:
        """Answer with JSON; header names with `_` for `-`."""

        def reply(handler: _Handler) -> None:
            raw = json.dumps(body).encode()
            handler.send_response(code)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(raw)))
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(raw)

        return reply

    @classmethod
    def status(
        cls, code: int, reason: str, message: str = "", *, details: Any = None, **headers: str
    ) -> Reply:
        """Answer with a `metav1.Status`."""
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
        body |= {"reason": reason, "message": message or reason, "details": details or {}}
        return cls.json(body, code, **headers)

    @staticmethod
    def text(body: str, code: int) -> Reply:
        def reply(handler: _Handler) -> None:
            handler.send_response(code)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body.encode())

        return reply

    def hang(self) -> Reply:
        """Accept the request and never answer it."""
        return lambda _: self.closing.wait(PATIENCE) and None

    @staticmethod
    def reset() -> Reply:
        """Break the connection off without an answer."""

        def reply(handler: _Handler) -> None:
            handler.connection.shutdown(socket.SHUT_RDWR)

        return reply

    def stream(self, *events: Any, stay: bool = False) -> Reply:
        """A watch: the events a line each, then the end of the stream (or, with `stay`, silence)."""

        def reply(handler: _Handler) -> None:
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            for event in events:
                line = json.dumps(event).encode() + b"\n"
                # Cut in two, as the network may.
                for piece in (line[:7], line[7:]):
                    handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    handler.wfile.flush()
            if stay:
                self.closing.wait(PATIENCE)
            else:
                handler.wfile.write(b"0\r\n\r\n")

        return reply

    def client(self, folder: Path, **settings: Any) -> KubeClient:
        """A client of this server that retries without waiting."""
        settings.setdefault("retries", RetryPolicy(base=0.001, cap=0.002))
        settings.setdefault("timeouts", Timeouts(connect=2.0, read=5.0))
        return connect(_write_kubeconfig(folder, self.url), **settings)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: ScriptedApi

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        api = self.server.api
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        body = json.loads(raw) if raw else None
        api.seen.append(Seen(self.command, url.path, query, dict(self.headers), body))
        if not api.replies:
            # 400: nothing that a client would try again.
            api.text(f"nobody expected {self.command} {self.path}", 400)(self)
            return
        api.replies.popleft()(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # http.server's names

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def _write_kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "main",
                "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
                "clusters": [{"name": "main", "cluster": {"server": server}}],
                "users": [{"name": "main", "user": {"token": "very-secret-token"}}],
            }
        )
    )
    path.chmod(0o600)
    return path


@pytest.fixture
def sleeping_api() -> Iterator[ScriptedApi]:
    """An API server whose port refuses connections until `start()`."""
    server = _Server(("127.0.0.1", 0), _Handler, bind_and_activate=False)
    server.server_bind()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})

    def start() -> None:
        server.server_activate()
        thread.start()

    server.api = ScriptedApi(url=f"http://127.0.0.1:{server.server_address[1]}", start=start)
    yield server.api
    server.api.closing.set()
    if thread.is_alive():
        server.shutdown()
        thread.join()
    server.server_close()


@pytest.fixture
def api(sleeping_api: ScriptedApi) -> ScriptedApi:
    sleeping_api.start()
    return sleeping_api


@pytest.fixture
def client(api: ScriptedApi, tmp_path: Path) -> Iterator[KubeClient]:
    with api.client(tmp_path) as client:
        yield client


@pytest.fixture(name="write_kubeconfig")
def write_kubeconfig_() -> Callable[[Path, str], Path]:
    """Writes a kubeconfig for a server into a folder."""
    return _write_kubeconfig
