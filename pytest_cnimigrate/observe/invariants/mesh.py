"""The mesh that measures reachability is itself complete."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime

from pytest_cnimigrate.model.objects import Object, controller_of, namespace_of
from pytest_cnimigrate.observe.invariants.base import Invariant, Lasting, Violation
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.facts import NodeBook, is_serving, node_of
from pytest_cnimigrate.observe.invariants.ledger import Ledger
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State

_LEVELLED = 2.0
"""Seconds in which the workload's own state, and the end of a pod's node, are heard of too."""

_ON_NODES, _MOVABLE = "DaemonSet", "Deployment"


class MeshBelowExpected(Invariant):
    """The mesh never has fewer ready probes than expected, once it has had them.

    Expected are: one on every node that has had one, for as long as the node is there (and the run is not
    taking its group away), and as many movable ones as the Deployment wants; while either is being rolled
    out, as many fewer as its strategy allows.
    """

    name = "mesh-below-expected"
    why = (
        "a probe that is missing reports no loss: goldpinger calls six good pods of seven healthy, "
        "so nothing is known of what the seventh would have seen"
    )
    kinds = ("Pod", "Node", "DaemonSet", "Deployment")

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context, ledger)
        self._nodes = NodeBook(context, ledger)
        self._probes: dict[str, str] = {}
        """Ready probes of the DaemonSet: pod key -> node."""
        self._covered: set[str] = set()
        """Nodes that have had a ready probe."""
        self._movable: set[str] = set()
        """Ready probes of the Deployment, by key."""
        self._met = False
        """Whether the Deployment has had all it wants."""
        self._workloads: dict[str, Object] = {}
        self._rolling = False
        """Whether the DaemonSet is being rolled out: from a new template until every pod is available."""
        self._below = Lasting[str](context.seconds(_LEVELLED))

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        match transition.kind:
            case "Node":
                self._nodes.note(transition)
                if transition.new is None:
                    self._covered.discard(transition.key)
            case "Pod":
                if not self._pod(transition):
                    return
            case kind:
                if not self._workload(kind, transition):
                    return
        self._compare(transition)
        yield from ()

    def elapsed(self, now: datetime, state: State) -> Iterator[Violation]:
        for low in self._below.overdue(now):
            if low.key == _ON_NODES:
                missing = sorted(self._missing(now))
                # A node that the run takes away is told by the journal, not by a transition.
                if len(missing) <= self._slack():
                    self._below.end(low.key)
                    continue
                text = f"no ready probe on {', '.join(missing[:3])}" + (
                    f" and {len(missing) - 3} more nodes" if len(missing) > 3 else ""
                )
            else:
                text = f"{len(self._movable)} movable probes are ready, at least {self._floor()} are expected"
            yield self.violation(low.transition, f"the mesh is incomplete: {text}", time=low.time)

    def _pod(self, transition: Transition) -> bool:
        """Take a probe in; whether it is one."""
        pod, key = transition.last, transition.key
        kind = self._kind(pod)
        if not kind:
            return False
        serves = transition.new is not None and is_serving(pod)
        if kind == _MOVABLE:
            (self._movable.add if serves else self._movable.discard)(key)
        elif serves:
            self._probes[key] = node_of(pod)
            self._covered.add(node_of(pod))
        else:
            self._probes.pop(key, None)
        return True

    def _kind(self, pod: Object) -> str:
        owner = controller_of(pod)
        if owner is None or namespace_of(pod) != self.context.mesh_namespace:
            return ""
        if (owner["kind"], owner["name"]) == ("DaemonSet", self.context.mesh_daemonset):
            return _ON_NODES
        deployment = f"{self.context.mesh_deployment}-"
        return _MOVABLE if owner["kind"] == "ReplicaSet" and owner["name"].startswith(deployment) else ""

    def _workload(self, kind: str, transition: Transition) -> bool:
        """Take a workload of the mesh in; whether it is one."""
        names = {_ON_NODES: self.context.mesh_daemonset, _MOVABLE: self.context.mesh_deployment}
        if transition.key != f"{self.context.mesh_namespace}/{names[kind]}":
            return False
        if transition.new is None:
            self._workloads.pop(kind, None)
            if kind == _ON_NODES:
                self._covered.clear()
            return True
        wanted = _replicas(transition.new)
        if kind == _MOVABLE and wanted > _replicas(self._workloads.get(kind)):
            self._met = False  # More are wanted than before: they first have to come.
        self._workloads[kind] = transition.new
        if kind == _ON_NODES:
            self._rolling = _is_rolling(transition.new, before=self._rolling)
        return True

    def _compare(self, transition: Transition) -> None:
        missing = self._missing(transition.time)
        if len(missing) > self._slack():
            self._below.begin(_ON_NODES, transition)
        else:
            self._below.end(_ON_NODES)
        deployment = self._workloads.get(_MOVABLE)
        if deployment is not None and len(self._movable) >= _replicas(deployment):
            self._met = True
        if deployment is not None and self._met and len(self._movable) < self._floor():
            self._below.begin(_MOVABLE, transition)
        else:
            self._below.end(_MOVABLE)

    def _missing(self, now: datetime) -> set[str]:
        absent = self._covered - set(self._probes.values())
        return {node for node in absent if not self._nodes.is_leaving(node, now)}

    def _slack(self) -> int:
        """How many nodes may be without a probe at present."""
        daemonset = self._workloads.get(_ON_NODES)
        if daemonset is None or not self._rolling:
            return 0
        update = (daemonset["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        wanted = (daemonset.get("status") or {}).get("desiredNumberScheduled", 0)
        return _share(update.get("maxUnavailable", 1), wanted, math.ceil)

    def _floor(self) -> int:
        """How many movable probes there have to be at present."""
        deployment = self._workloads.get(_MOVABLE)
        if deployment is None:
            return 0
        strategy = deployment["spec"].get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return 0
        allowed = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%")
        wanted = _replicas(deployment)
        return wanted - _share(allowed, wanted, math.floor)


def _is_rolling(daemonset: Object, *, before: bool) -> bool:
    """Whether pods of an earlier template are being replaced. It is over when all are available again."""
    status = daemonset.get("status") or {}
    desired = status.get("desiredNumberScheduled", 0)
    if status.get("observedGeneration", 0) < daemonset["metadata"].get("generation", 0):
        return True
    # Absent for 0.6 s after a change of the template, on a real cluster: that is 0 then.
    if status.get("updatedNumberScheduled", 0) < desired:
        return True
    return before and status.get("numberAvailable", 0) < desired


def _replicas(deployment: Object | None) -> int:
    if deployment is None:
        return 0
    replicas: int = deployment["spec"].get("replicas", 1)
    return replicas


def _share(allowed: int | str, of: int, rounded: Callable[[float], int]) -> int:
    """A number or a percentage of pods."""
    if isinstance(allowed, int):
        return allowed
    return rounded(int(allowed.rstrip("%")) * of / 100)
