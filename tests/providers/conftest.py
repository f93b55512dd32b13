"""The embedded cluster, and moto as a second opinion of what AWS's API is like."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from embedded_rig import NAME, REGION, cluster, eventually  # noqa: F401  # cluster is a fixture
from moto.server import ThreadedMotoServer

from pytest_cnimigrate.model.resources import NAMESPACES
from pytest_cnimigrate.providers.aws import EksNodeGroups
from pytest_cnimigrate.providers.cluster import Cluster

ROLE = "arn:aws:iam::123456789012:role/node"
_numbers = itertools.count(1)


class Moto:
    """An account of moto's with one cluster."""

    def __init__(self, url: str) -> None:
        self.session = boto3.Session(
            aws_access_key_id="moto", aws_secret_access_key="moto", region_name=REGION
        )
        self.url = url
        self.clients = [self.session.client(name, endpoint_url=url) for name in ("eks", "ec2")]
        self.eks, self.ec2 = self.clients
        self.subnets = [one["SubnetId"] for one in self.ec2.describe_subnets()["Subnets"][:2]]
        self.eks.create_cluster(name=NAME, roleArn=ROLE, resourcesVpcConfig={"subnetIds": self.subnets})
        self.create("ng-1", instanceTypes=["m5.large"])

    def create(self, name: str, **more: Any) -> None:
        """A node group with 2 of at most 3 nodes."""
        scaling = {"minSize": 0, "maxSize": 3, "desiredSize": 2}
        self.eks.create_nodegroup(
            clusterName=NAME,
            nodegroupName=name,
            nodeRole=ROLE,
            subnets=self.subnets,
            scalingConfig=scaling,
            **more,
        )

    def describe(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.eks.describe_nodegroup(clusterName=NAME, nodegroupName=name)["nodegroup"]
        return found


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    account = Moto(f"http://{host}:{port}")
    yield account
    for client in account.clients:
        client.close()
    server.stop()


@pytest.fixture(scope="session")
def motos_groups(moto: Moto) -> Iterator[EksNodeGroups]:
    groups = EksNodeGroups(moto.session, NAME, endpoint_url=moto.url)
    yield groups
    groups.close()


@pytest.fixture(params=["embedded", "moto"])
def groups(request: pytest.FixtureRequest) -> EksNodeGroups:
    """The node groups of a cluster with `ng-1`: 2 of at most 3 m5.large."""
    if request.param == "moto":
        return request.getfixturevalue("motos_groups")
    return request.getfixturevalue("cluster").node_groups


@pytest.fixture
def name() -> str:
    """A name that no other test has given to a node group."""
    return f"ng-test-{next(_numbers)}"


@pytest.fixture
def namespace(cluster: Cluster) -> str:  # noqa: F811
    name = f"test-{next(_numbers)}"
    cluster.kube.create(NAMESPACES, {"metadata": {"name": name}})
    return name
