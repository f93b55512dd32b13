"""Whether the new group can take in everything that has to move."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pytest_cnimigrate.checks.workloads import is_evictable
from pytest_cnimigrate.model.objects import Object, controller_of
from pytest_cnimigrate.model.pods import is_finished, is_of_daemonset, uses_host_network
from pytest_cnimigrate.model.quantities import milli
from pytest_cnimigrate.providers.node_groups import Capacity

PRE_ALLOCATE = 8
"""Addresses that Cilium keeps free on each node in ENI mode (`ipam.pre-allocate`)."""


def pods_to_move(pods: Iterable[Object], nodes: Collection[str]) -> list[Object]:
    """Pods on these nodes that a drain will evict."""
    return [pod for pod in pods if pod["spec"].get("nodeName") in nodes and is_evictable(pod)]


def pods_of_each_node(pods: Iterable[Object], nodes: Collection[str]) -> list[Object]:
    """One pod of each DaemonSet that has pods on these nodes: a new node will have their like anyway."""
    found: dict[str, Object] = {}
    for pod in pods:
        owner = controller_of(pod)
        if owner and is_of_daemonset(pod) and not is_finished(pod) and pod["spec"].get("nodeName") in nodes:
            found[owner["uid"]] = pod
    return list(found.values())


def too_small(moving: Collection[Object], of_each_node: int, size: int, capacity: Capacity) -> list[str]:
    """Problems: too few pod slots on the new nodes, or too few free addresses in their subnets.

    `of_each_node` is how many pods of DaemonSets each node has today.
    """
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


def too_weak(
    moving: Collection[Object], of_each_node: Collection[Object], size: int, capacity: Capacity
) -> list[str]:
    """Problems: the new nodes have less processor or memory than what has to run there asks for.

    `of_each_node` is one pod of each DaemonSet. The whole machines are counted, and pods as if they could be
    cut in pieces: what is found too little here certainly is; what is not may still be too little.
    """
    problems = []
    for resource, per_node, unit, word in (
        ("cpu", capacity.milli_cpus_per_node, 1000, "CPUs"),
        ("memory", capacity.memory_per_node * 1000, 1000 * 2**30, "GiB of memory"),
    ):
        asked = sum(_requested(pod, resource) for pod in moving)
        asked += size * sum(_requested(pod, resource) for pod in of_each_node)
        if asked > size * per_node:
            problems.append(
                f"the pods of {size} new nodes ask for {asked / unit:.1f} {word}, the nodes have "
                f"{size * per_node / unit:.1f}; raise new_nodes.size or take larger instances"
            )
    return problems


def _requested(pod: Object, resource: str) -> int:
    """What the pod's containers request, in thousandths."""
    return sum(
        milli(((container.get("resources") or {}).get("requests") or {}).get(resource, 0))
        for container in pod["spec"].get("containers") or ()
    )
