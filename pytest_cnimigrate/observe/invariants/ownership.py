"""A node that takes pods has a CNI, and pods start only where its agent is ready."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pytest_cnimigrate.model.objects import Object, is_pod_ready
from pytest_cnimigrate.model.pods import is_finished, uses_host_network
from pytest_cnimigrate.observe.invariants.base import Invariant, Lasting, Violation
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.facts import keeps_pods_off, node_of, pod_ip
from pytest_cnimigrate.observe.invariants.ledger import Ledger
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State

ORDER = 5.0
"""Seconds within which the order of two reports means nothing: kubelet reports its pods one by one, and an
agent is at work for some seconds before its probe says Ready (2.3 s in our recording of a reboot)."""

REPLACED = 30.0
"""Seconds in which a DaemonSet puts a new agent on a node in place of one that has gone, even when it is
busy; if it does not, it does not want to."""


def _agent_of(context: Context, pod: Object) -> str:
    """`old` or `new`, whose CNI's agent it is, or empty."""
    return "old" if context.is_old_agent(pod) else "new" if context.is_new_agent(pod) else ""


class NodeWithoutCni(Invariant):
    """Never a schedulable, untainted node without a CNI that owns it.

    A CNI owns a node once its agent has been ready there, for as long as an agent of it is there, ready or
    not: its configuration stays, and a restart is no loss.
    """

    name = "node-without-cni"
    why = (
        "pods are sent to a node that takes them; without a CNI they hang in ContainerCreating, "
        "with a CNI that left its configuration behind they get addresses that nobody serves"
    )
    kinds = ("Node", "Pod")

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context, ledger)
        self._agents: dict[str, dict[str, set[str]]] = {}
        """By node and CNI, the keys of the agents that are there."""
        self._owned: dict[str, set[str]] = {}
        """By node, the CNIs that own it."""
        self._abandoned = Lasting[tuple[str, str]](context.seconds(REPLACED))
        self._open = Lasting[str](context.seconds(ORDER))

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        if transition.kind == "Node":
            self._node(transition)
        else:
            self._pod(transition, state)
        return iter(())

    def elapsed(self, now: datetime, state: State) -> Iterator[Violation]:
        for gone in self._abandoned.overdue(now):
            node, cni = gone.key
            self._abandoned.end(gone.key)
            self._owned.get(node, set()).discard(cni)
            self._judge_node(node, state.get("Node", node), gone.transition)
        for left in self._open.overdue(now):
            node = left.key
            yield self.violation(
                left.transition,
                f"node {node} takes pods (it is neither cordoned nor tainted), "
                "but no CNI owns it: no agent has been ready there, or it has left",
                time=left.time,
            )

    def _node(self, transition: Transition) -> None:
        node = transition.key
        if transition.new is None:
            self._owned.pop(node, None)
            self._open.end(node)
        self._judge_node(node, transition.new, transition)

    def _pod(self, transition: Transition, state: State) -> None:
        pod = transition.last
        cni, node = _agent_of(self.context, pod), node_of(pod)
        if not cni or not node:
            return
        agents = self._agents.setdefault(node, {}).setdefault(cni, set())
        if transition.new is None or is_finished(pod):
            agents.discard(transition.key)
            if not agents:
                self._abandoned.begin((node, cni), transition)
            return
        agents.add(transition.key)
        self._abandoned.end((node, cni))
        if is_pod_ready(pod) and cni not in self._owned.setdefault(node, set()):
            self._owned[node].add(cni)
            self._judge_node(node, state.get("Node", node), transition)

    def _judge_node(self, name: str, node: Object | None, transition: Transition) -> None:
        if node is None or keeps_pods_off(node) or self._owned.get(name):
            self._open.end(name)
        else:
            self._open.begin(name, transition)


class PodWithoutAgent(Invariant):
    """Never a pod with an address of its own started on a node whose agent is not ready."""

    name = "pod-without-agent"
    why = (
        "a pod that starts before its node's agent is unmanaged, or gets its address from a CNI that is on "
        "its way out (cilium taints.rst)"
    )
    kinds = ("Pod",)

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context, ledger)
        self._patience = timedelta(seconds=context.seconds(ORDER))
        self._ready: dict[str, set[str]] = {}
        self._was_ready: dict[str, datetime] = {}
        """By node, when its last ready agent ceased to be so."""
        self._started: dict[str, set[str]] = {}
        """By node, the pods that started while no agent was ready, of late."""
        self._waiting = Lasting[str](context.seconds(ORDER))

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        pod = transition.last
        node = node_of(pod)
        if node and _agent_of(self.context, pod):
            self._agent(transition, node)
        elif node and self._has_started(transition):
            ready_until = self._was_ready.get(node)
            if not self._ready.get(node) and (
                ready_until is None or transition.time - ready_until > self._patience
            ):
                self._waiting.begin(transition.key, transition)
                self._started.setdefault(node, set()).add(transition.key)
        return iter(())

    def elapsed(self, now: datetime, state: State) -> Iterator[Violation]:
        for start in self._waiting.overdue(now):
            pod = start.transition.last
            node = node_of(pod)
            self._waiting.end(start.key)
            self._started.get(node, set()).discard(start.transition.key)
            yield self.violation(
                start.transition,
                f"pod {start.transition.key} started on node {node} with address {pod_ip(pod)}, "
                "and no CNI's agent was ready there",
            )

    def _agent(self, transition: Transition, node: str) -> None:
        ready = self._ready.setdefault(node, set())
        if transition.new is not None and is_pod_ready(transition.new):
            ready.add(transition.key)
            for pod in self._started.pop(node, ()):
                self._waiting.end(pod)
        elif transition.key in ready:
            ready.discard(transition.key)
            if not ready:
                self._was_ready[node] = transition.time

    @staticmethod
    def _has_started(transition: Transition) -> bool:
        """Whether it has got an address just now. What was there from the start may have had it for long."""
        pod = transition.new
        return (
            pod is not None
            and transition.found_by != "start"
            and not uses_host_network(pod)
            and not is_finished(pod)
            and bool(pod_ip(pod))
            and pod_ip(pod) != pod_ip(transition.old)
        )
