"""Why a node will not do for a pod: the scheduler's filters, in kube's order and words.

Messages are those of kube-scheduler 1.36 as recorded (`1 node(s) had untolerated taint(s)`); older versions
name the taint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.selectors import matches_node, tolerates, untolerated_taint
from pytest_cnimigrate.simulator.controllers.scheduling.nodes import Claim, NodeInfo

UNSCHEDULABLE_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node is refused. Evicting others could help only if not `final` (kube tries preemption then)."""

    reasons: tuple[str, ...]
    final: bool = False


Check = Callable[[NodeInfo], Refusal | None]


def node_checks(pod: Object, claim: Claim) -> list[Check]:
    """Filters that look at one node alone; those about other pods are in `topology`."""
    spec = pod["spec"]
    tolerations = spec.get("tolerations")

    def unschedulable(info: NodeInfo) -> Refusal | None:
        if info.node["spec"].get("unschedulable") and not tolerates(tolerations, UNSCHEDULABLE_TAINT):
            return Refusal(("node(s) were unschedulable",), final=True)
        return None

    def taints(info: NodeInfo) -> Refusal | None:
        effects = ("NoSchedule", "NoExecute")
        if untolerated_taint(info.node["spec"].get("taints"), tolerations, effects=effects):
            return Refusal(("node(s) had untolerated taint(s)",), final=True)
        return None

    def affinity(info: NodeInfo) -> Refusal | None:
        if matches_node(spec, info.node):
            return None
        return Refusal(("node(s) didn't match Pod's node affinity/selector",), final=True)

    def ports(info: NodeInfo) -> Refusal | None:
        if claim.ports and info.has_port_conflict(claim.ports):
            return Refusal(("node(s) didn't have free ports for the requested pod ports",))
        return None

    def resources(info: NodeInfo) -> Refusal | None:
        reasons = []
        final = False
        # A node that does not say how many pods it takes (a bare test object) takes any number.
        if "pods" in info.allocatable and (info.pods + 1) * 1000 > info.allocatable["pods"]:
            reasons.append("Too many pods")
        for resource, amount in claim.requests.items():
            allocatable = info.allocatable.get(resource, 0)
            if info.requested[resource] + amount > allocatable:
                reasons.append(f"Insufficient {resource}")
                final = final or amount > allocatable
        return Refusal(tuple(reasons), final) if reasons else None

    return [unschedulable, taints, affinity, ports, resources]


@dataclass(slots=True)
class Diagnosis:
    """How many nodes were refused, and why."""

    nodes: int
    reasons: Counter[str]
    final: int = 0
    other: int = 0
    """Nodes refused for reasons that preemption could lift, had it found victims."""

    @classmethod
    def of(cls, nodes: int) -> Diagnosis:
        return cls(nodes, Counter())

    def add(self, refusal: Refusal) -> None:
        self.reasons.update(refusal.reasons)
        if refusal.final:
            self.final += 1
        else:
            self.other += 1

    def message(self) -> str:
        """The text of FailedScheduling and of the condition PodScheduled."""
        if not self.nodes:
            return "no nodes available to schedule pods"
        fit = f"0/{self.nodes} nodes are available"
        reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in self.reasons.items()))
        helped = []
        if self.other:
            helped.append(f"{self.other} No preemption victims found for incoming pod")
        if self.final:
            helped.append(f"{self.final} Preemption is not helpful for scheduling")
        preemption = ", ".join(sorted(helped))
        return f"{fit}: {reasons}. no new claims to deallocate, preemption: {fit}: {preemption}."
