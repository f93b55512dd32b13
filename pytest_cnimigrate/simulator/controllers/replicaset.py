"""The ReplicaSet controller: so many pods of a template, no more and no fewer."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, ClassVar

from pytest_cnimigrate.model.objects import (
    Object,
    annotations_of,
    controller_of,
    is_pod_ready,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    timestamp,
    uid_of,
)
from pytest_cnimigrate.model.resources import PODS, REPLICA_SETS
from pytest_cnimigrate.model.selectors import matches_label_selector
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.client.informer import Informer, Informers
from pytest_cnimigrate.simulator.controllers.base import Context, Controller, update_status, without_zeros
from pytest_cnimigrate.simulator.controllers.pods import (
    BY_NAMESPACE,
    BY_OWNER,
    ORPHANS,
    Availability,
    PodControl,
    claim,
    is_active,
    is_terminal,
    node_name,
    phase,
    pod_from_template,
    pod_informer,
    standing,
)

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


def replica_set_informer(informers: Informers) -> Informer:
    informer = informers.of(REPLICA_SETS)
    informer.add_index(BY_OWNER, lambda rs: (c["uid"],) if (c := controller_of(rs)) else ())
    informer.add_index(ORPHANS, lambda rs: () if controller_of(rs) else (namespace_of(rs),))
    informer.add_index("uid", lambda rs: (uid_of(rs),))
    informer.add_index(BY_NAMESPACE, lambda rs: (namespace_of(rs),))
    return informer


class ReplicaSetController(Controller):
    component: ClassVar[str] = "replicaset-controller"
    workers: ClassVar[int] = 5

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._replica_sets = replica_set_informer(self.informers)
        self._pods = pod_informer(self.informers)
        self._availability = Availability(self._pods, self.pace)
        self._control = PodControl(self.api, self._pods, self.recorder)

    def watch(self) -> None:
        self.enqueue_changes_of(self._replica_sets)
        self._pods.add_handler(self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if standing(old) == standing(new):
            return
        owners = {c["uid"] for each in (old, new) if each is not None and (c := controller_of(each))}
        for uid in owners:
            for replica_set in self._replica_sets.indexed("uid", uid):
                self.enqueue_batched(key_of(replica_set), self._pods.count(BY_OWNER, uid))
        if not owners and new is not None:
            for replica_set in self._replica_sets.indexed(BY_NAMESPACE, namespace_of(new)):
                if matches_label_selector(replica_set["spec"]["selector"], labels_of(new)):
                    self.queue.add(key_of(replica_set))

    async def sync(self, key: str) -> None:
        replica_set = self._replica_sets.by_key(key)
        if replica_set is None:
            return
        pods = await claim(self.api, PODS, self._pods, replica_set, replica_set["spec"]["selector"])
        failure: ApiError | None = None
        if not is_terminating(replica_set):
            try:
                await self._scale(replica_set, [pod for pod in pods if is_active(pod)])
            except ApiError as error:
                failure = error
            pods = self._pods.indexed(BY_OWNER, uid_of(replica_set))
        await update_status(self.api, REPLICA_SETS, replica_set, self._status(replica_set, pods, failure))
        if failure is not None:
            raise failure

    async def _scale(self, replica_set: Object, active: list[Object]) -> None:
        difference = replica_set["spec"].get("replicas", 1) - len(active)
        if difference > 0:
            template = replica_set["spec"]["template"]
            pods = [pod_from_template(replica_set, template, {}) for _ in range(difference)]
            await self._control.create(replica_set, pods)
        elif difference < 0:
            ordered = self._expendable_first(replica_set, active)
            await self._control.delete(replica_set, ordered[:-difference])

    def _expendable_first(self, replica_set: Object, active: list[Object]) -> list[Object]:
        """Kube's order of deletion (`ActivePodsWithRanks`)."""
        related = Counter(node_name(pod) for pod in self._related(replica_set) if is_active(pod))

        def rank(pod: Object) -> tuple[Any, ...]:
            return (
                bool(node_name(pod)),  # not even bound
                _PHASE_ORDER.get(phase(pod), 2),
                is_pod_ready(pod),
                deletion_cost(pod),
                -related[node_name(pod)],  # doubled up on a node
                _age_rank(self._availability.ready_for(pod)),
                -_restarts(pod),
                _descending(pod["metadata"]["creationTimestamp"]),
                name_of(pod),
            )

        return sorted(active, key=rank)

    def _related(self, replica_set: Object) -> list[Object]:
        """The pods of all ReplicaSets of the same Deployment: nodes that old pods still fill are spared."""
        owner = controller_of(replica_set)
        siblings = self._replica_sets.indexed(BY_OWNER, owner["uid"]) if owner else [replica_set]
        return [pod for sibling in siblings for pod in self._pods.indexed(BY_OWNER, uid_of(sibling))]

    def _status(self, replica_set: Object, pods: list[Object], failure: ApiError | None) -> Object:
        previous = replica_set.get("status") or {}
        spec = replica_set["spec"]
        active = [pod for pod in pods if is_active(pod)]
        min_ready = spec.get("minReadySeconds") or 0
        available = 0
        for pod in active:
            missing = self._availability.missing_seconds(pod, min_ready)
            if missing == 0:
                available += 1
            elif missing:
                self.queue.add_after(key_of(replica_set), missing)
        template_labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        fully_labeled = sum(1 for pod in active if template_labels.items() <= labels_of(pod).items())
        status = {
            "replicas": len(active),
            "fullyLabeledReplicas": fully_labeled,
            "readyReplicas": sum(1 for pod in active if is_pod_ready(pod)),
            "availableReplicas": available,
            "observedGeneration": replica_set["metadata"]["generation"],
            "terminatingReplicas": sum(1 for pod in pods if is_terminating(pod) and not is_terminal(pod)),
            "conditions": _failure_condition(previous, failure),
        }
        return without_zeros(status, "replicas", "terminatingReplicas")


def _failure_condition(previous: Object, failure: ApiError | None) -> list[Object]:
    others = [c for c in previous.get("conditions") or () if c["type"] != "ReplicaFailure"]
    if failure is None:
        return others
    known = [c for c in previous.get("conditions") or () if c["type"] == "ReplicaFailure"]
    if known and known[0]["message"] == failure.message:
        return [*others, known[0]]
    entry = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    return [*others, {**entry, "message": failure.message, "lastTransitionTime": timestamp()}]


def deletion_cost(pod: Object) -> int:
    """The annotation with which people steer scale-downs; what is not a number counts as nought."""
    try:
        return int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _restarts(pod: Object) -> int:
    return sum(c.get("restartCount", 0) for c in (pod.get("status") or {}).get("containerStatuses") or ())


def _age_rank(seconds: float) -> int:
    """Ages in powers of two: kube prefers no particular pod among those of about the same age."""
    return int(math.log2(seconds)) if seconds >= 1 else 0


def _descending(text: str) -> tuple[int, ...]:
    """A sort key that puts later timestamps first."""
    return tuple(-ord(letter) for letter in text)
