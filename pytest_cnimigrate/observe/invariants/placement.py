"""Two CNIs must not meet on one node."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

from pytest_cnimigrate.model.objects import Object, key_of
from pytest_cnimigrate.model.pods import is_finished
from pytest_cnimigrate.observe.invariants.base import Invariant, Violation
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.facts import concerns_labels, node_of
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State


class _Misplaced(Invariant):
    """A pod of one CNI on a node of the other, whichever of the two is heard of first."""

    kinds = ("Pod", "Node")

    @classmethod
    def applies(cls, context: Context) -> bool:
        """Where nodes are migrated in place, both are there for a time on purpose."""
        return context.strategy == "node-pool"

    @abstractmethod
    def concerns(self, pod: Object) -> bool:
        """Whether it is a pod of the CNI that must stay away."""

    @abstractmethod
    def is_forbidden(self, node: Object) -> bool:
        """Whether it must stay away from this node."""

    @abstractmethod
    def sentence(self, pod: Object) -> str:
        """What is wrong."""

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        if transition.new is None:
            return
        if transition.kind == "Pod":
            pod = transition.new
            was_there = transition.old is not None and bool(node_of(transition.old))
            if self.concerns(pod) and node_of(pod) and not was_there:
                node = state.get("Node", node_of(pod))
                if node is not None and self.is_forbidden(node) and not is_finished(pod):
                    yield self.violation(transition, self.sentence(pod))
        elif concerns_labels(transition) and self.is_forbidden(transition.new):
            if transition.old is not None and self.is_forbidden(transition.old):
                return
            for pod in state.pods_on(transition.key):
                if self.concerns(pod) and not is_finished(pod):
                    yield self.violation(transition, self.sentence(pod))


class OldCniOnNewNode(_Misplaced):
    """Never a pod of the old CNI on a new node."""

    name = "old-cni-on-new-node"
    why = (
        "two CNIs on one node both manage its interfaces and routes, and addresses flap "
        "(cilium k8s-install-helm.rst); aws-node tolerates every taint, so only its affinity keeps it away"
    )

    def concerns(self, pod: Object) -> bool:
        return self.context.is_old_agent(pod)

    def is_forbidden(self, node: Object) -> bool:
        return self.context.is_new(node)

    def sentence(self, pod: Object) -> str:
        return f"pod {key_of(pod)} of the old CNI is on new node {node_of(pod)}, which only Cilium may serve"


class NewCniOnFencedNode(_Misplaced):
    """Never an agent of the new CNI on a node that the fence label gives to the old one."""

    name = "new-cni-on-fenced-node"
    why = (
        "the agent renames the old CNI's configuration (cni.exclusive) and takes interfaces of the node, "
        "so that pods which are there lose their network"
    )

    def concerns(self, pod: Object) -> bool:
        return self.context.is_new_agent(pod)

    def is_forbidden(self, node: Object) -> bool:
        return self.context.is_fenced(node)

    def sentence(self, pod: Object) -> str:
        label = f"{self.context.fence_key}={self.context.fence_value}"
        return f"Cilium's agent {key_of(pod)} is on node {node_of(pod)}, which {label} gives to the old CNI"
