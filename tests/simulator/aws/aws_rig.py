"""A simulated AWS account on a port of its own, an API server behind it, and boto3 in front of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import boto3
from aiohttp import web
from botocore.config import Config

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import NODES
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.aws import AwsCloud, AwsSettings
from pytest_cnimigrate.simulator.client.local import LocalApi
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import Instance
from pytest_cnimigrate.simulator.faults import Faults

Result = TypeVar("Result")

CLUSTER = "dc-migrate"
SPEED = 1000.0
FAST_WAITER = {"Delay": 0.01, "MaxAttempts": 500}


class PlainFleet:
    """Stands in for the hollow nodes: an instance is a node at once, Ready if `ready` says so."""

    def __init__(self, api: LocalApi) -> None:
        self.api = api
        self.ready = True
        self.registers = True
        self.leaves = True
        """Whether a node's object goes with its instance."""
        self.booted: dict[str, Instance] = {}

    async def launch(self, instance: Instance) -> None:
        self.booted[instance.instance_id] = instance
        if not self.registers:
            return
        node: Object = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": instance.private_dns_name, "labels": dict(instance.labels)},
            "spec": {
                "providerID": f"aws:///{instance.availability_zone}/{instance.instance_id}",
                "taints": [dict(taint) for taint in instance.taints],
            },
        }
        await self.api.create(NODES, node)
        await self.set_ready(instance.private_dns_name, self.ready)

    async def terminate(self, instance_id: str) -> None:
        instance = self.booted.pop(instance_id)
        if self.registers and self.leaves:
            await self.api.delete(NODES, instance.private_dns_name)

    async def set_ready(self, name: str, ready: bool) -> None:
        condition = {"type": "Ready", "status": str(ready), "reason": "Test", "message": ""}
        await self.api.patch(
            NODES, name, {"status": {"conditions": [condition]}}, kind="merge", subresource="status"
        )


class Rig:
    """One account in a thread of its own, so that boto3 can block while it works."""

    def __init__(self, settings: AwsSettings, *, speed: float = SPEED) -> None:
        self.settings = settings
        self.faults = Faults()
        self._speed = speed
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._clients: list[Any] = []

    def start(self) -> None:
        self._thread.start()
        self.run(self._start())

    async def _start(self) -> None:
        self.cloud = AwsCloud(self.settings, pace=Pace(speed=self._speed), faults=self.faults)
        self.api = LocalApi(ApiServer(), manager="eks")
        self.fleet = PlainFleet(self.api)
        self.cloud.attach(
            self.fleet,
            self.api,
            endpoint="https://127.0.0.1:6443",
            certificate_authority_data="Y2VydGlmaWNhdGU=",
        )
        self._runner = web.ServerRunner(web.Server(self.cloud.handler))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self.cloud.stop()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Let the account's event loop do `work`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def call(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call a plain function on the account's event loop."""

        async def work() -> Result:
            return function(*args, **kwargs)

        return self.run(work())

    def client(self, service: str, **config: Any) -> Any:
        client = boto3.client(
            service,
            region_name=config.pop("region", self.settings.region),
            endpoint_url=self.url,
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
            config=Config(**{"retries": {"max_attempts": 1}, **config}),
        )
        self._clients.append(client)
        return client

    def node(self, name: str) -> Object | None:
        return next((node for node in self.nodes() if node["metadata"]["name"] == name), None)

    def nodes(self) -> list[Object]:
        return self.run(self.api.list(NODES))[0]


def eventually(read: Callable[[], Result], accept: Callable[[Result], Any], *, seconds: float = 10) -> Result:
    """What `read` gives as soon as `accept` likes it; fails with the last value otherwise."""
    deadline = time.monotonic() + seconds
    while not accept(value := read()):
        assert time.monotonic() < deadline, f"still {value!r}"
        time.sleep(0.005)
    return value
