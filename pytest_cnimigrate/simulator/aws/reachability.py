"""Whether the VPC carries a packet: security groups on both sides, and routes.

Network ACLs are the default ones, which let all pass, so they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pytest_cnimigrate.simulator.aws.security_groups import SecurityGroup
from pytest_cnimigrate.simulator.aws.subnets import Subnet
from pytest_cnimigrate.simulator.cloud import NetworkInterface


@dataclass(frozen=True, slots=True)
class Flow:
    """The first packet of a connection."""

    source: str
    destination: str
    port: int
    protocol: str


class Network(Protocol):
    """What of the VPC is asked here."""

    vpc_id: str
    nat: bool

    @property
    def security_groups(self) -> Mapping[str, SecurityGroup]: ...

    def attached_interface_with(self, address: str) -> NetworkInterface | None: ...

    def contains(self, address: str) -> bool: ...

    def subnet(self, subnet_id: str) -> Subnet: ...


def why_not(network: Network, flow: Flow) -> str:
    """Why the packet does not arrive, in words; empty when it does."""
    sender = network.attached_interface_with(flow.source)
    if sender is None:
        return f"no attached interface in {network.vpc_id} has the source address {flow.source}"
    receiver = network.attached_interface_with(flow.destination)
    if receiver is not None and sender.instance_id and sender.instance_id == receiver.instance_id:
        return ""  # Such packets never leave the instance: nothing checks them.
    peer_groups = receiver.security_group_ids if receiver else ()
    if not any(
        rule.admits(flow.destination, peer_groups, flow.port, flow.protocol)
        for group in sender.security_group_ids
        for rule in network.security_groups[group].egress
    ):
        return _refusal(sender, "egress", f"to {flow.destination}", flow)
    if not network.contains(flow.destination):
        return _why_not_out(network, sender, flow.source)
    if receiver is None:
        return f"no attached interface in {network.vpc_id} has the address {flow.destination}"
    if not any(
        rule.admits(flow.source, sender.security_group_ids, flow.port, flow.protocol)
        for group in receiver.security_group_ids
        for rule in network.security_groups[group].ingress
    ):
        return _refusal(receiver, "ingress", f"from {flow.source}", flow)
    return ""


def _why_not_out(network: Network, interface: NetworkInterface, source: str) -> str:
    subnet = network.subnet(interface.subnet_id)
    if not subnet.public:
        return "" if network.nat else f"the private subnet {subnet.subnet_id} has no NAT gateway"
    # An internet gateway translates only the address that has a public one: the instance's own.
    if interface.device_index == 0 and source == interface.private_ip_address:
        return ""
    return f"{source} has no public address, and {subnet.subnet_id} goes out by an internet gateway"


def _refusal(interface: NetworkInterface, side: str, peer: str, flow: Flow) -> str:
    groups = ", ".join(interface.security_group_ids)
    return (
        f"no {side} rule of {groups} on {interface.network_interface_id} admits "
        f"{flow.protocol}/{flow.port} {peer}"
    )
