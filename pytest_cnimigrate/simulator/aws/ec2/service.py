"""The EC2 operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pytest_cnimigrate.simulator.aws.ec2.descriptions import Descriptions
from pytest_cnimigrate.simulator.aws.ec2.filters import Collection, page
from pytest_cnimigrate.simulator.aws.ec2.tags import Tag, TagStore
from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.instance_types import INSTANCE_TYPES, InstanceType
from pytest_cnimigrate.simulator.aws.instances import STATE_CODES, Ec2Instance, Instances
from pytest_cnimigrate.simulator.aws.operations import Parameters, Result, operation
from pytest_cnimigrate.simulator.aws.security_groups import SecurityGroup
from pytest_cnimigrate.simulator.aws.settings import AwsSettings
from pytest_cnimigrate.simulator.aws.subnets import Subnet
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.cloud import NetworkInterface

_PAGING = ("DryRun", "Filters", "MaxResults", "NextToken")

_SUBNETS = Collection[Subnet](
    id_of=lambda one: one.subnet_id,
    not_found=("InvalidSubnetID.NotFound", "The subnet ID '{}' does not exist"),
    filters={
        "subnet-id": lambda one: [one.subnet_id],
        "vpc-id": lambda one: [one.vpc_id],
        "availability-zone": lambda one: [one.availability_zone],
        "availability-zone-id": lambda one: [one.availability_zone_id],
        "cidr-block": lambda one: [one.cidr],
        "map-public-ip-on-launch": lambda one: [str(one.public).lower()],
        "state": lambda one: ["available"],
    },
    tags_of=lambda one: one.tags,
)
_SECURITY_GROUPS = Collection[SecurityGroup](
    id_of=lambda one: one.group_id,
    not_found=("InvalidGroup.NotFound", "The security group '{}' does not exist"),
    filters={
        "group-id": lambda one: [one.group_id],
        "group-name": lambda one: [one.name],
        "vpc-id": lambda one: [one.vpc_id],
        "description": lambda one: [one.description],
    },
    tags_of=lambda one: one.tags,
)
_INSTANCE_TYPES = Collection[InstanceType](
    id_of=lambda one: one.name,
    not_found=("InvalidInstanceType", "The following supplied instance types do not exist: [{}]"),
    filters={
        "instance-type": lambda one: [one.name],
        "current-generation": lambda one: ["true"],
        "processor-info.supported-architecture": lambda one: ["x86_64"],
        "vcpu-info.default-vcpus": lambda one: [str(one.vcpus)],
    },
)
_TAGS = Collection[Tag](
    id_of=lambda one: f"{one.resource_id} {one.key}",
    not_found=("InvalidID", "{}"),
    filters={
        "resource-id": lambda one: [one.resource_id],
        "resource-type": lambda one: [one.resource_type],
        "key": lambda one: [one.key],
        "value": lambda one: [one.value],
    },
)
_ZONES = Collection[str](
    id_of=lambda zone: zone,
    not_found=("InvalidParameterValue", "Invalid availability zone: [{}]"),
    filters={
        "zone-name": lambda zone: [zone],
        "state": lambda zone: ["available"],
        "zone-type": lambda zone: ["availability-zone"],
        "opt-in-status": lambda zone: ["opt-in-not-required"],
    },
)


class Ec2:
    """EC2's operations over the VPC and the instances."""

    def __init__(self, settings: AwsSettings, *, vpc: VpcModel, instances: Instances) -> None:
        self._settings = settings
        self._vpc = vpc
        self._instances = instances
        self._tags = TagStore(vpc, instances)
        self._show = Descriptions(settings, vpc)
        self._instance_collection = Collection[Ec2Instance](
            id_of=lambda one: one.instance_id,
            not_found=("InvalidInstanceID.NotFound", "The instance ID '{}' does not exist"),
            filters={
                "instance-id": lambda one: [one.instance_id],
                "instance-state-name": lambda one: [one.state],
                "instance-state-code": lambda one: [str(STATE_CODES[one.state])],
                "instance-type": lambda one: [one.type.name],
                "availability-zone": lambda one: [one.availability_zone],
                "private-dns-name": lambda one: [] if one.state == "terminated" else [one.private_dns_name],
                "private-ip-address": lambda one: [] if one.state == "terminated" else [one.private_ip],
                "subnet-id": lambda one: [one.subnet_id],
                "vpc-id": lambda one: [vpc.vpc_id],
                "image-id": lambda one: [one.image_id],
                "instance.group-id": lambda one: one.security_group_ids,
            },
            tags_of=lambda one: one.tags,
        )
        self._interface_collection = Collection[NetworkInterface](
            id_of=lambda one: one.network_interface_id,
            not_found=("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '{}' does not exist"),
            filters={
                "network-interface-id": lambda one: [one.network_interface_id],
                "attachment.instance-id": lambda one: [one.instance_id] if one.instance_id else [],
                "attachment.device-index": lambda one: [str(one.device_index)],
                "description": lambda one: [one.description],
                "group-id": lambda one: one.security_group_ids,
                "mac-address": lambda one: [one.mac_address],
                "private-ip-address": lambda one: [one.private_ip_address],
                "addresses.private-ip-address": lambda one: [
                    one.private_ip_address,
                    *one.secondary_addresses,
                ],
                "status": lambda one: [
                    "in-use" if one.network_interface_id in vpc.attachments else "available"
                ],
                "subnet-id": lambda one: [one.subnet_id],
                "vpc-id": lambda one: [one.vpc_id],
                "availability-zone": lambda one: [one.availability_zone],
            },
            tags_of=lambda one: one.tags,
        )

    @operation("DescribeInstances", "InstanceIds", *_PAGING)
    async def describe_instances(self, given: Parameters) -> Result:
        found = self._instance_collection.select(
            self._instances.all(), ids=given.get("InstanceIds", ()), filters=_filters(given)
        )
        shown, token = page(given, found)
        return {
            # A reservation per instance, as Auto Scaling launches them one by one.
            "Reservations": [
                {
                    "ReservationId": one.instance_id.replace("i-", "r-"),
                    "OwnerId": self._settings.account,
                    "Groups": [],
                    "Instances": [self._show.instance(one)],
                }
                for one in shown
            ],
            "NextToken": token,
        }

    @operation("TerminateInstances", "InstanceIds", "DryRun")
    async def terminate_instances(self, given: Parameters) -> Result:
        chosen = self._instance_collection.select(self._instances.all(), ids=given["InstanceIds"])
        _stop_if_dry_run(given)
        changes = []
        for one in chosen:
            before = one.state
            await self._instances.terminate(one, "User initiated")
            changes.append(
                {
                    "InstanceId": one.instance_id,
                    "PreviousState": self._show.instance_state(before),
                    "CurrentState": self._show.instance_state(one.state),
                }
            )
        return {"TerminatingInstances": changes}

    @operation("DescribeNetworkInterfaces", "NetworkInterfaceIds", *_PAGING)
    async def describe_network_interfaces(self, given: Parameters) -> Result:
        found = self._interface_collection.select(
            self._vpc.interfaces.values(), ids=given.get("NetworkInterfaceIds", ()), filters=_filters(given)
        )
        shown, token = page(given, found)
        return {"NetworkInterfaces": [self._show.interface(one) for one in shown], "NextToken": token}

    @operation("DeleteNetworkInterface", "NetworkInterfaceId", "DryRun")
    async def delete_network_interface(self, given: Parameters) -> Result:
        interface = self._vpc.interface(given["NetworkInterfaceId"])
        _stop_if_dry_run(given)
        if interface.network_interface_id in self._vpc.attachments:
            raise AwsError(
                "InvalidParameterValue",
                f"Network interface '{interface.network_interface_id}' is currently in use.",
            )
        self._vpc.delete_network_interface(interface.network_interface_id)
        return {}

    @operation("DescribeSubnets", "SubnetIds", *_PAGING)
    async def describe_subnets(self, given: Parameters) -> Result:
        found = _SUBNETS.select(
            self._vpc.subnets.values(), ids=given.get("SubnetIds", ()), filters=_filters(given)
        )
        shown, token = page(given, found)
        return {"Subnets": [self._show.subnet(one) for one in shown], "NextToken": token}

    @operation("DescribeVpcs", "VpcIds", *_PAGING)
    async def describe_vpcs(self, given: Parameters) -> Result:
        collection = Collection[VpcModel](
            id_of=lambda one: one.vpc_id,
            not_found=("InvalidVpcID.NotFound", "The vpc ID '{}' does not exist"),
            filters={
                "vpc-id": lambda one: [one.vpc_id],
                "cidr": lambda one: [one.cidr],
                "state": lambda one: ["available"],
                "is-default": lambda one: ["false"],
            },
            tags_of=lambda one: one.tags,
        )
        found = collection.select([self._vpc], ids=given.get("VpcIds", ()), filters=_filters(given))
        return {"Vpcs": [self._show.vpc() for _ in found]}

    @operation("DescribeSecurityGroups", "GroupIds", *_PAGING)
    async def describe_security_groups(self, given: Parameters) -> Result:
        found = _SECURITY_GROUPS.select(
            self._vpc.security_groups.values(), ids=given.get("GroupIds", ()), filters=_filters(given)
        )
        shown, token = page(given, found)
        return {"SecurityGroups": [self._show.security_group(one) for one in shown], "NextToken": token}

    @operation("DescribeRouteTables", "RouteTableIds", *_PAGING)
    async def describe_route_tables(self, given: Parameters) -> Result:
        tables: dict[str, list[Subnet]] = defaultdict(list)
        for subnet in self._vpc.subnets.values():
            tables[subnet.route_table_id].append(subnet)
        collection = Collection[str](
            id_of=lambda table: table,
            not_found=("InvalidRouteTableID.NotFound", "The routeTable ID '{}' does not exist"),
            filters={
                "route-table-id": lambda table: [table],
                "vpc-id": lambda table: [self._vpc.vpc_id],
                "association.subnet-id": lambda table: [subnet.subnet_id for subnet in tables[table]],
            },
        )
        found = collection.select(tables, ids=given.get("RouteTableIds", ()), filters=_filters(given))
        shown, token = page(given, found)
        return {
            "RouteTables": [self._show.route_table(table, tables[table]) for table in shown],
            "NextToken": token,
        }

    @operation("DescribeAvailabilityZones", "ZoneNames", "Filters", "DryRun", "AllAvailabilityZones")
    async def describe_availability_zones(self, given: Parameters) -> Result:
        found = _ZONES.select(self._vpc.zones, ids=given.get("ZoneNames", ()), filters=_filters(given))
        return {"AvailabilityZones": [self._show.availability_zone(zone) for zone in found]}

    @operation("DescribeInstanceTypes", "InstanceTypes", *_PAGING)
    async def describe_instance_types(self, given: Parameters) -> Result:
        found = _INSTANCE_TYPES.select(
            INSTANCE_TYPES.values(), ids=given.get("InstanceTypes", ()), filters=_filters(given)
        )
        shown, token = page(given, found)
        return {"InstanceTypes": [self._show.instance_type(one) for one in shown], "NextToken": token}

    @operation("DescribeTags", *_PAGING)
    async def describe_tags(self, given: Parameters) -> Result:
        shown, token = page(given, _TAGS.select(self._tags.all(), filters=_filters(given)))
        return {
            "Tags": [
                {
                    "Key": tag.key,
                    "ResourceId": tag.resource_id,
                    "ResourceType": tag.resource_type,
                    "Value": tag.value,
                }
                for tag in shown
            ],
            "NextToken": token,
        }

    @operation("CreateTags", "Resources", "Tags", "DryRun")
    async def create_tags(self, given: Parameters) -> Result:
        tags = {tag["Key"]: tag.get("Value", "") for tag in given["Tags"]}
        reserved = [key for key in tags if key.startswith("aws:")]
        if reserved:
            raise AwsError(
                "InvalidParameterValue",
                f"Tag keys starting with 'aws:' are reserved for internal use: {', '.join(reserved)}",
            )
        _stop_if_dry_run(given)
        for resource_id in given["Resources"]:
            self._tags.write(resource_id, tags)
        return {}


def _filters(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The request's filters, and the place where a dry run of something that only reads ends."""
    _stop_if_dry_run(given)
    return list(given.get("Filters", ()))


def _stop_if_dry_run(given: Mapping[str, Any]) -> None:
    if given.get("DryRun"):
        raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)
