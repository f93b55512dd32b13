"""Nodes that replace others come up fenced: with the old CNI's label, or with the new group's taint."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.observe.invariants.base import Invariant, Violation
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.ledger import Ledger
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State


class OldNodeUnfenced(Invariant):
    """Every node of the old group carries the fence label from the moment that the fence stands.

    The fence stands when every term of the old CNI's node affinity requires the label.
    """

    name = "old-node-unfenced"
    why = (
        "the old CNI leaves a node without the label, or never comes to it, and Cilium takes it: labels on "
        "Node objects do not survive a replacement, only those of the node group do"
    )
    kinds = ("Node", "DaemonSet")

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context, ledger)
        self._stands = False
        self._unfenced: set[str] = set()
        """Old nodes without the label."""

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        if transition.kind == "DaemonSet":
            if transition.key == self.context.old_cni:
                yield from self._daemonset(transition)
            return
        node, name = transition.new, transition.key
        was_unfenced = name in self._unfenced
        if node is None or not self.context.is_old(node) or self.context.is_fenced(node):
            self._unfenced.discard(name)
            return
        self._unfenced.add(name)
        if self._stands and not was_unfenced and not self._is_ours(transition):
            how = "has lost" if transition.old is not None else "has joined without"
            label = f"{self.context.fence_key}={self.context.fence_value}"
            yield self.violation(transition, f"node {name} of the old group {how} the label {label}")

    def _daemonset(self, transition: Transition) -> Iterator[Violation]:
        stood, self._stands = self._stands, self._fences(transition.new)
        if self._stands and not stood:
            for name in sorted(self._unfenced):
                label = f"{self.context.fence_key}={self.context.fence_value}"
                yield self.violation(
                    transition,
                    f"{transition.key} is now for nodes with {label} only, and old node {name} has no such "
                    "label: it loses its CNI",
                )

    def _fences(self, daemonset: Object | None) -> bool:
        if daemonset is None:
            return False
        affinity = daemonset["spec"]["template"]["spec"].get("affinity") or {}
        required = (affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
        terms = (required or {}).get("nodeSelectorTerms") or ()
        return bool(terms) and all(
            any(
                one["key"] == self.context.fence_key
                and one["operator"] == "In"
                and one.get("values") == [self.context.fence_value]
                for one in term.get("matchExpressions") or ()
            )
            for term in terms
        )

    def _is_ours(self, transition: Transition) -> bool:
        """Whether the run takes the label off again: an undo."""
        return any(
            change.is_undo and change.can_have_caused(transition.earliest, transition.time)
            for change in self.ledger.changes(("label-node", "label-nodegroup"), until=transition.time)
        )


class NewNodeUntainted(Invariant):
    """Every node of the new group is born with the taint that keeps pods away until Cilium is ready."""

    name = "new-node-untainted"
    why = (
        "pods that start before Cilium are unmanaged, and nothing but the taint keeps them away (taints.rst)"
    )
    kinds = ("Node",)

    @classmethod
    def applies(cls, context: Context) -> bool:
        """Where nodes are migrated in place there is no new group."""
        return context.strategy == "node-pool"

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        node = transition.new
        # One that a list finds may have lost its taint to a ready agent already.
        if node is None or transition.operation != "added" or transition.found_by != "watch":
            return
        keys = {taint["key"] for taint in node["spec"].get("taints") or ()}
        if self.context.is_new(node) and self.context.new_taint_key not in keys:
            yield self.violation(
                transition,
                f"node {transition.key} of the new group has joined without the taint "
                f"{self.context.new_taint_key}: pods may start there before Cilium",
            )
