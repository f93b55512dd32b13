"""Subnets and the addresses in them."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass, field

from pytest_cnimigrate.simulator.cloud import CloudError

RESERVED_ADDRESSES = 5
"""AWS keeps the first four addresses and the last one of every subnet.

https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
"""


@dataclass(slots=True)
class Subnet:
    """One subnet. Addresses are handed out at random, as AWS does, from the model's own generator."""

    subnet_id: str
    vpc_id: str
    cidr: str
    availability_zone: str
    availability_zone_id: str
    route_table_id: str
    public: bool = False
    """Routed to an internet gateway; a private one goes out by NAT."""
    tags: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    _first: int = field(init=False, repr=False)
    _size: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        network = ipaddress.IPv4Network(self.cidr)
        self._first = int(network.network_address) + RESERVED_ADDRESSES - 1
        self._size = network.num_addresses - RESERVED_ADDRESSES

    @property
    def available(self) -> int:
        """`AvailableIpAddressCount`."""
        return self._size - len(self.used)

    def allocate(self, count: int, generator: random.Random) -> list[str]:
        """`count` free addresses, or `CloudError` InsufficientFreeAddressesInSubnet: all or nothing."""
        if count > self.available:
            raise CloudError(
                "InsufficientFreeAddressesInSubnet",
                "The specified subnet does not have enough free addresses to satisfy the request.",
            )
        return [self._free_address(generator) for _ in range(count)]

    def release(self, address: str) -> None:
        self.used.discard(address)

    def _free_address(self, generator: random.Random) -> str:
        offset = generator.randrange(self._size)
        # From a random place to the next free address: ends, since `allocate` counted before.
        while (address := str(ipaddress.IPv4Address(self._first + offset))) in self.used:
            offset = (offset + 1) % self._size
        self.used.add(address)
        return address
