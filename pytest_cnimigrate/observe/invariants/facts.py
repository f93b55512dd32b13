"""Small questions that several rules ask of pods, nodes and the run's own changes."""

from __future__ import annotations

from datetime import datetime

from pytest_cnimigrate.model.objects import (
    Object,
    condition,
    controller_of,
    is_pod_ready,
    is_terminating,
    labels_of,
    namespace_of,
)
from pytest_cnimigrate.model.pods import is_finished
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.ledger import Ledger
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State

Workload = tuple[str, str, str]
"""Kind, namespace and name of what a pod belongs to in the end."""


def node_of(pod: Object) -> str:
    name: str = pod["spec"].get("nodeName", "")
    return name


def pod_ip(pod: Object | None) -> str:
    address: str = ((pod or {}).get("status") or {}).get("podIP", "")
    return address


def is_serving(pod: Object) -> bool:
    """Ready, and not on its way out."""
    return is_pod_ready(pod) and not is_terminating(pod) and not is_finished(pod)


def is_cordoned(node: Object | None) -> bool:
    return bool(node is not None and node["spec"].get("unschedulable"))


def keeps_pods_off(node: Object) -> bool:
    """Whether ordinary pods cannot come: cordoned, or with a taint that is more than a wish."""
    taints = node["spec"].get("taints") or ()
    return is_cordoned(node) or any(taint["effect"] in ("NoSchedule", "NoExecute") for taint in taints)


def is_being_evicted(pod: Object) -> bool:
    """Whether an eviction (a drain's) has begun to end it: the API server leaves this condition."""
    disrupted = condition(pod, "DisruptionTarget")
    return (
        is_terminating(pod) and disrupted is not None and disrupted.get("reason") == "EvictionByEvictionAPI"
    )


def concerns_labels(transition: Transition) -> bool:
    """Whether the object came, or its labels changed."""
    return transition.old is None or any(
        change.path.startswith("/metadata/labels") for change in transition.changes
    )


def workload_of(pod: Object, state: State) -> Workload | None:
    """What a pod belongs to: its DaemonSet, StatefulSet or Job, or the Deployment behind its ReplicaSet."""
    owner = controller_of(pod)
    if owner is None:
        return None
    namespace = namespace_of(pod)
    if owner["kind"] != "ReplicaSet":
        return owner["kind"], namespace, owner["name"]
    replica_set = state.get("ReplicaSet", f"{namespace}/{owner['name']}")
    above = controller_of(replica_set) if replica_set is not None else None
    if above is not None:
        return above["kind"], namespace, above["name"]
    # The ReplicaSet has gone, or is not known yet: a Deployment's is named after it and its template's hash.
    suffix = f"-{labels_of(pod).get('pod-template-hash', '')}"
    if len(suffix) > 1 and owner["name"].endswith(suffix):
        return "Deployment", namespace, owner["name"].removesuffix(suffix)
    return "ReplicaSet", namespace, owner["name"]


class NodeBook:
    """Which node belongs to which group, also after it has gone."""

    def __init__(self, context: Context, ledger: Ledger) -> None:
        self._context = context
        self._ledger = ledger
        self._groups: dict[str, str] = {}

    def note(self, transition: Transition) -> None:
        """Take in a Node's transition."""
        if transition.new is not None and concerns_labels(transition):
            context = self._context
            group = (
                context.old_group
                if context.is_old(transition.new)
                else context.new_group
                if context.is_new(transition.new)
                else ""
            )
            self._groups[transition.key] = group

    def is_leaving(self, node: str, now: datetime) -> bool:
        """Whether the run has begun to take the node's group away, or nodes from it."""
        group = self._groups.get(node, "")
        if not group:
            return False
        for change in self._ledger.changes(("scale-nodegroup", "delete-nodegroup"), until=now):
            if change.parameters.get("name") != group:
                continue
            if change.kind == "delete-nodegroup":
                return not change.is_undo
            # Whatever scaled it last counts.
            before = change.captured.get("desired")
            return not change.is_undo and before is not None and change.parameters["desired"] < before
        return False
