"""No more nodes out of service at once than the batch allows."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_cnimigrate.observe.invariants.base import Invariant, Violation
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.facts import NodeBook, is_being_evicted, is_cordoned, node_of
from pytest_cnimigrate.observe.invariants.ledger import Ledger
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State


class TooManyNodesOut(Invariant):
    """Never more nodes cordoned or draining than the batch allows.

    A node is draining while pods that were evicted from it are on their way out. With a second node group the
    run cordons all old nodes on purpose, so that its own cordons do not count there, only its drains.
    Nodes that were cordoned before the record began, and nodes of a group that the run is taking away, are
    not counted.
    """

    name = "too-many-nodes-out"
    why = (
        "each node out of service takes capacity and replicas away; the batch size in scenario.yaml is what "
        "was planned for"
    )
    kinds = ("Node", "Pod")

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context, ledger)
        self._nodes = NodeBook(context, ledger)
        self._cordoned: set[str] = set()
        self._evicted: dict[str, set[str]] = {}
        """By node, the pods that are being evicted from it."""

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        grown = self._node(transition) if transition.kind == "Node" else self._pod(transition, state)
        out = sorted(self._cordoned | self._evicted.keys()) if grown else []
        if len(out) > self.context.batch:
            yield self.violation(
                transition,
                f"{len(out)} nodes are cordoned or draining at once ({', '.join(out)}), "
                f"the batch is {self.context.batch}",
            )

    def _node(self, transition: Transition) -> bool:
        self._nodes.note(transition)
        node = transition.key
        if not is_cordoned(transition.new):
            self._cordoned.discard(node)
            return False
        if is_cordoned(transition.old) or transition.found_by == "start" or self._is_exempt(transition):
            return False
        self._cordoned.add(node)
        return node not in self._evicted

    def _pod(self, transition: Transition, state: State) -> bool:
        pod = transition.last
        node = node_of(pod)
        if transition.new is None or not is_being_evicted(pod):
            evicted = self._evicted.get(node)
            if evicted is not None:
                evicted.discard(transition.key)
                if not evicted:
                    del self._evicted[node]
            return False
        if not is_cordoned(state.get("Node", node)) or self._nodes.is_leaving(node, transition.time):
            return False
        grown = node not in self._evicted
        self._evicted.setdefault(node, set()).add(transition.key)
        return grown and node not in self._cordoned

    def _is_exempt(self, transition: Transition) -> bool:
        if self._nodes.is_leaving(transition.key, transition.time):
            return True
        return self.context.strategy == "node-pool" and any(
            change.parameters.get("node") == transition.key
            for change in self.ledger.changes(("cordon-node",), until=transition.time)
        )
