"""The arithmetic of rollouts, as in kube-controller-manager: how many pods may be missing or too many."""

from __future__ import annotations

import math
from dataclasses import dataclass

IntOrPercent = int | str


def resolve(value: IntOrPercent, total: int, *, round_up: bool) -> int:
    """An `intstr.IntOrString` in pods: `3`, or `"25%"` of `total`. Raises `ValueError` for anything else."""
    if isinstance(value, int):
        return value
    if not value.endswith("%") or not value[:-1].isdigit():
        raise ValueError(f"{value!r} is neither a number nor a percentage like 25%")
    share = int(value[:-1]) * total
    return math.ceil(share / 100) if round_up else share // 100


def deployment_limits(
    replicas: int, max_surge: IntOrPercent, max_unavailable: IntOrPercent
) -> tuple[int, int]:
    """(pods above `replicas`, pods unavailable) that a Deployment's rolling update may have.

    Surge is rounded up and unavailability down; if both come to nothing, one pod may be unavailable, or
    nothing could ever move.
    """
    surge = resolve(max_surge, replicas, round_up=True)
    unavailable = resolve(max_unavailable, replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas)


def daemon_limits(nodes: int, max_surge: IntOrPercent, max_unavailable: IntOrPercent) -> tuple[int, int]:
    """(nodes with two pods, nodes without an available one) that an update may have; both round up."""
    surge = resolve(max_surge, nodes, round_up=True)
    unavailable = resolve(max_unavailable, nodes, round_up=True)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


@dataclass(frozen=True, slots=True)
class Replicas:
    """One ReplicaSet of a Deployment as its rollout sees it."""

    name: str
    wanted: int
    """`spec.replicas`."""
    available: int
    """`status.availableReplicas`; it may still count pods that a scale-down has just given up."""
    max_replicas_before: int = 0
    """Annotation `deployment.kubernetes.io/max-replicas`: its ceiling when last scaled; 0 if unknown."""

    @property
    def staying(self) -> int:
        """Available pods that the ReplicaSet still wants."""
        return min(self.available, self.wanted)


def scale_up_new(replicas: int, surge: int, new: Replicas, old: list[Replicas]) -> int:
    """How many replicas the new ReplicaSet gets, with `surge` pods allowed above `replicas`."""
    if new.wanted >= replicas:
        return replicas
    room = replicas + surge - new.wanted - sum(each.wanted for each in old)
    return new.wanted + max(0, min(room, replicas - new.wanted))


def scale_down_old(replicas: int, unavailable: int, new: Replicas, old: list[Replicas]) -> dict[str, int]:
    """How many replicas old ReplicaSets (oldest first) shrink to: name to number, only those that change.

    Pods that are not available go first: they cost nothing. Then available ones, as far as `unavailable`
    allows.
    """
    least = replicas - unavailable
    total = new.wanted + sum(each.wanted for each in old)
    budget = total - least - (new.wanted - new.staying)
    sizes = {each.name: each.wanted for each in old}
    if budget <= 0:
        return {}
    for each in old:
        unhealthy = each.wanted - each.staying
        removed = min(budget, unhealthy)
        sizes[each.name] -= removed
        budget -= removed
    spare = new.staying + sum(each.staying for each in old) - least
    for each in old:
        if spare <= 0:
            break
        removed = min(sizes[each.name], spare)
        sizes[each.name] -= removed
        spare -= removed
    return {each.name: sizes[each.name] for each in old if sizes[each.name] != each.wanted}


def scale_in_proportion(
    replicas: int, surge: int, status_replicas: int, sets: list[Replicas]
) -> dict[str, int]:
    """Sizes of several active ReplicaSets when the Deployment is scaled in the middle of a rollout.

    `sets` with the newest first. Each changes in proportion to its size, the largest takes what rounding
    leaves.
    """
    ceiling = replicas + surge if replicas else 0
    to_add = ceiling - sum(each.wanted for each in sets)
    sizes = {each.name: each.wanted for each in sets}
    if to_add == 0:
        return sizes
    # Kube sorts by size; among equals the newer goes first when growing, the older when shrinking.
    ordered = sorted(sets if to_add > 0 else sets[::-1], key=lambda each: -each.wanted)
    added = 0
    for each in ordered:
        part = _proportion(each, replicas, surge, status_replicas)
        allowed = to_add - added
        part = min(part, allowed) if to_add > 0 else max(part, allowed)
        sizes[each.name] += part
        added += part
    largest = ordered[0].name
    sizes[largest] = max(0, sizes[largest] + to_add - added)
    return sizes


def _proportion(each: Replicas, replicas: int, surge: int, status_replicas: int) -> int:
    if replicas == 0:
        return -each.wanted
    before = each.max_replicas_before or status_replicas
    if before == 0 or each.wanted == 0:
        return 0
    return math.floor(each.wanted * (replicas + surge) / before + 0.5) - each.wanted
