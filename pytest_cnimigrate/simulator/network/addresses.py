"""Questions about addresses that are asked for every connection, and therefore remembered."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

DOCUMENTATION = tuple(ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
"""RFC 5737: here they stand for hosts on the internet."""


@lru_cache(maxsize=65536)
def in_network(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr, strict=False)


@lru_cache(maxsize=1024)
def is_outside(address: str) -> bool:
    """Whether the address is on the internet."""
    parsed = ipaddress.ip_address(address)
    return parsed.is_global or any(parsed in network for network in DOCUMENTATION)


def is_address(text: str) -> bool:
    """Whether the text is an address rather than a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
