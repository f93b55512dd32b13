"""What the DaemonSet controller remembers of one DaemonSet: a share a node, and their sums.

A pod's or a node's change makes one node dirty; only dirty nodes are looked at again, so that a cluster of
1,000 nodes costs no more per event than one of three.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from pytest_cnimigrate.model.objects import Object, is_pod_ready, is_terminating, labels_of, name_of
from pytest_cnimigrate.simulator.controllers.daemonset_placement import Fit
from pytest_cnimigrate.simulator.controllers.pods import Availability, is_terminal, node_name
from pytest_cnimigrate.simulator.controllers.revisions import HASH_LABEL


class Rollout(Enum):
    """How far the rollout is on one node that has pods."""

    NEW = "the new pod is available"
    NEW_UNAVAILABLE = "the new pod is not available yet"
    OLD = "the old pod is available"
    OLD_UNAVAILABLE = "the old pod is not available: replacing it costs nothing"
    BOTH = "old and new pod; the new one is available"
    BOTH_UNAVAILABLE = "old and new pod; the new one is not available yet"
    UNSETTLED = "only pods that are going, or too many: to be settled first"


class Share(NamedTuple):
    """What one node adds to the DaemonSet's status."""

    desired: bool = False
    current: bool = False
    ready: bool = False
    available: bool = False
    updated: bool = False
    misscheduled: bool = False
    rollout: Rollout | None = None
    """None without pods."""


@dataclass(slots=True)
class DaemonState:
    uid: str
    generation: int = -1
    """The DaemonSet's generation for which `fits` holds."""
    fits: dict[str, Fit] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    maturing: set[str] = field(default_factory=set)
    """Nodes whose pod is Ready but not yet for `minReadySeconds`."""
    orphans: bool = True
    """There may be pods to adopt."""
    failures: dict[str, int] = field(default_factory=dict)
    """How often a node's pod has failed in a row."""
    condemned: dict[str, float] = field(default_factory=dict)
    """When (the loop's time) a failed pod, by uid, is to be replaced."""
    nodes: dict[Rollout, set[str]] = field(default_factory=lambda: defaultdict(set))
    _shares: dict[str, Share] = field(default_factory=dict)
    _sums: Counter[str] = field(default_factory=Counter)

    def set_share(self, node: str, share: Share) -> None:
        """Replace what the node adds."""
        old = self._shares.pop(node, None)
        if old is not None:
            self._add(node, old, -1)
        if share != Share():
            self._shares[node] = share
            self._add(node, share, 1)

    def _add(self, node: str, share: Share, sign: int) -> None:
        for name in ("desired", "current", "ready", "available", "updated", "misscheduled"):
            if getattr(share, name):
                self._sums[name] += sign
        if share.rollout is not None:
            if sign > 0:
                self.nodes[share.rollout].add(node)
            else:
                self.nodes[share.rollout].discard(node)

    def known_nodes(self) -> set[str]:
        return {*self._shares, *self.fits}

    @property
    def desired(self) -> int:
        return self._sums["desired"]

    def status(self, previous: Object, generation: int) -> Object:
        """The DaemonSet's status, in which fields with `omitempty` are *absent* when nought.

        Right after a template change a real cluster has no `updatedNumberScheduled` at all (as recorded).
        """
        sums = self._sums
        status: Object = {
            "currentNumberScheduled": sums["current"],
            "numberMisscheduled": sums["misscheduled"],
            "desiredNumberScheduled": sums["desired"],
            "numberReady": sums["ready"],
            "observedGeneration": generation,
        }
        optional = {
            "updatedNumberScheduled": sums["updated"],
            "numberAvailable": sums["available"],
            "numberUnavailable": sums["desired"] - sums["available"],
            "collisionCount": previous.get("collisionCount") or 0,
            "conditions": previous.get("conditions"),
        }
        status.update({name: value for name, value in optional.items() if value})
        return status


def oldest_first(pods: list[Object]) -> list[Object]:
    """Bound before unbound, older before younger: the first speaks for the node."""
    return sorted(pods, key=lambda p: (not node_name(p), p["metadata"]["creationTimestamp"], name_of(p)))


def is_present(pod: Object) -> bool:
    """Kube overlooks pods that are both over and being deleted: their replacement need not wait."""
    return not (is_terminal(pod) and is_terminating(pod))


def has_hash(pod: Object, revision_hash: str) -> bool:
    return labels_of(pod).get(HASH_LABEL) == revision_hash


def share_of(
    pods: list[Object], fit: Fit, revision_hash: str, availability: Availability, min_ready: int
) -> Share:
    """What a node with these pods (of the DaemonSet) adds."""
    present = [pod for pod in pods if is_present(pod)]
    if not present:
        return Share(desired=fit.should_run)
    rollout = _rollout(present, revision_hash, availability, min_ready)
    if not fit.should_run:
        return Share(misscheduled=True, rollout=rollout)
    first = oldest_first(present)[0]
    return Share(
        desired=True,
        current=True,
        ready=is_pod_ready(first),
        available=availability.is_available(first, min_ready),
        updated=has_hash(first, revision_hash),
        rollout=rollout,
    )


def _rollout(pods: list[Object], revision_hash: str, availability: Availability, min_ready: int) -> Rollout:
    staying = [pod for pod in pods if not is_terminating(pod)]
    new = [pod for pod in staying if has_hash(pod, revision_hash)]
    old = [pod for pod in staying if not has_hash(pod, revision_hash)]
    if len(new) > 1 or len(old) > 1 or not staying:
        return Rollout.UNSETTLED
    available = availability.is_available(new[0] if new else old[0], min_ready)
    if new and old:
        return Rollout.BOTH if available else Rollout.BOTH_UNAVAILABLE
    if new:
        return Rollout.NEW if available else Rollout.NEW_UNAVAILABLE
    return Rollout.OLD if available else Rollout.OLD_UNAVAILABLE
