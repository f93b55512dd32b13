"""A cluster's life through boto3, as against EKS."""

from __future__ import annotations

import pytest
from aws_rig import CLUSTER, FAST_WAITER, eventually

from pytest_cnimigrate.simulator.aws import NodeGroupSpec


@pytest.fixture
def request_for(rig):
    def make(name=CLUSTER, **more):
        subnets = [subnet.subnet_id for subnet in rig.cloud.vpc.private_subnets()]
        role = "arn:aws:iam::123456789012:role/cluster"
        return {"name": name, "roleArn": role, "resourcesVpcConfig": {"subnetIds": subnets}, **more}

    return make


def test_a_cluster_is_created_becomes_active_and_is_deleted(rig, request_for):
    eks = rig.client("eks")
    created = eks.create_cluster(**request_for(tags={"team": "net"}))["cluster"]
    assert created["status"] == "CREATING"
    assert "endpoint" not in created

    eks.get_waiter("cluster_active").wait(name=CLUSTER, WaiterConfig=FAST_WAITER)
    cluster = eks.describe_cluster(name=CLUSTER)["cluster"]
    assert cluster["status"] == "ACTIVE"
    assert cluster["tags"] == {"team": "net"}
    assert eks.list_clusters()["clusters"] == [CLUSTER]

    assert eks.delete_cluster(name=CLUSTER)["cluster"]["status"] == "DELETING"
    eks.get_waiter("cluster_deleted").wait(name=CLUSTER, WaiterConfig=FAST_WAITER)
    assert eks.list_clusters()["clusters"] == []
    assert rig.cloud.vpc.interfaces == {}


def test_describe_cluster_leads_to_the_embedded_api_server(cluster):
    described = cluster.client("eks").describe_cluster(name=CLUSTER)["cluster"]
    assert described["endpoint"] == "https://127.0.0.1:6443"
    assert described["certificateAuthority"]["data"] == "Y2VydGlmaWNhdGU="


def test_the_control_plane_has_interfaces_in_the_subnets_and_the_cluster_security_group(cluster):
    group = cluster.client("eks").describe_cluster(name=CLUSTER)["cluster"]["resourcesVpcConfig"][
        "clusterSecurityGroupId"
    ]
    interfaces = cluster.client("ec2").describe_network_interfaces(
        Filters=[{"Name": "description", "Values": [f"Amazon EKS {CLUSTER}"]}]
    )["NetworkInterfaces"]
    assert len(interfaces) == 2
    assert all(one["RequesterManaged"] and one["Groups"][0]["GroupId"] == group for one in interfaces)


def test_an_unknown_cluster_is_a_typed_error(rig):
    eks = rig.client("eks")
    with pytest.raises(eks.exceptions.ResourceNotFoundException, match="No cluster found for name: nowhere"):
        eks.describe_cluster(name="nowhere")


def test_a_cluster_with_node_groups_cannot_be_deleted(cluster, create_group):
    create_group("ng-1", desired=0)
    eks = cluster.client("eks")
    with pytest.raises(eks.exceptions.ResourceInUseException, match="nodegroups attached"):
        eks.delete_cluster(name=CLUSTER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1.11"}, "unsupported Kubernetes version 1.11"),
        ({"kubernetesNetworkConfig": {"serviceIpv4Cidr": "10.9.0.0/16"}}, "services are in 10.100.0.0/16"),
        ({"resourcesVpcConfig": {"subnetIds": ["subnet-1", "subnet-2"]}}, "subnet-1' does not exist"),
        ({"name": "under.dot"}, "letters, digits, hyphens"),
        ({"encryptionConfig": []}, "encryptionConfig: .* does not have this parameter"),
    ],
)
def test_what_eks_or_the_simulator_cannot_do_is_refused_by_name(rig, request_for, change, message):
    eks = rig.client("eks")
    with pytest.raises(eks.exceptions.InvalidParameterException, match=message):
        eks.create_cluster(**request_for() | change)


def test_a_second_cluster_is_refused_because_there_is_one_api_server(cluster, request_for):
    eks = cluster.client("eks")
    with pytest.raises(eks.exceptions.ResourceLimitExceededException, match=CLUSTER):
        eks.create_cluster(**request_for("other"))


def test_the_same_name_again_is_refused_but_a_repeated_request_is_not(rig, request_for):
    eks = rig.client("eks")
    first = eks.create_cluster(**request_for(clientRequestToken="once"))["cluster"]
    assert eks.create_cluster(**request_for(clientRequestToken="once"))["cluster"]["arn"] == first["arn"]
    with pytest.raises(eks.exceptions.ResourceInUseException, match="already exists"):
        eks.create_cluster(**request_for())


def test_a_node_group_waits_for_its_cluster_to_be_active(make_rig):
    rig = make_rig(speed=1)  # The cluster stays in CREATING for the test's duration.
    eks = rig.client("eks")
    subnets = [subnet.subnet_id for subnet in rig.cloud.vpc.private_subnets()]
    eks.create_cluster(
        name=CLUSTER, roleArn="arn:aws:iam::1:role/a", resourcesVpcConfig={"subnetIds": subnets}
    )
    with pytest.raises(eks.exceptions.InvalidRequestException, match="not in ACTIVE status"):
        eks.create_nodegroup(
            clusterName=CLUSTER, nodegroupName="ng-1", subnets=subnets, nodeRole="arn:aws:iam::1:role/b"
        )


def test_a_seeded_cluster_comes_up_with_its_groups(rig):
    groups = [NodeGroupSpec("ng-1", desired=3), NodeGroupSpec("ng-cilium", desired=0, maximum=1)]
    rig.call(rig.cloud.seed_cluster, CLUSTER, groups)
    eks = rig.client("eks")
    assert eks.describe_cluster(name=CLUSTER)["cluster"]["status"] == "ACTIVE"
    eventually(
        lambda: eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName="ng-1")["nodegroup"]["status"],
        lambda status: status == "ACTIVE",
    )
    assert len(rig.nodes()) == 3
