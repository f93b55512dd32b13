"""Fixtures: accounts, empty and with a cluster; node groups made through boto3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_rig import CLUSTER, FAST_WAITER, SPEED, Rig

from pytest_cnimigrate.simulator.aws import AwsSettings


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    """Makes accounts with settings and speed of the test's choice."""
    rigs: list[Rig] = []

    def make(*, speed: float = SPEED, **settings: Any) -> Rig:
        rig = Rig(AwsSettings(**settings), speed=speed)
        rigs.append(rig)
        rig.start()
        return rig

    yield make
    for rig in rigs:
        rig.stop()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """An account with nothing in it."""
    return make_rig()


@pytest.fixture
def cluster(rig: Rig) -> Rig:
    """An account with an active cluster and no node groups."""
    rig.call(rig.cloud.seed_cluster, CLUSTER)
    return rig


@pytest.fixture
def group_request(cluster: Rig) -> Callable[..., dict[str, Any]]:
    """The parameters of a CreateNodegroup that works; keywords replace or add some."""

    def make(name: str = "ng-1", *, desired: int = 2, maximum: int = 3, **more: Any) -> dict[str, Any]:
        return {
            "clusterName": CLUSTER,
            "nodegroupName": name,
            "nodeRole": "arn:aws:iam::123456789012:role/node",
            "subnets": [subnet.subnet_id for subnet in cluster.cloud.vpc.private_subnets()],
            "instanceTypes": ["m5.large"],
            "scalingConfig": {"minSize": 0, "maxSize": maximum, "desiredSize": desired},
            **more,
        }

    return make


@pytest.fixture
def create_group(cluster: Rig, group_request: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Creates a node group, waits until it is active, and gives its description."""

    def create(name: str = "ng-1", **more: Any) -> dict[str, Any]:
        eks = cluster.client("eks")
        eks.create_nodegroup(**group_request(name, **more))
        eks.get_waiter("nodegroup_active").wait(
            clusterName=CLUSTER, nodegroupName=name, WaiterConfig=FAST_WAITER
        )
        return eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName=name)["nodegroup"]

    return create
