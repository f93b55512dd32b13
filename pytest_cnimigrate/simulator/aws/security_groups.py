"""Security groups: rules that admit traffic at an interface.

Stateful as in AWS: a rule admits a connection's first packet, and its answers come back by themselves. So a
path in one direction needs the egress rules of its source and the ingress rules of its destination.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

ANY_PROTOCOL = "-1"
ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class Rule:
    """Admits `protocol` on a range of ports to or from address ranges and members of groups."""

    protocol: str = ANY_PROTOCOL
    from_port: int = 0
    to_port: int = 65535
    cidrs: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()

    def admits(self, peer_address: str, peer_groups: tuple[str, ...], port: int, protocol: str) -> bool:
        """Whether a packet to `port` from or to that peer passes."""
        if self.protocol != ANY_PROTOCOL and (
            self.protocol != protocol or not self.from_port <= port <= self.to_port
        ):
            return False
        if any(group in self.group_ids for group in peer_groups):
            return True
        address = ipaddress.IPv4Address(peer_address)
        return any(address in ipaddress.IPv4Network(cidr) for cidr in self.cidrs)


@dataclass(slots=True)
class SecurityGroup:
    group_id: str
    name: str
    description: str
    vpc_id: str
    ingress: list[Rule] = field(default_factory=list)
    egress: list[Rule] = field(default_factory=lambda: [Rule(cidrs=(ANYWHERE,))])
    tags: dict[str, str] = field(default_factory=dict)
