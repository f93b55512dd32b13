"""Nodes: readiness, taints, labels, cordons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_cnimigrate.model.objects import Object, condition, labels_of, name_of

NODE_LIFECYCLE_PREFIX = "node.kubernetes.io/"
"""Taints with this prefix are the node controller's own and come and go with the node's conditions."""


def taints_of(node: Object) -> list[Object]:
    taints: list[Object] = node["spec"].get("taints") or []
    return taints


def _in_words(taint: Mapping[str, str]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def not_ready(nodes: Iterable[Object]) -> list[str]:
    """Problems: nodes whose kubelet does not report Ready, with its reason."""
    problems = []
    for node in nodes:
        ready = condition(node, "Ready")
        if ready is None:
            problems.append(f"node {name_of(node)} has not reported whether it is Ready")
        elif ready["status"] != "True":
            problems.append(
                f"node {name_of(node)} is not Ready: {ready.get('message') or ready.get('reason')}"
            )
    return problems


def wrong_number(nodes: Iterable[Object], count: int, what: str) -> list[str]:
    """Problems: the number of nodes is not `count`."""
    names = sorted(name_of(node) for node in nodes)
    if len(names) == count:
        return []
    return [f"{what}: {len(names)} nodes instead of {count} ({', '.join(names) or 'none'})"]


def not_waiting_for_a_cni(nodes: Iterable[Object]) -> list[str]:
    """Problems: nodes that do not say that they are NotReady for want of a CNI."""
    problems = []
    for node in nodes:
        ready = condition(node, "Ready")
        if ready is None:
            problems.append(f"node {name_of(node)} has not reported whether it is Ready")
        elif ready["status"] == "True":
            problems.append(
                f"node {name_of(node)} is Ready although Cilium is not installed: another CNI has taken it"
            )
        elif "cni plugin not initialized" not in ready.get("message", ""):
            problems.append(
                f"node {name_of(node)} is not Ready, but not for want of a CNI: {ready.get('message')}"
            )
    return problems


def without_taint(nodes: Iterable[Object], taint: Mapping[str, str]) -> list[str]:
    """Problems: nodes that lack exactly this taint (key, value and effect)."""
    problems = []
    for node in nodes:
        present = taints_of(node)
        if any(all(other.get(field) == wanted for field, wanted in taint.items()) for other in present):
            continue
        listed = ", ".join(_in_words(other) for other in present) or "none"
        problems.append(f"node {name_of(node)} lacks the taint {_in_words(taint)}; it has: {listed}")
    return problems


def with_taint_key(nodes: Iterable[Object], key: str) -> list[str]:
    """Problems: nodes that still carry a taint with this key, whatever its value and effect."""
    return [
        f"node {name_of(node)} still has the taint {_in_words(taint)}"
        for node in nodes
        for taint in taints_of(node)
        if taint["key"] == key
    ]


def without_labels(nodes: Iterable[Object], labels: Mapping[str, str]) -> list[str]:
    """Problems: nodes on which a label is missing or says something else."""
    return [
        f"node {name_of(node)}: label {key} is {labels_of(node).get(key, 'absent')} instead of {value}"
        for node in nodes
        for key, value in labels.items()
        if labels_of(node).get(key) != value
    ]


def with_labels(nodes: Iterable[Object], labels: Mapping[str, str]) -> list[str]:
    """Problems: nodes on which a label stands that should not."""
    return [
        f"node {name_of(node)} has the label {key}={value}"
        for node in nodes
        for key, value in labels.items()
        if labels_of(node).get(key) == value
    ]


def schedulable(nodes: Iterable[Object]) -> list[str]:
    """Problems: nodes that are not cordoned."""
    return [
        f"node {name_of(node)} is not cordoned" for node in nodes if not node["spec"].get("unschedulable")
    ]


def cordoned(nodes: Iterable[Object]) -> list[str]:
    """Problems: nodes that are cordoned."""
    return [f"node {name_of(node)} is still cordoned" for node in nodes if node["spec"].get("unschedulable")]


def without_cilium_condition(nodes: Iterable[Object]) -> list[str]:
    """Problems: nodes without `NetworkUnavailable=False/CiliumIsUp`.

    Type, status and reason together are what Cilium itself looks for. The condition says that the agent was
    Ready once; nothing resets it when the agent goes away (cilium: operator/watchers/node_taint.go).
    """
    problems = []
    for node in nodes:
        network = condition(node, "NetworkUnavailable")
        if network is None:
            problems.append(f"node {name_of(node)} has no NetworkUnavailable condition")
        elif (network["status"], network.get("reason")) != ("False", "CiliumIsUp"):
            problems.append(
                f"node {name_of(node)}: NetworkUnavailable is {network['status']}/{network.get('reason')} "
                "instead of False/CiliumIsUp"
            )
    return problems


def unexpected_taints(nodes: Iterable[Object]) -> list[str]:
    """Problems: taints on nodes that should have none."""
    return [
        f"node {name_of(node)} has the taint {_in_words(taint)}"
        for node in nodes
        for taint in taints_of(node)
    ]


def internal_address(node: Object) -> str:
    """The node's InternalIP, or ""."""
    for address in node.get("status", {}).get("addresses") or ():
        if address["type"] == "InternalIP":
            found: str = address["address"]
            return found
    return ""
