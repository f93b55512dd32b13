"""No pod is restarted that the run did not restart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pytest_cnimigrate.model.objects import (
    Object,
    annotations_of,
    condition,
    is_pod_ready,
    is_terminating,
    parse_timestamp,
    uid_of,
)
from pytest_cnimigrate.model.pods import is_finished, is_static
from pytest_cnimigrate.observe.invariants.base import Invariant, Lasting, Violation
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.facts import NodeBook, Workload, node_of, workload_of
from pytest_cnimigrate.observe.invariants.ledger import Ledger, OwnChange
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State

_HEARD = 2.0
"""Seconds in which the reason of a deletion (its workload was scaled down, or has gone) is heard of too."""
_SCALED = timedelta(minutes=10)
"""How long after a workload was scaled down a deletion of its pods may be due to that."""
_REPLICAS = ("Deployment", "StatefulSet", "ReplicaSet")
_OF_NODES = ("drain-nodes",)
_OF_WORKLOADS = ("restart-rollout", "fence-daemonset", "delete-daemonset", "apply-object", "upgrade-release")


class UnexpectedRestart(Invariant):
    """Never a pod restarted, in place or by being replaced, that the run did not restart.

    A pod's end is the run's doing when the run has drained its node, takes its node group away, or has
    restarted or changed its workload after the pod was made. It is nobody's when the pod had finished, its
    workload was scaled down or has gone, or nothing brings it back (a bare pod, one of a Job).
    """

    name = "unexpected-restart"
    why = (
        "Cilium's operator deletes pods that it does not manage (cilium#9145, #26388), taints evict, agents "
        "crash: a migration that restarts what it was not asked to is not hitless, however well it ends"
    )
    kinds = ("Pod", "Node", *_REPLICAS)

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context, ledger)
        self._nodes = NodeBook(context, ledger)
        self._scaled: dict[Workload, datetime] = {}
        """When workloads were last scaled down."""
        self._was_ready: set[str] = set()
        """Uids of pods that have been ready."""
        self._seen: dict[str, datetime] = {}
        """By uid, when pods were made that were seen to be: `creationTimestamp` knows no fractions."""
        self._ending = Lasting[str](context.seconds(_HEARD))

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        if transition.kind == "Node":
            self._nodes.note(transition)
        elif transition.kind != "Pod":
            self._scale(transition)
        else:
            yield from self._pod(transition, state)

    def elapsed(self, now: datetime, state: State) -> Iterator[Violation]:
        for end in self._ending.overdue(now):
            self._ending.end(end.key)
            transition = end.transition
            pod = transition.last
            made = self._seen.pop(end.key, None) or parse_timestamp(pod["metadata"]["creationTimestamp"])
            workload = workload_of(pod, state)
            if workload is None or self._is_explained(transition, workload, made, state):
                continue
            yield self.violation(
                transition,
                f"pod {transition.key} of {_spoken(workload)} on node {node_of(pod)} was deleted"
                f"{_reason(pod)}, and no change of this run explains it",
            )

    def _pod(self, transition: Transition, state: State) -> Iterator[Violation]:
        pod = transition.last
        uid = uid_of(pod)
        if transition.operation == "added" and transition.found_by == "watch":
            self._seen[uid] = transition.time
        if _is_ending(transition) and _is_replaced(pod):
            self._ending.begin(uid, transition)
        if transition.new is None:
            self._was_ready.discard(uid)
            if uid not in self._ending:
                self._seen.pop(uid, None)
            return
        # One that has never been ready is still starting: crashes then are the business of whoever waits.
        if _restarts(pod) > _restarts(transition.old) and uid in self._was_ready and not is_terminating(pod):
            yield self.violation(
                transition,
                f"a container of pod {transition.key} on node {node_of(pod)} has been restarted"
                f"{_last_words(pod)}",
            )
        if is_pod_ready(pod):
            self._was_ready.add(uid)

    def _scale(self, transition: Transition) -> None:
        if transition.old is None or transition.new is None:
            return
        if _replicas(transition.new) < _replicas(transition.old):
            namespace, _, name = transition.key.partition("/")
            self._scaled[transition.kind, namespace, name] = transition.time

    def _is_explained(self, transition: Transition, workload: Workload, made: datetime, state: State) -> bool:
        pod, time = transition.last, transition.time
        kind, namespace, name = workload
        owner = state.get(kind, f"{namespace}/{name}")
        if (owner is None and state.count(kind)) or (owner is not None and is_terminating(owner)):
            # Nothing will bring it back: this is no restart. (Where none of the kind is known at all, the
            # kind is not recorded, and nobody knows.) The old CNI's removal is judged elsewhere.
            return True
        scaled = self._scaled.get(workload)
        if scaled is not None and abs(time - scaled) <= _SCALED:
            return True
        node = node_of(pod)
        if kind == "DaemonSet" and state.get("Node", node) is None:
            return True  # It has gone with its node.
        if self._nodes.is_leaving(node, time):
            return True
        return any(
            node in change.parameters.get("nodes", ())
            for change in self.ledger.changes(_OF_NODES, until=time)
        ) or any(
            made <= change.started and _concerns(change, workload, owner)
            for change in self.ledger.changes(_OF_WORKLOADS, until=time)
        )


def _is_ending(transition: Transition) -> bool:
    """Whether its deletion has just begun, or is all that was heard of it."""
    old, new = transition.old, transition.new
    if old is None or is_terminating(old):
        return False
    return new is None or is_terminating(new)


def _is_replaced(pod: Object) -> bool:
    """Whether it was at work on a node and is of the kind that comes back."""
    owners = pod["metadata"].get("ownerReferences") or ()
    kinds = {owner["kind"] for owner in owners if owner.get("controller")}
    return (
        bool(kinds)
        and "Job" not in kinds
        and bool(node_of(pod))
        and not is_finished(pod)
        and not is_static(pod)
    )


def _concerns(change: OwnChange, workload: Workload, owner: Object | None) -> bool:
    """Whether a change was about a workload."""
    kind, namespace, name = workload
    about = change.parameters
    match change.kind:
        case "apply-object":
            metadata = about["manifest"]["metadata"]
            target = about["manifest"]["kind"], metadata.get("namespace", ""), metadata["name"]
            return target == workload
        case "upgrade-release":
            annotations = annotations_of(owner) if owner is not None else {}
            release = (
                annotations.get("meta.helm.sh/release-namespace"),
                annotations.get("meta.helm.sh/release-name"),
            )
            return release == (about["namespace"], about["release"])
        case "restart-rollout":
            return (about["workload"], about["namespace"], about["name"]) == workload
        case _:
            return kind == "DaemonSet" and (about["namespace"], about["name"]) == (namespace, name)


def _restarts(pod: Object | None) -> int:
    status = (pod or {}).get("status") or {}
    return sum(one.get("restartCount", 0) for one in status.get("containerStatuses") or ())


def _replicas(workload: Object) -> int:
    replicas: int = workload["spec"].get("replicas", 1)
    return replicas


def _spoken(workload: Workload) -> str:
    kind, namespace, name = workload
    return f"{kind} {namespace}/{name}"


def _reason(pod: Object) -> str:
    disrupted = condition(pod, "DisruptionTarget")
    if disrupted is None:
        return ""
    return f" ({disrupted.get('message') or disrupted.get('reason')})"


def _last_words(pod: Object) -> str:
    """How the restarted container had ended, if that is known."""
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (one.get("lastState") or {}).get("terminated")
        if ended is not None:
            reason = ended.get("reason") or "no reason"
            return f" ({one['name']} ended with {reason}, code {ended.get('exitCode')})"
    return ""
