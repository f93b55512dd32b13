"""One embedded API server a module, served over HTTP and TLS from a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from apiserver_rig import Cluster, Kubelets
from kubernetes import client as kubernetes_client

from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.server import HttpServer


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
