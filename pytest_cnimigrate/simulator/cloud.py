"""The cloud beneath the nodes, as nodes and CNIs see it: instances, interfaces, addresses.

`aws/` implements `Vpc`; `nodes/` implements `NodeLauncher`; the two know each other only through here.
Names follow the EC2 API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Instance:
    """An EC2 instance that boots as a node."""

    instance_id: str
    instance_type: str
    private_ip: str
    private_dns_name: str
    """Also the node's name, as on EKS."""
    availability_zone: str
    subnet_id: str
    security_group_ids: tuple[str, ...]
    cluster_name: str
    node_group: str
    labels: dict[str, str] = field(default_factory=dict)
    """Labels that kubelet registers, those of EKS (`eks.amazonaws.com/nodegroup`, …) included."""
    taints: tuple[dict[str, str], ...] = ()
    """Taints that kubelet registers, in Kubernetes spelling (`NoSchedule`)."""
    max_pods: int = 29
    cpu: str = "2"
    memory: str = "8Gi"


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """An ENI as `DescribeNetworkInterfaces` shows it; a new value after every change."""

    network_interface_id: str
    subnet_id: str
    vpc_id: str
    availability_zone: str
    mac_address: str
    private_ip_address: str
    """The primary address."""
    secondary_addresses: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    description: str
    tags: dict[str, str]
    instance_id: str = ""
    """Empty while the interface is `available` (detached)."""
    device_index: int = 0


class CloudError(Exception):
    """An EC2 error: `code` as in the API (`InsufficientFreeAddressesInSubnet`), `message` for humans."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Vpc(Protocol):
    """The network of the cloud. Synchronous: its latency is added by the AWS endpoint."""

    cidr: str

    def interfaces_of(self, instance_id: str) -> list[NetworkInterface]:
        """Attached interfaces in device order; the first is the primary one."""

    def create_network_interface(
        self,
        *,
        instance_id: str,
        subnet_id: str,
        security_group_ids: tuple[str, ...],
        description: str,
        tags: dict[str, str],
        secondary_address_count: int,
    ) -> NetworkInterface:
        """Create and attach; raises `CloudError` (limit of the type reached, subnet exhausted)."""

    def assign_private_ip_addresses(self, network_interface_id: str, count: int) -> list[str]:
        """More secondary addresses; raises `CloudError` (limit of the type, subnet exhausted)."""

    def delete_network_interface(self, network_interface_id: str) -> None:
        """Detach and delete."""

    def interface_with_address(self, address: str) -> NetworkInterface | None:
        """The interface that holds `address`, primary or secondary."""

    def instance_with_address(self, address: str) -> str | None:
        """The instance whose interfaces hold `address`."""

    def subnet_cidr(self, subnet_id: str) -> str: ...

    def interface_limits(self, instance_type: str) -> tuple[int, int]:
        """(interfaces per instance, IPv4 addresses per interface) of a type; m5.large is (3, 10)."""

    def admits(self, source: str, destination: str, port: int, protocol: str = "tcp") -> bool:
        """Whether security groups and routes carry a packet from a VPC address to `destination`, one way.

        The destination may be outside the VPC: then the way out (NAT or internet gateway) counts.
        """

    def why_not(self, source: str, destination: str, port: int, protocol: str = "tcp") -> str:
        """What keeps the packet of `admits` back, in words; "" when nothing does."""


class NodeLauncher(Protocol):
    """What becomes of an instance: a hollow node."""

    async def launch(self, instance: Instance) -> None:
        """Boot the instance: after its boot time a kubelet registers the node. Returns at once."""

    async def terminate(self, instance_id: str) -> None:
        """Power off at once; the Node object is removed as the cloud controller does."""
