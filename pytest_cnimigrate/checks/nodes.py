"""Nodes: readiness, taints, labels, cordons.

What is said of every node is not true of none: checks of something that nodes must have find a problem when
there are no nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pytest_cnimigrate.model.objects import Object, condition, labels_of, name_of

NO_NODES = ["there are no nodes to look at"]


def taints_of(node: Object) -> list[Object]:
    taints: list[Object] = node["spec"].get("taints") or []
    return taints


def in_words(taint: Mapping[str, str]) -> str:
    """A taint as kubectl writes it."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def not_ready(nodes: Iterable[Object]) -> list[str]:
    """Problems: nodes whose kubelet does not report Ready, with its reason."""
    problems = []
    nodes = list(nodes)
    for node in nodes:
        ready = condition(node, "Ready")
        if ready is None:
            problems.append(f"node {name_of(node)} has not reported whether it is Ready")
        elif ready["status"] != "True":
            problems.append(
                f"node {name_of(node)} is not Ready: {ready.get('message') or ready.get('reason')}"
            )
    return problems if nodes else NO_NODES


def wrong_number(nodes: Iterable[Object], count: int, what: str) -> list[str]:
    """Problems: the number of nodes is not `count`."""
    names = sorted(name_of(node) for node in nodes)
    if len(names) == count:
        return []
    return [f"{what}: {len(names)} nodes instead of {count} ({', '.join(names) or 'none'})"]


def not_waiting_for_a_cni(nodes: Iterable[Object]) -> list[str]:
    """Problems: nodes that do not say that they are NotReady for want of a CNI."""
    problems = []
    nodes = list(nodes)
    for node in nodes:
        ready = condition(node, "Ready")
        if ready is None:
            problems.append(f"node {name_of(node)} has not reported whether it is Ready")
        elif ready["status"] == "True":
            problems.append(
                f"node {name_of(node)} is Ready although Cilium is not installed: another CNI has taken it"
            )
        elif ready["status"] != "False" or "NetworkPluginNotReady" not in ready.get("message", ""):
            problems.append(
                f"node {name_of(node)} is not Ready, but not for want of a CNI: "
                f"{ready.get('message') or ready.get('reason')}"
            )
    return problems if nodes else NO_NODES


def without_taint(nodes: Iterable[Object], taint: Mapping[str, str]) -> list[str]:
    """Problems: nodes that lack exactly this taint (key, value and effect)."""
    problems = []
    nodes = list(nodes)
    for node in nodes:
        present = taints_of(node)
        if any(_is_same(other, taint) for other in present):
            continue
        listed = ", ".join(in_words(other) for other in present) or "none"
        problems.append(f"node {name_of(node)} lacks the taint {in_words(taint)}; it has: {listed}")
    return problems if nodes else NO_NODES


def _is_same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    # The API server leaves an empty value out.
    return all(one.get(field, "") == other.get(field, "") for field in ("key", "value", "effect"))


def with_taint_key(nodes: Iterable[Object], key: str) -> list[str]:
    """Problems: nodes that still carry a taint with this key, whatever its value and effect."""
    return [
        f"node {name_of(node)} still has the taint {in_words(taint)}"
        for node in nodes
        for taint in taints_of(node)
        if taint["key"] == key
    ]


def without_labels(nodes: Iterable[Object], labels: Mapping[str, str]) -> list[str]:
    """Problems: nodes on which a label is missing or says something else."""
    nodes = list(nodes)
    problems = [
        f"node {name_of(node)}: label {key} is {labels_of(node).get(key, 'absent')} instead of {value}"
        for node in nodes
        for key, value in labels.items()
        if labels_of(node).get(key) != value
    ]
    return problems if nodes else NO_NODES


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
    nodes = list(nodes)
    problems = [
        f"node {name_of(node)} is not cordoned" for node in nodes if not node["spec"].get("unschedulable")
    ]
    return problems if nodes else NO_NODES


def cordoned(nodes: Iterable[Object]) -> list[str]:
    """Problems: nodes that are cordoned."""
    return [f"node {name_of(node)} is still cordoned" for node in nodes if node["spec"].get("unschedulable")]


def without_cilium_condition(nodes: Iterable[Object]) -> list[str]:
    """Problems: nodes without `NetworkUnavailable=False/CiliumIsUp`.

    Type, status and reason together are what Cilium itself looks for. The condition says that the agent was
    Ready once; nothing resets it when the agent goes away (cilium: operator/watchers/node_taint.go).
    """
    problems = []
    nodes = list(nodes)
    for node in nodes:
        network = condition(node, "NetworkUnavailable")
        if network is None:
            problems.append(f"node {name_of(node)} has no NetworkUnavailable condition")
        elif (network["status"], network.get("reason")) != ("False", "CiliumIsUp"):
            problems.append(
                f"node {name_of(node)}: NetworkUnavailable is {network['status']}/{network.get('reason')} "
                "instead of False/CiliumIsUp"
            )
    return problems if nodes else NO_NODES


def unexpected_taints(nodes: Iterable[Object], *, allowed: Collection[Mapping[str, str]] = ()) -> list[str]:
    """Problems: taints on nodes, but for those that are `allowed` (they are there for good)."""
    return [
        f"node {name_of(node)} has the taint {in_words(taint)}"
        for node in nodes
        for taint in taints_of(node)
        if not any(_is_same(taint, other) for other in allowed)
    ]


def of_neither(nodes: Iterable[Object], *groups: Collection[str]) -> list[str]:
    """Problems: nodes that are in none of these groups (each the names of its nodes).

    They would not get the fence's label: the old CNI would leave them, and Cilium would come.
    """
    return [
        f"node {name_of(node)} is neither of the old nor of the new node group: the fence would take the old "
        "CNI away from it; drain and remove it, or migrate its group first"
        for node in nodes
        if not any(name_of(node) in names for names in groups)
    ]
