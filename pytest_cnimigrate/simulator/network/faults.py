"""Faults of the network. "New" nodes are those whose CNI is Cilium, "old" ones all others."""

from __future__ import annotations

from pytest_cnimigrate.simulator.faults import register

CROSS_CNI_OLD_TO_NEW_BLOCKED = register(
    "cross-cni-old-to-new-blocked",
    "Packets from old nodes to pods and nodes with Cilium are dropped; the other direction works.",
    "failure mode 29: the security groups of the new interfaces do not admit the old nodes",
)
CROSS_CNI_NEW_TO_OLD_BLOCKED = register(
    "cross-cni-new-to-old-blocked",
    "Packets from nodes with Cilium to old nodes and their pods are dropped; the other direction works.",
    "failure mode 29: the old nodes' security group does not admit the new interfaces",
)
NEW_NODES_NO_EGRESS = register(
    "new-nodes-no-egress",
    "Pods on nodes with Cilium do not reach the internet; the mesh between pods stays green.",
    "failure modes 25 and 26: no masquerading, or on the wrong device",
)
DNS_BROKEN_ON_NEW_NODES = register(
    "dns-broken-on-new-nodes",
    "DNS queries from pods on nodes with Cilium are not answered; connections by address work.",
    "failure mode 42: DNS targets fail although connections by address work",
)
REACHABILITY_FLAPS = register(
    "reachability-flaps",
    "Between old and new nodes one pair in six is unreachable for two seconds at a time.",
    "failure mode 28: the system's network manager removes rules that Cilium puts back",
)
