"""Whether the new group can take in everything that has to move."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pytest_cnimigrate.checks.workloads import is_evictable, is_finished, is_of_daemonset, uses_host_network
from pytest_cnimigrate.model.objects import Object, controller_of
from pytest_cnimigrate.providers.node_groups import Capacity

PRE_ALLOCATE = 8
"""Addresses that Cilium keeps free on each node in ENI mode (`ipam.pre-allocate`)."""


def pods_to_move(pods: Iterable[Object], nodes: Collection[str]) -> list[Object]:
    """Pods on these nodes that a drain will evict."""
    return [pod for pod in pods if pod["spec"].get("nodeName") in nodes and is_evictable(pod)]


def pods_of_each_node(pods: Iterable[Object], nodes: Collection[str]) -> int:
    """How many DaemonSets have pods on these nodes: so many pods a new node will have anyway."""
    owners = set()
    for pod in pods:
        owner = controller_of(pod)
        if owner and is_of_daemonset(pod) and not is_finished(pod) and pod["spec"].get("nodeName") in nodes:
            owners.add(owner["uid"])
    return len(owners)


def too_small(moving: Collection[Object], of_each_node: int, size: int, capacity: Capacity) -> list[str]:
    """Problems: too few pod slots on the new nodes, or too few free addresses in their subnets."""
    problems = []
    # Cilium's agent and envoy come on top of what runs on every node today.
    slots = size * max(0, capacity.pods_per_node - of_each_node - 2)
    if len(moving) > slots:
        problems.append(
            f"{len(moving)} pods have to move, {size} new nodes have room for {slots} "
            f"({capacity.pods_per_node} pods a node, {of_each_node + 2} of them taken by DaemonSets); "
            "raise new_nodes.size"
        )
    addressed = [pod for pod in moving if not uses_host_network(pod)]
    needed = len(addressed) + size * (1 + PRE_ALLOCATE)
    free = sum(capacity.free_addresses.values())
    if needed > free:
        subnets = ", ".join(f"{subnet}: {count}" for subnet, count in sorted(capacity.free_addresses.items()))
        problems.append(
            f"the new nodes and {len(addressed)} pods need about {needed} addresses, "
            f"their subnets have {free} free ({subnets})"
        )
    return problems
