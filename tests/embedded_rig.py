"""An embedded cluster on a thread of its own, and the `Cluster` that changes work on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
import yaml

from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.providers.aws import EksNodeGroups
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.providers.stand_in_helm import StandInHelm
from pytest_cnimigrate.simulator.cluster import EmbeddedCluster
from pytest_cnimigrate.simulator.settings import ClusterSettings, GroupSettings

Result = TypeVar("Result")

NAME = "dc-rig"
REGION = "us-west-1"
SPEED = 200.0


def eventually(read: Callable[[], Result], accept: Callable[[Result], Any], *, seconds: float = 20) -> Result:
    """What `read` gives as soon as `accept` likes it; fails with the last value otherwise."""
    deadline = time.monotonic() + seconds
    while not accept(value := read()):
        assert time.monotonic() < deadline, f"still {value!r}"
        time.sleep(0.01)
    return value


def start(folder: Path) -> Iterator[Cluster]:
    """Two nodes in ng-1, served by the VPC CNI; stopped when the generator is closed."""
    settings = ClusterSettings(
        name=NAME,
        region=REGION,
        groups=(GroupSettings("ng-1", desired=2, maximum=3),),
        workloads=("aws-node", "kube-proxy"),
        speed=SPEED,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def make() -> EmbeddedCluster:
        embedded = EmbeddedCluster(settings)
        await embedded.start()
        await embedded.settled()
        return embedded

    embedded = run(make())
    kubeconfig = folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(embedded.kubeconfig))
    session = boto3.Session(
        aws_access_key_id="embedded", aws_secret_access_key="embedded", region_name=REGION
    )
    node_groups = EksNodeGroups(session, NAME, endpoint_url=embedded.cloud)
    with connect(kubeconfig) as kube:
        yield Cluster(
            name=NAME,
            provider="sim",
            server=embedded.server,
            kubeconfig=kubeconfig,
            kube=kube,
            node_groups=node_groups,
            helm=StandInHelm(kube),
            poll_interval=0.01,
        )
    node_groups.close()
    run(embedded.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One embedded cluster for all tests; each works on objects of its own."""
    yield from start(tmp_path_factory.mktemp("embedded"))
