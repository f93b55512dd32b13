"""The VPC as CNIs use it: limits of types, exhausted subnets, and who reaches whom."""

from __future__ import annotations

import ipaddress

import pytest

from pytest_cnimigrate.simulator.aws.instance_types import INSTANCE_TYPES
from pytest_cnimigrate.simulator.aws.security_groups import Rule
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.cloud import CloudError, Vpc


class World:
    """A VPC with one security group whose members reach each other."""

    def __init__(self, **options):
        self.vpc = VpcModel(**options)
        self.group = self.vpc.create_security_group("nodes", "")
        self.vpc.security_group(self.group).ingress.append(Rule(group_ids=(self.group,)))
        self.subnet = self.vpc.private_subnets()[0].subnet_id

    def instance(self, name, *, kind="m5.large", subnet="", group=""):
        return self.vpc.add_instance(
            name, kind, subnet_id=subnet or self.subnet, security_group_ids=(group or self.group,)
        )

    def attach(self, instance, count=0, **more):
        return self.vpc.create_network_interface(
            instance_id=instance,
            subnet_id=self.subnet,
            security_group_ids=(self.group,),
            description="",
            tags={},
            secondary_address_count=count,
            **more,
        )


@pytest.fixture
def world():
    return World()


def test_the_model_serves_what_cnis_ask_for(world):
    vpc: Vpc = world.vpc  # Held by mypy too; here: no method is missing.
    for name in dir(Vpc):
        if not name.startswith("_"):
            assert callable(getattr(vpc, name))


@pytest.mark.parametrize(
    ("kind", "pods"),
    [
        # https://github.com/awslabs/amazon-eks-ami/blob/main/templates/shared/runtime/eni-max-pods.txt
        ("t3.small", 11),
        ("t3.medium", 17),
        ("t3.large", 35),
        ("m5.large", 29),
        ("m5.xlarge", 58),
        ("m5.4xlarge", 234),
        ("c5.9xlarge", 234),
        ("r5.24xlarge", 737),
    ],
)
def test_max_pods_follow_the_interface_limits_of_the_type(kind, pods):
    assert INSTANCE_TYPES[kind].max_pods == pods


def test_interfaces_are_attached_in_device_order_up_to_the_limit_of_the_type(world):
    first = world.instance("i-1")
    second, third = world.attach("i-1"), world.attach("i-1")
    assert world.vpc.interfaces_of("i-1") == [first, second, third]
    assert [one.device_index for one in world.vpc.interfaces_of("i-1")] == [0, 1, 2]
    with pytest.raises(CloudError, match="AttachmentLimitExceeded: Interface count 4 exceeds the limit"):
        world.attach("i-1")
    world.vpc.delete_network_interface(second.network_interface_id)
    assert world.attach("i-1").device_index == 1


def test_addresses_per_interface_are_limited_by_the_type(world):
    interface = world.instance("i-1")
    world.vpc.assign_private_ip_addresses(interface.network_interface_id, 9)
    with pytest.raises(CloudError, match="PrivateIpAddressLimitExceeded"):
        world.vpc.assign_private_ip_addresses(interface.network_interface_id, 1)
    with pytest.raises(CloudError, match="PrivateIpAddressLimitExceeded"):
        world.attach("i-1", 10)
    assert len(world.attach("i-1", 9).secondary_addresses) == 9


def test_a_full_subnet_gives_nothing_and_what_is_freed_can_be_had_again():
    world = World(subnet_prefix=28)
    subnet = world.vpc.subnet(world.subnet)
    world.instance("i-1", kind="m5.4xlarge")
    interface = world.attach("i-1", 9)
    assert subnet.available == 0
    with pytest.raises(CloudError, match="InsufficientFreeAddressesInSubnet"):
        world.attach("i-1")
    with pytest.raises(CloudError, match="InsufficientFreeAddressesInSubnet"):
        world.instance("i-2")
    assert world.vpc.interfaces_of("i-2") == []
    world.vpc.delete_network_interface(interface.network_interface_id)
    assert subnet.available == 10
    assert world.attach("i-1", 9)


def test_a_request_that_does_not_fit_takes_no_address():
    world = World(subnet_prefix=28)
    world.instance("i-1", kind="m5.4xlarge")
    with pytest.raises(CloudError):
        world.attach("i-1", 20)
    assert world.vpc.subnet(world.subnet).available == 10


def test_addresses_are_in_their_subnet_and_none_is_reserved_or_given_twice():
    world = World(subnet_prefix=26)
    world.instance("i-1", kind="m5.24xlarge")
    interface = world.attach("i-1", 49)
    network = ipaddress.IPv4Network(world.vpc.subnet_cidr(world.subnet))
    given = {one.private_ip_address for one in world.vpc.interfaces_of("i-1")}
    given |= set(interface.secondary_addresses)
    assert len(given) == 51
    hosts = list(network)
    assert {ipaddress.IPv4Address(address) for address in given} <= set(hosts[4:-1])


def test_an_address_leads_to_its_interface_and_instance(world):
    world.instance("i-1")
    interface = world.attach("i-1", 2)
    for address in (interface.private_ip_address, *interface.secondary_addresses):
        assert world.vpc.interface_with_address(address) == interface
        assert world.vpc.instance_with_address(address) == "i-1"
    world.vpc.remove_instance("i-1")
    assert world.vpc.interface_with_address(interface.private_ip_address) is None
    assert world.vpc.interfaces == {}


def test_the_primary_interface_cannot_be_detached(world):
    first = world.instance("i-1")
    with pytest.raises(CloudError, match="OperationNotPermitted"):
        world.vpc.delete_network_interface(first.network_interface_id)


def test_members_of_a_self_referencing_group_reach_each_other(world):
    one, other = world.instance("i-1"), world.instance("i-2")
    assert world.vpc.admits(one.private_ip_address, other.private_ip_address, 8080)
    pod = world.attach("i-2", 1).secondary_addresses[0]
    assert world.vpc.admits(one.private_ip_address, pod, 8080)


def test_a_group_can_be_open_in_one_direction_only(world):
    closed = world.vpc.create_security_group("closed", "")
    world.vpc.security_group(world.group).ingress.append(Rule(group_ids=(closed,)))
    old, new = world.instance("i-1"), world.instance("i-2", group=closed)
    assert world.vpc.admits(new.private_ip_address, old.private_ip_address, 80)
    assert not world.vpc.admits(old.private_ip_address, new.private_ip_address, 80)
    reason = world.vpc.why_not(old.private_ip_address, new.private_ip_address, 80)
    assert reason == (
        f"no ingress rule of {closed} on {new.network_interface_id} admits tcp/80 "
        f"from {old.private_ip_address}"
    )


def test_rules_look_at_port_protocol_and_address(world):
    web = world.vpc.create_security_group("web", "")
    source = world.instance("i-1").private_ip_address
    target = world.instance("i-2", group=web).private_ip_address
    world.vpc.security_group(web).ingress.append(Rule("tcp", 80, 443, cidrs=(f"{source}/32",)))
    assert world.vpc.admits(source, target, 80)
    assert world.vpc.admits(source, target, 443)
    assert not world.vpc.admits(source, target, 444)
    assert not world.vpc.admits(source, target, 80, "udp")
    world.vpc.security_group(world.group).egress.clear()
    assert "no egress rule" in world.vpc.why_not(source, target, 80)


def test_traffic_within_an_instance_is_not_looked_at(world):
    lonely = world.vpc.create_security_group("lonely", "")
    first = world.instance("i-1", group=lonely)
    second = world.attach("i-1", 1)
    world.vpc.security_group(lonely).egress.clear()
    assert world.vpc.admits(first.private_ip_address, second.secondary_addresses[0], 80)


def test_an_address_without_an_attached_interface_neither_sends_nor_receives(world):
    one = world.instance("i-1")
    leaked = world.instance("i-2")
    world.attach("i-2")
    extra = world.vpc.interfaces_of("i-2")[1]
    world.vpc.remove_instance("i-2", leak_secondary=True)
    for address in (leaked.private_ip_address, extra.private_ip_address):
        assert "no attached interface" in world.vpc.why_not(one.private_ip_address, address, 80)
        assert "no attached interface" in world.vpc.why_not(address, one.private_ip_address, 80)
    assert extra.network_interface_id in world.vpc.interfaces


def test_from_private_subnets_everything_goes_out_by_nat_if_there_is_one():
    for nat in (True, False):
        world = World(nat=nat)
        world.instance("i-1")
        pod = world.attach("i-1", 1).secondary_addresses[0]
        assert world.vpc.admits(pod, "1.1.1.1", 443) is nat
        assert world.vpc.has_nat_gateway(world.subnet) is nat


def test_from_public_subnets_only_the_primary_address_of_an_instance_goes_out():
    """Failure mode 26: without masquerading, pods in public subnets have no internet."""
    world = World()
    public = next(one.subnet_id for one in world.vpc.subnets.values() if one.public)
    first = world.instance("i-1", subnet=public)
    (pod,) = world.vpc.assign_private_ip_addresses(first.network_interface_id, 1)
    assert world.vpc.admits(first.private_ip_address, "1.1.1.1", 443)
    assert "has no public address" in world.vpc.why_not(pod, "1.1.1.1", 443)


def test_two_accounts_with_the_same_seed_are_alike():
    one, other = World(seed=7), World(seed=7)
    assert one.instance("i-1") == other.instance("i-1")
    assert World(seed=8).instance("i-1") != one.instance("i-2")
