"""moto is an independent reading of the same API: where both answer, both answer in the same shape.

Only names are compared. Values differ on purpose: moto's groups have no instances and no clock.
"""

from __future__ import annotations

import boto3
import pytest
from aws_rig import CLUSTER, eventually
from botocore.config import Config
from moto.server import ThreadedMotoServer

ROLE = "arn:aws:iam::123456789012:role/eks-role"

# Members of EKS's answers that moto's model does not show …
ONLY_HERE = {
    "cluster": {"accessConfig", "health", "upgradePolicy"},
    "nodegroup": {"updateConfig"},
    "update": set(),
}
# … and the other way round: moto's clusters have an endpoint before they exist, and its groups a
# remoteAccess that nobody asked for.
ONLY_IN_MOTO = {
    "create_cluster": {"endpoint"},
    "create_nodegroup": {"remoteAccess"},
    "describe_nodegroup": {"remoteAccess"},
    "delete_nodegroup": {"remoteAccess"},
}


@pytest.fixture(scope="module")
def moto_clients():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    clients = {
        name: boto3.client(
            name,
            region_name="us-west-1",
            endpoint_url=f"http://{host}:{port}",
            aws_access_key_id="moto",
            aws_secret_access_key="moto",
            config=Config(retries={"max_attempts": 1}),
        )
        for name in ("eks", "ec2", "sts")
    }
    yield clients
    for client in clients.values():
        client.close()
    server.stop()


def walk_through(eks, subnets, *, settled):
    """The same life of a cluster and a node group; every answer by the name of its call."""
    answers = {}
    network = {"subnetIds": subnets}
    answers["create_cluster"] = eks.create_cluster(name=CLUSTER, roleArn=ROLE, resourcesVpcConfig=network)
    settled(lambda: eks.describe_cluster(name=CLUSTER)["cluster"])
    answers["describe_cluster"] = eks.describe_cluster(name=CLUSTER)
    answers["list_clusters"] = eks.list_clusters()
    group = {"clusterName": CLUSTER, "nodegroupName": "ng-1"}
    answers["create_nodegroup"] = eks.create_nodegroup(
        **group,
        subnets=subnets,
        nodeRole=ROLE,
        instanceTypes=["m5.large"],
        labels={"cni": "cilium"},
        taints=[{"key": "a", "value": "b", "effect": "NO_SCHEDULE"}],
        scalingConfig={"minSize": 0, "maxSize": 3, "desiredSize": 0},
        tags={"team": "net"},
    )
    settled(lambda: eks.describe_nodegroup(**group)["nodegroup"])
    answers["describe_nodegroup"] = eks.describe_nodegroup(**group)
    answers["list_nodegroups"] = eks.list_nodegroups(clusterName=CLUSTER)
    answers["update_nodegroup_config"] = eks.update_nodegroup_config(
        **group, scalingConfig={"minSize": 0, "maxSize": 4, "desiredSize": 1}
    )
    settled(lambda: eks.describe_nodegroup(**group)["nodegroup"])
    answers["delete_nodegroup"] = eks.delete_nodegroup(**group)
    return answers


@pytest.fixture(scope="module")
def theirs(moto_clients):
    subnets = [subnet["SubnetId"] for subnet in moto_clients["ec2"].describe_subnets()["Subnets"]][:2]
    return walk_through(moto_clients["eks"], subnets, settled=lambda read: read())


@pytest.fixture
def ours(rig):
    subnets = [subnet.subnet_id for subnet in rig.cloud.vpc.private_subnets()]
    return walk_through(
        rig.client("eks"),
        subnets,
        settled=lambda read: eventually(read, lambda one: one["status"] == "ACTIVE"),
    )


def test_eks_answers_have_the_same_shape(ours, theirs):
    assert ours.keys() == theirs.keys()
    for call, answer in theirs.items():
        assert ours[call].keys() == answer.keys(), call
        for name in ONLY_HERE.keys() & answer.keys():
            mine, other = set(ours[call][name]), set(answer[name])
            assert (call, mine - other) == (call, ONLY_HERE[name])
            assert (call, other - mine) == (call, ONLY_IN_MOTO.get(call, set()))


def test_eks_answers_have_the_same_types_down_to_the_leaves(ours, theirs):
    for call in ("describe_cluster", "describe_nodegroup", "update_nodegroup_config"):
        assert differing_types(ours[call], theirs[call], call) == []


def differing_types(mine, other, path):
    """Paths at which both have a value, of different types."""
    if isinstance(mine, dict) and isinstance(other, dict):
        shared = (mine.keys() & other.keys()) - {"ResponseMetadata"}
        return [
            found
            for key in sorted(shared)
            for found in differing_types(mine[key], other[key], f"{path}.{key}")
        ]
    if isinstance(mine, list) and isinstance(other, list):
        return differing_types(mine[0], other[0], f"{path}[0]") if mine and other else []
    return [] if type(mine) is type(other) else [f"{path}: {type(mine).__name__} {type(other).__name__}"]


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("describe_cluster", {"name": "nowhere"}),
        ("describe_nodegroup", {"clusterName": CLUSTER, "nodegroupName": "nowhere"}),
        ("delete_nodegroup", {"clusterName": CLUSTER, "nodegroupName": "nowhere"}),
    ],
)
def test_errors_are_of_the_same_class_and_status(moto_clients, theirs, cluster, call, arguments):
    outcomes = []
    for eks in (moto_clients["eks"], cluster.client("eks")):
        with pytest.raises(eks.exceptions.ClientError) as caught:
            getattr(eks, call)(**arguments)
        response = caught.value.response
        outcomes.append((type(caught.value).__name__, response["ResponseMetadata"]["HTTPStatusCode"]))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("operation", "key"),
    [
        ("describe_subnets", "Subnets"),
        ("describe_vpcs", "Vpcs"),
        ("describe_security_groups", "SecurityGroups"),
        ("describe_availability_zones", "AvailabilityZones"),
    ],
)
def test_ec2_shows_nothing_that_moto_does_not_know(moto_clients, cluster, operation, key):
    theirs = getattr(moto_clients["ec2"], operation)()[key][0]
    ours = getattr(cluster.client("ec2"), operation)()[key][0]
    newer = {"GroupName", "NetworkBorderGroup", "OptInStatus"}  # Of zones; moto shows them as of 2018.
    assert set(ours) <= set(theirs) | newer
    assert differing_types(ours, theirs, key) == []


def test_caller_identity_has_the_same_fields(moto_clients, rig):
    theirs = moto_clients["sts"].get_caller_identity()
    assert rig.client("sts").get_caller_identity().keys() == theirs.keys()
