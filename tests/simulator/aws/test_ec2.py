"""EC2 as one looks at it during a migration: instances, interfaces, subnets, security groups."""

from __future__ import annotations

import pytest
from aws_rig import eventually
from botocore.exceptions import ClientError

from pytest_cnimigrate.simulator.aws import NodeGroupSpec


@pytest.fixture
def ec2(cluster):
    return cluster.client("ec2")


@pytest.fixture
def instances(cluster, ec2, create_group):
    """Two running instances of ng-1."""
    create_group(desired=2)

    def read():
        filters = [{"Name": "instance-state-name", "Values": ["running"]}]
        pages = ec2.describe_instances(Filters=filters)["Reservations"]
        return [one for reservation in pages for one in reservation["Instances"]]

    return eventually(read, lambda found: len(found) == 2)


def tags(resource):
    return {tag["Key"]: tag["Value"] for tag in resource["Tags"]}


def ids(found):
    return [one["InstanceId"] for reservation in found["Reservations"] for one in reservation["Instances"]]


def test_an_instance_shows_where_it_is_and_whose(cluster, instances):
    one = instances[0]
    assert one["State"] == {"Code": 16, "Name": "running"}
    assert one["PrivateDnsName"] == (
        f"ip-{one['PrivateIpAddress'].replace('.', '-')}.us-west-1.compute.internal"
    )
    assert cluster.node(one["PrivateDnsName"])["spec"]["providerID"].endswith(one["InstanceId"])
    assert tags(one)["eks:nodegroup-name"] == "ng-1"
    (interface,) = one["NetworkInterfaces"]
    assert interface["Attachment"]["DeviceIndex"] == 0
    assert interface["PrivateIpAddress"] == one["PrivateIpAddress"]


@pytest.mark.parametrize(
    "filters",
    [
        lambda one: [{"Name": "instance-id", "Values": [one["InstanceId"]]}],
        lambda one: [{"Name": "private-dns-name", "Values": [one["PrivateDnsName"]]}],
        lambda one: [{"Name": "private-ip-address", "Values": [one["PrivateIpAddress"]]}],
        lambda one: [
            {"Name": "tag:eks:nodegroup-name", "Values": ["ng-?"]},
            {"Name": "availability-zone", "Values": [one["Placement"]["AvailabilityZone"]]},
        ],
        lambda one: [
            {"Name": "tag-key", "Values": ["aws:autoscaling:*"]},
            {"Name": "subnet-id", "Values": [one["SubnetId"], "subnet-0"]},
        ],
    ],
)
def test_instances_are_found_by_the_filters_in_use(ec2, instances, filters):
    assert ids(ec2.describe_instances(Filters=filters(instances[0]))) == [instances[0]["InstanceId"]]


def test_a_filter_that_is_not_simulated_is_an_error_and_not_ignored(ec2):
    with pytest.raises(ClientError, match="The filter 'platform' is invalid"):
        ec2.describe_instances(Filters=[{"Name": "platform", "Values": ["windows"]}])


def test_brackets_in_a_filter_are_plain_characters(ec2, instances):
    pattern = instances[0]["InstanceId"][:-1] + "[0-9a-f]"
    assert ids(ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [pattern]}])) == []


def test_unknown_ids_are_errors_with_the_code_of_ec2(ec2):
    with pytest.raises(ClientError, match="The instance ID 'i-0' does not exist") as caught:
        ec2.describe_instances(InstanceIds=["i-0"])
    assert caught.value.response["Error"]["Code"] == "InvalidInstanceID.NotFound"
    assert caught.value.response["ResponseMetadata"]["RequestId"]


def test_a_terminated_instance_stays_visible_but_loses_its_address(cluster, ec2, instances):
    victim = instances[0]["InstanceId"]
    (change,) = ec2.terminate_instances(InstanceIds=[victim])["TerminatingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "shutting-down")

    def state():
        (reservation,) = ec2.describe_instances(InstanceIds=[victim])["Reservations"]
        return reservation["Instances"][0]

    gone = eventually(state, lambda one: one["State"]["Name"] == "terminated")
    assert "PrivateIpAddress" not in gone
    assert gone["NetworkInterfaces"] == []
    assert cluster.cloud.vpc.interface_with_address(instances[0]["PrivateIpAddress"]) is None


def test_a_dry_run_does_nothing(ec2, instances):
    with pytest.raises(ClientError, match="DryRunOperation"):
        ec2.terminate_instances(InstanceIds=[instances[0]["InstanceId"]], DryRun=True)
    (reservation,) = ec2.describe_instances(InstanceIds=[instances[0]["InstanceId"]])["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "running"


def test_interfaces_of_a_cni_are_found_by_description_tag_and_instance(cluster, ec2, instances):
    one = instances[0]
    group = one["SecurityGroups"][0]["GroupId"]
    created = cluster.call(
        cluster.cloud.vpc.create_network_interface,
        instance_id=one["InstanceId"],
        subnet_id=one["SubnetId"],
        security_group_ids=(group,),
        description=f"Cilium-CNI ({one['InstanceId']})",
        tags={"io.cilium/cilium-managed": "true"},
        secondary_address_count=9,
    )
    for name, value in (
        ("description", "Cilium-CNI*"),
        ("tag:io.cilium/cilium-managed", "true"),
        ("addresses.private-ip-address", created.secondary_addresses[3]),
    ):
        (found,) = ec2.describe_network_interfaces(Filters=[{"Name": name, "Values": [value]}])[
            "NetworkInterfaces"
        ]
        assert found["NetworkInterfaceId"] == created.network_interface_id
    assert found["Attachment"]["InstanceId"] == one["InstanceId"]
    assert [address["Primary"] for address in found["PrivateIpAddresses"]] == [True] + [False] * 9
    assert found["Groups"][0]["GroupId"] == group
    both = ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [one["InstanceId"]]}]
    )["NetworkInterfaces"]
    assert len(both) == 2


def test_free_addresses_of_a_subnet_are_counted(cluster, ec2, instances):
    def free(subnet_id):
        (subnet,) = ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
        return subnet["AvailableIpAddressCount"]

    one = instances[0]
    before = free(one["SubnetId"])
    # /19 without the five addresses of AWS, one of the control plane's, one of the instance.
    assert before == 8192 - 5 - 2
    (interface,) = one["NetworkInterfaces"]
    cluster.call(cluster.cloud.vpc.assign_private_ip_addresses, interface["NetworkInterfaceId"], 4)
    assert free(one["SubnetId"]) == before - 4


def test_interfaces_can_leak_and_are_cleaned_up_by_hand(cluster, ec2, instances):
    one = instances[0]
    cluster.call(
        cluster.cloud.vpc.create_network_interface,
        instance_id=one["InstanceId"],
        subnet_id=one["SubnetId"],
        security_group_ids=(one["SecurityGroups"][0]["GroupId"],),
        description="aws-K8S-test",
        tags={},
        secondary_address_count=0,
    )
    available = [{"Name": "status", "Values": ["available"]}]
    (in_use,) = ec2.describe_network_interfaces(Filters=[{"Name": "description", "Values": ["aws-K8S-*"]}])[
        "NetworkInterfaces"
    ]
    with pytest.raises(ClientError, match="is currently in use"):
        ec2.delete_network_interface(NetworkInterfaceId=in_use["NetworkInterfaceId"])

    cluster.faults.activate("instance-termination-leaks-interfaces")
    ec2.terminate_instances(InstanceIds=[one["InstanceId"]])
    (leaked,) = eventually(
        lambda: ec2.describe_network_interfaces(Filters=available)["NetworkInterfaces"], len
    )
    assert leaked["Description"] == "aws-K8S-test"
    assert "Attachment" not in leaked
    ec2.delete_network_interface(NetworkInterfaceId=leaked["NetworkInterfaceId"])
    assert ec2.describe_network_interfaces(Filters=available)["NetworkInterfaces"] == []


def test_the_vpc_is_laid_out_as_eksctl_does(ec2):
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    assert vpc["CidrBlock"] == "192.168.0.0/16"
    private = ec2.describe_subnets(Filters=[{"Name": "tag:kubernetes.io/role/internal-elb", "Values": ["1"]}])
    assert {one["AvailabilityZone"] for one in private["Subnets"]} == {"us-west-1a", "us-west-1b"}
    for subnet in private["Subnets"]:
        (table,) = ec2.describe_route_tables(
            Filters=[{"Name": "association.subnet-id", "Values": [subnet["SubnetId"]]}]
        )["RouteTables"]
        assert [route["DestinationCidrBlock"] for route in table["Routes"]] == ["192.168.0.0/16", "0.0.0.0/0"]
        assert table["Routes"][1]["NatGatewayId"].startswith("nat-")
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [zone["ZoneId"] for zone in zones] == ["usw1-az1", "usw1-az2"]


def test_nodes_share_the_cluster_security_group(cluster, ec2, instances):
    group_id = instances[0]["SecurityGroups"][0]["GroupId"]
    (group,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    assert group["GroupName"].startswith("eks-cluster-sg-dc-migrate-")
    (rule,) = group["IpPermissions"]
    assert rule["IpProtocol"] == "-1"
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [group_id]
    assert {one["SecurityGroups"][0]["GroupId"] for one in instances} == {group_id}


def test_instance_types_tell_their_interface_limits(ec2):
    (kind,) = ec2.describe_instance_types(InstanceTypes=["m5.large"])["InstanceTypes"]
    assert kind["NetworkInfo"]["MaximumNetworkInterfaces"] == 3
    assert kind["NetworkInfo"]["Ipv4AddressesPerInterface"] == 10
    with pytest.raises(ClientError, match="InvalidInstanceType"):
        ec2.describe_instance_types(InstanceTypes=["p5.48xlarge"])  # Exists, but not here.
    with pytest.raises(ClientError, match=r"'z9\.huge' is not one of the"):
        ec2.describe_instance_types(InstanceTypes=["z9.huge"])


def test_tags_can_be_written_and_read_back(ec2, instances):
    one = instances[0]["InstanceId"]
    subnet = instances[0]["SubnetId"]
    interface = instances[0]["NetworkInterfaces"][0]["NetworkInterfaceId"]
    ec2.create_tags(Resources=[one, subnet, interface], Tags=[{"Key": "phase", "Value": "3"}])
    found = ec2.describe_tags(Filters=[{"Name": "key", "Values": ["phase"]}])["Tags"]
    assert {(tag["ResourceId"], tag["ResourceType"]) for tag in found} == {
        (one, "instance"),
        (subnet, "subnet"),
        (interface, "network-interface"),
    }
    with pytest.raises(ClientError, match="reserved for internal use"):
        ec2.create_tags(Resources=[one], Tags=[{"Key": "aws:x", "Value": ""}])


def test_names_in_us_east_1_have_the_domain_of_old(make_rig):
    rig = make_rig(region="us-east-1")
    rig.call(rig.cloud.seed_cluster, "c", [NodeGroupSpec("ng", desired=1)])
    (node,) = eventually(rig.nodes, len)
    assert node["metadata"]["name"].endswith(".ec2.internal")
