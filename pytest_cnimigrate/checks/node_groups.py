"""Node groups as the cloud describes them."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_cnimigrate.providers.node_groups import NodeGroup, NodeGroupReader

_FAILED = frozenset({"CREATE_FAILED", "DELETE_FAILED", "DEGRADED"})


def _described(groups: NodeGroupReader, name: str) -> tuple[NodeGroup | None, list[str]]:
    group = groups.find(name)
    return group, [] if group else [f"there is no node group {name}"]


def inactive(groups: NodeGroupReader, name: str) -> list[str]:
    """Problems: the group is not ACTIVE, with its health issues."""
    group, problems = _described(groups, name)
    if group and group.status != "ACTIVE":
        issues = f": {'; '.join(group.issues)}" if group.issues else ""
        problems.append(f"node group {name} is {group.status}{issues}")
    elif group:
        problems += [f"node group {name} reports {issue}" for issue in group.issues]
    return problems


def failed(groups: NodeGroupReader, name: str) -> list[str]:
    """Problems: the group has failed, so that waiting for its nodes is of no use."""
    group, problems = _described(groups, name)
    if group and (group.status in _FAILED or group.issues):
        problems.append(
            f"node group {name} is {group.status}: {'; '.join(group.issues) or 'no reason given'}"
        )
    return problems


def wrong_size(groups: NodeGroupReader, name: str, desired: int) -> list[str]:
    """Problems: the group does not want this many nodes, or may not have them."""
    group, problems = _described(groups, name)
    if group and group.desired != desired:
        problems.append(f"node group {name} wants {group.desired} nodes instead of {desired}")
    if group and group.maximum < desired:
        problems.append(f"node group {name} may have {group.maximum} nodes at the most, not {desired}")
    return problems


def without_labels(groups: NodeGroupReader, name: str, labels: Mapping[str, str]) -> list[str]:
    """Problems: labels that the group does not give to the nodes that it starts."""
    group, problems = _described(groups, name)
    if group:
        problems += [
            f"node group {name} does not give {key}={value} to new nodes "
            f"(it gives {group.labels.get(key, 'no such label')})"
            for key, value in labels.items()
            if group.labels.get(key) != value
        ]
    return problems


def without_taint(groups: NodeGroupReader, name: str, taint: Mapping[str, str]) -> list[str]:
    """Problems: the group does not give exactly this taint (key, value, effect) to its nodes."""
    group, problems = _described(groups, name)
    if group and dict(taint) not in [dict(present) for present in group.taints]:
        wanted = f"{taint['key']}={taint['value']}:{taint['effect']}"
        given = ", ".join(f"{one['key']}={one['value']}:{one['effect']}" for one in group.taints) or "none"
        problems.append(f"node group {name} does not taint new nodes with {wanted}; it gives: {given}")
    return problems


def still_there(groups: NodeGroupReader, name: str) -> list[str]:
    """Problems: the group has not gone yet."""
    group = groups.find(name)
    if group is None:
        return []
    issues = f": {'; '.join(group.issues)}" if group.issues else ""
    return [f"node group {name} is still there, {group.status}{issues}"]
