"""A node's addresses for pods under Cilium: which there are, which are taken."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


class AddressPool:
    """Addresses that the agent may give to pods, each with the resource (interface) it belongs to."""

    def __init__(self) -> None:
        self.used: dict[str, str] = {}
        """Address -> owner (`namespace/pod`, `router`, `health`)."""
        self._available: dict[str, str] = {}
        self._networks: list[ipaddress.IPv4Network] = []

    def set_addresses(self, addresses: dict[str, str]) -> None:
        """Address -> interface, as the operator has written into the CiliumNode."""
        self._available = dict(addresses)

    def set_networks(self, cidrs: Iterable[str]) -> None:
        """The node's own ranges (cluster-pool and kubernetes modes)."""
        self._networks = [ipaddress.IPv4Network(cidr) for cidr in cidrs]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to give at all, used or not."""
        return not self._available and not self._networks

    def resource_of(self, address: str) -> str:
        return self._available.get(address, "")

    def allocate(self, owner: str) -> str | None:
        """An address for the owner, or None when all are taken."""
        for address in self._candidates():
            if address not in self.used:
                self.used[address] = owner
                return address
        return None

    def release(self, address: str) -> None:
        self.used.pop(address, None)

    def contains(self, address: str) -> bool:
        parsed = ipaddress.IPv4Address(address)
        return address in self._available or any(parsed in network for network in self._networks)

    def _candidates(self) -> Iterable[str]:
        yield from self._available
        for network in self._networks:
            yield from (str(address) for address in network.hosts())
