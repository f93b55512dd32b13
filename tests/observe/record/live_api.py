"""An API server on a thread of its own that can be cut off and come back, and a client of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pytest_cnimigrate.kube.client import KubeClient
from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.kube.retrying import RetryPolicy
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.listening import Listener
from pytest_cnimigrate.simulator.server import HttpServer

PATIENCE = 10.0


def until(condition: Callable[[], Any]) -> None:
    """Wait until something is so; fails if it does not become so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)


class LiveApi:
    """The server. `do` runs a function of its `ApiServer` where nobody disturbs it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.api_server = ApiServer()
        self.server = HttpServer(self.api_server, tls=False)
        self._loop = loop
        self._listener: Listener | HttpServer = self.server

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def do(self, work: Callable[[ApiServer], Any]) -> Any:
        async def call() -> Any:
            return work(self.api_server)

        return self.run(call())

    def cut_off(self) -> None:
        """End every connection and take no new ones."""
        self._port = self.server.port
        self.run(self._listener.stop())

    def come_back(self) -> None:
        self._listener = Listener(self.server.application.handle, port=self._port)
        self.run(self._listener.start())

    def stop(self) -> None:
        self.run(self._listener.stop())

    def requests(self, verb: str, resource: str) -> int:
        """How many requests of this kind have been answered."""
        entries = self.do(lambda _: self.server.application.access_log.after(0))
        return sum(entry.verb == verb and entry.resource == resource for entry in entries)


@contextmanager
def live_api() -> Iterator[LiveApi]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        api = LiveApi(loop)
        api.run(api.server.start())
        try:
            yield api
        finally:
            api.stop()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def client(api: LiveApi, folder: Path) -> KubeClient:
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(api.server.kubeconfig()))
    return connect(path, retries=RetryPolicy(base=0.01, cap=0.05))
