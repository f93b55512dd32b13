"""What of the VPC does not change while nodes come and go: zones, subnets, gateways, security groups.

Laid out as eksctl does: two zones, a public and a private subnet in each, one address block for all.
"""

from __future__ import annotations

import ipaddress
import random

from pytest_cnimigrate.simulator.aws.security_groups import SecurityGroup
from pytest_cnimigrate.simulator.aws.subnets import Subnet
from pytest_cnimigrate.simulator.cloud import CloudError


def private_dns_name(region: str, address: str) -> str:
    """The instance's name by its address; us-east-1 kept the domain from before regions had names."""
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{address.replace('.', '-')}.{domain}"


class Topology:
    """Subnets and security groups of one VPC.

    `subnet_prefix` sizes the subnets: /19 as eksctl's, /28 to rehearse running out of addresses.
    `nat` says whether private subnets have a way out.
    """

    def __init__(
        self,
        *,
        region: str = "us-west-1",
        cidr: str = "192.168.0.0/16",
        zones: tuple[str, ...] = (),
        subnet_prefix: int = 19,
        nat: bool = True,
        seed: int = 0,
    ) -> None:
        self.region = region
        self.cidr = cidr
        self.zones = zones or (f"{region}a", f"{region}b")
        self.nat = nat
        self._random = random.Random(f"vpc-{seed}")
        self._network = ipaddress.IPv4Network(cidr)
        self.vpc_id = self.new_id("vpc")
        self.tags: dict[str, str] = {"Name": "cnimigrate/VPC"}
        self.internet_gateway_id = self.new_id("igw")
        self.nat_gateway_id = self.new_id("nat") if nat else ""
        self.subnets: dict[str, Subnet] = {}
        self.security_groups: dict[str, SecurityGroup] = {}
        self._create_subnets(subnet_prefix)
        self.default_security_group_id = self.create_security_group("default", "default VPC security group")

    def new_id(self, prefix: str) -> str:
        """An AWS resource id of the long form, e.g. `eni-0123456789abcdef0`."""
        return f"{prefix}-0{self._random.getrandbits(64):016x}"

    def zone_id(self, zone: str) -> str:
        """`usw1-az1` for the first zone of us-west-1."""
        area, direction, number = self.region.split("-")[-3:]
        return f"{area}{direction[0]}{number}-az{self.zones.index(zone) + 1}"

    def contains(self, address: str) -> bool:
        """Whether `address` is within the VPC's range."""
        return ipaddress.IPv4Address(address) in self._network

    def subnet(self, subnet_id: str) -> Subnet:
        """The subnet, or `CloudError` InvalidSubnetID.NotFound."""
        try:
            return self.subnets[subnet_id]
        except KeyError:
            message = f"The subnet ID '{subnet_id}' does not exist"
            raise CloudError("InvalidSubnetID.NotFound", message) from None

    def subnet_cidr(self, subnet_id: str) -> str:
        return self.subnet(subnet_id).cidr

    def private_subnets(self) -> list[Subnet]:
        """Where nodes go, a subnet per zone."""
        return [subnet for subnet in self.subnets.values() if not subnet.public]

    def has_nat_gateway(self, subnet_id: str) -> bool:
        return not self.subnet(subnet_id).public and self.nat

    def security_group(self, group_id: str) -> SecurityGroup:
        """The group, or `CloudError` InvalidGroup.NotFound."""
        try:
            return self.security_groups[group_id]
        except KeyError:
            message = f"The security group '{group_id}' does not exist"
            raise CloudError("InvalidGroup.NotFound", message) from None

    def create_security_group(self, name: str, description: str, tags: dict[str, str] | None = None) -> str:
        """A group that lets everything out and nothing in; the caller adds rules. Returns its id."""
        group_id = self.new_id("sg")
        self.security_groups[group_id] = SecurityGroup(
            group_id, name, description, self.vpc_id, tags={**(tags or {})}
        )
        return group_id

    def _create_subnets(self, prefix: int) -> None:
        blocks = self._network.subnets(new_prefix=prefix)
        public_table = self.new_id("rtb")
        for public in (True, False):
            for zone in self.zones:
                subnet_id = self.new_id("subnet")
                self.subnets[subnet_id] = Subnet(
                    subnet_id=subnet_id,
                    vpc_id=self.vpc_id,
                    cidr=str(next(blocks)),
                    availability_zone=zone,
                    availability_zone_id=self.zone_id(zone),
                    # One table for the public subnets, one a zone for the private: each has its own NAT.
                    route_table_id=public_table if public else self.new_id("rtb"),
                    public=public,
                    tags={
                        f"kubernetes.io/role/{'elb' if public else 'internal-elb'}": "1",
                        "Name": f"cnimigrate/Subnet{'Public' if public else 'Private'}{zone.upper()}",
                    },
                )
