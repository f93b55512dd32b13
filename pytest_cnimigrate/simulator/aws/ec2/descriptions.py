"""Resources as EC2's Describe operations show them."""

from __future__ import annotations

from pytest_cnimigrate.simulator.aws.ec2.tags import wire_tags
from pytest_cnimigrate.simulator.aws.instance_types import InstanceType
from pytest_cnimigrate.simulator.aws.instances import STATE_CODES, Ec2Instance
from pytest_cnimigrate.simulator.aws.operations import Result
from pytest_cnimigrate.simulator.aws.security_groups import ANY_PROTOCOL, Rule, SecurityGroup
from pytest_cnimigrate.simulator.aws.settings import AwsSettings
from pytest_cnimigrate.simulator.aws.subnets import Subnet
from pytest_cnimigrate.simulator.aws.topology import private_dns_name
from pytest_cnimigrate.simulator.aws.vpc import Attachment, VpcModel
from pytest_cnimigrate.simulator.cloud import NetworkInterface


class Descriptions:
    """Knows the names around a resource that its own record does not hold: account, group names, …"""

    def __init__(self, settings: AwsSettings, vpc: VpcModel) -> None:
        self._settings = settings
        self._vpc = vpc

    def instance_state(self, state: str) -> Result:
        return {"Code": STATE_CODES[state], "Name": state}

    def instance(self, one: Ec2Instance) -> Result:
        terminated = one.state == "terminated"  # Then it has lost its place in the network.
        return {
            "InstanceId": one.instance_id,
            "ImageId": one.image_id,
            "State": self.instance_state(one.state),
            "StateTransitionReason": one.transition_reason,
            "PrivateDnsName": "" if terminated else one.private_dns_name,
            "PublicDnsName": "",
            "PrivateIpAddress": None if terminated else one.private_ip,
            "AmiLaunchIndex": 0,
            "InstanceType": one.type.name,
            "LaunchTime": one.launch_time,
            "Placement": {
                "AvailabilityZone": one.availability_zone,
                "GroupName": "",
                "Tenancy": "default",
            },
            "Monitoring": {"State": "disabled"},
            "SubnetId": None if terminated else one.subnet_id,
            "VpcId": None if terminated else self._vpc.vpc_id,
            "Architecture": "x86_64",
            "EbsOptimized": False,
            "EnaSupport": True,
            "Hypervisor": "xen",
            "NetworkInterfaces": [
                self._instance_interface(interface) for interface in self._vpc.interfaces_of(one.instance_id)
            ],
            "RootDeviceName": "/dev/xvda",
            "RootDeviceType": "ebs",
            "SecurityGroups": [] if terminated else self._group_names(one.security_group_ids),
            "SourceDestCheck": True,
            "Tags": wire_tags(one.tags),
            "VirtualizationType": "hvm",
        }

    def interface(self, one: NetworkInterface) -> Result:
        attachment = self._vpc.attachments.get(one.network_interface_id)
        service = attachment.service if attachment else ""
        return {
            "Attachment": self._attachment(one, attachment) if attachment else None,
            "AvailabilityZone": one.availability_zone,
            "Description": one.description,
            "Groups": self._group_names(one.security_group_ids),
            "InterfaceType": "interface",
            "Ipv6Addresses": [],
            "MacAddress": one.mac_address,
            "NetworkInterfaceId": one.network_interface_id,
            "OwnerId": self._settings.account,
            "PrivateDnsName": private_dns_name(self._vpc.region, one.private_ip_address),
            "PrivateIpAddress": one.private_ip_address,
            "PrivateIpAddresses": self._addresses(one),
            "RequesterId": service or None,
            "RequesterManaged": bool(service),
            "SourceDestCheck": True,
            "Status": "in-use" if attachment else "available",
            "SubnetId": one.subnet_id,
            "TagSet": wire_tags(one.tags),
            "VpcId": one.vpc_id,
        }

    def subnet(self, one: Subnet) -> Result:
        account = self._settings.account
        return {
            "AvailabilityZone": one.availability_zone,
            "AvailabilityZoneId": one.availability_zone_id,
            "AvailableIpAddressCount": one.available,
            "CidrBlock": one.cidr,
            "DefaultForAz": False,
            "MapPublicIpOnLaunch": one.public,
            "State": "available",
            "SubnetId": one.subnet_id,
            "VpcId": one.vpc_id,
            "OwnerId": account,
            "AssignIpv6AddressOnCreation": False,
            "Ipv6CidrBlockAssociationSet": [],
            "Tags": wire_tags(one.tags),
            "SubnetArn": f"arn:aws:ec2:{self._settings.region}:{account}:subnet/{one.subnet_id}",
        }

    def vpc(self) -> Result:
        return {
            "CidrBlock": self._vpc.cidr,
            "State": "available",
            "VpcId": self._vpc.vpc_id,
            "OwnerId": self._settings.account,
            "InstanceTenancy": "default",
            "CidrBlockAssociationSet": [
                {
                    "AssociationId": self._vpc.vpc_id.replace("vpc-", "vpc-cidr-assoc-"),
                    "CidrBlock": self._vpc.cidr,
                    "CidrBlockState": {"State": "associated"},
                }
            ],
            "IsDefault": False,
            "Tags": wire_tags(self._vpc.tags),
        }

    def security_group(self, one: SecurityGroup) -> Result:
        return {
            "GroupId": one.group_id,
            "GroupName": one.name,
            "Description": one.description,
            "VpcId": one.vpc_id,
            "OwnerId": self._settings.account,
            "IpPermissions": [self._rule(rule) for rule in one.ingress],
            "IpPermissionsEgress": [self._rule(rule) for rule in one.egress],
            "Tags": wire_tags(one.tags),
        }

    def route_table(self, table_id: str, subnets: list[Subnet]) -> Result:
        routes: list[Result] = [
            {
                "DestinationCidrBlock": self._vpc.cidr,
                "GatewayId": "local",
                "Origin": "CreateRouteTable",
                "State": "active",
            }
        ]
        way_out = (
            {"GatewayId": self._vpc.internet_gateway_id}
            if subnets[0].public
            else {"NatGatewayId": self._vpc.nat_gateway_id}
        )
        if subnets[0].public or self._vpc.nat:
            routes.append(
                {"DestinationCidrBlock": "0.0.0.0/0", "Origin": "CreateRoute", "State": "active", **way_out}
            )
        return {
            "RouteTableId": table_id,
            "VpcId": self._vpc.vpc_id,
            "OwnerId": self._settings.account,
            "Associations": [
                {
                    "Main": False,
                    "RouteTableAssociationId": subnet.subnet_id.replace("subnet-", "rtbassoc-"),
                    "RouteTableId": table_id,
                    "SubnetId": subnet.subnet_id,
                    "AssociationState": {"State": "associated"},
                }
                for subnet in subnets
            ],
            "PropagatingVgws": [],
            "Routes": routes,
            "Tags": [],
        }

    def availability_zone(self, zone: str) -> Result:
        return {
            "State": "available",
            "OptInStatus": "opt-in-not-required",
            "Messages": [],
            "RegionName": self._settings.region,
            "ZoneName": zone,
            "ZoneId": self._vpc.zone_id(zone),
            "GroupName": self._settings.region,
            "NetworkBorderGroup": self._settings.region,
            "ZoneType": "availability-zone",
        }

    def instance_type(self, one: InstanceType) -> Result:
        return {
            "InstanceType": one.name,
            "CurrentGeneration": True,
            "BareMetal": False,
            "Hypervisor": "nitro",
            "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
            "VCpuInfo": {"DefaultVCpus": one.vcpus},
            "MemoryInfo": {"SizeInMiB": one.memory_mib},
            "NetworkInfo": {
                "MaximumNetworkInterfaces": one.max_interfaces,
                "MaximumNetworkCards": 1,
                "DefaultNetworkCardIndex": 0,
                "NetworkCards": [
                    {"NetworkCardIndex": 0, "MaximumNetworkInterfaces": one.max_interfaces},
                ],
                "Ipv4AddressesPerInterface": one.addresses_per_interface,
                "Ipv6AddressesPerInterface": one.addresses_per_interface,
                "Ipv6Supported": True,
                "EnaSupport": "required",
            },
        }

    # Parts

    def _instance_interface(self, one: NetworkInterface) -> Result:
        attachment = self._vpc.attachments[one.network_interface_id]
        described = self._attachment(one, attachment)
        for redundant in ("InstanceId", "InstanceOwnerId"):
            del described[redundant]
        shown = self.interface(one)
        names = [
            *("Description", "Groups", "InterfaceType", "Ipv6Addresses", "MacAddress"),
            *("NetworkInterfaceId", "OwnerId", "PrivateDnsName", "PrivateIpAddress"),
            *("PrivateIpAddresses", "SourceDestCheck", "Status", "SubnetId", "VpcId"),
        ]
        return {"Attachment": described} | {name: shown[name] for name in names}

    def _attachment(self, one: NetworkInterface, attachment: Attachment) -> Result:
        return {
            "AttachmentId": attachment.attachment_id,
            "AttachTime": attachment.attach_time,
            "DeleteOnTermination": attachment.delete_on_termination,
            "DeviceIndex": one.device_index,
            "NetworkCardIndex": 0,
            "InstanceId": one.instance_id or None,
            "InstanceOwnerId": attachment.service or self._settings.account,
            "Status": "attached",
        }

    def _addresses(self, one: NetworkInterface) -> list[Result]:
        return [
            {
                "Primary": address == one.private_ip_address,
                "PrivateDnsName": private_dns_name(self._vpc.region, address),
                "PrivateIpAddress": address,
            }
            for address in (one.private_ip_address, *one.secondary_addresses)
        ]

    def _group_names(self, group_ids: tuple[str, ...]) -> list[Result]:
        return [
            {"GroupId": group_id, "GroupName": self._vpc.security_groups[group_id].name}
            for group_id in group_ids
        ]

    def _rule(self, rule: Rule) -> Result:
        ports = rule.protocol != ANY_PROTOCOL
        return {
            "IpProtocol": rule.protocol,
            "FromPort": rule.from_port if ports else None,
            "ToPort": rule.to_port if ports else None,
            "UserIdGroupPairs": [
                {"GroupId": group_id, "UserId": self._settings.account} for group_id in rule.group_ids
            ],
            "IpRanges": [{"CidrIp": cidr} for cidr in rule.cidrs],
            "Ipv6Ranges": [],
            "PrefixListIds": [],
        }
