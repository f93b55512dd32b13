"""Disruption budgets: how many of an application's pods may be evicted right now.

The eviction itself (429 or not) is the API server's; it takes `disruptionsAllowed` at its word, so this
controller writes the status only on the very version it has read.
"""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from pytest_cnimigrate.model.objects import (
    Object,
    controller_of,
    is_pod_ready,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    parse_timestamp,
    timestamp,
)
from pytest_cnimigrate.model.resources import DEPLOYMENTS, DISRUPTION_BUDGETS, STATEFUL_SETS
from pytest_cnimigrate.model.selectors import matches_label_selector
from pytest_cnimigrate.simulator.controllers.base import Context, Controller, update_status, without_zeros
from pytest_cnimigrate.simulator.controllers.pods import BY_NAMESPACE, pod_informer, select, standing
from pytest_cnimigrate.simulator.controllers.replicaset import replica_set_informer
from pytest_cnimigrate.simulator.controllers.rollout import resolve

DELETION_TIMEOUT = 120.0
"""Simulated seconds after which an eviction that deleted nothing no longer counts (kube: 2 min)."""


class UnknownScaleError(ValueError):
    """A percentage of nobody knows how many: the pods' owner has no scale."""


class DisruptionController(Controller):
    component: ClassVar[str] = "controllermanager"  # under this name kube's disruption controller records

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._budgets = self.informer(DISRUPTION_BUDGETS)
        self._pods = pod_informer(self.informers)
        self._replica_sets = replica_set_informer(self.informers)
        self._deployments = self.informer(DEPLOYMENTS)
        self._stateful_sets = self.informer(STATEFUL_SETS)

    def watch(self) -> None:
        self._budgets.add_index(BY_NAMESPACE, lambda budget: (namespace_of(budget),))
        self.enqueue_changes_of(self._budgets)
        self._pods.add_handler(self._pod_changed)
        for informer in (self._deployments, self._stateful_sets, self._replica_sets):
            informer.add_handler(self._scale_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if standing(old) == standing(new):
            return
        for pod in (old, new):
            if pod is not None:
                self._enqueue_budgets(namespace_of(pod), labels_of(pod))

    def _scale_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and old["spec"].get("replicas") == new["spec"].get("replicas"):
            return
        owner = new or old or {}
        template = owner["spec"]["template"].get("metadata") or {}
        self._enqueue_budgets(namespace_of(owner), template.get("labels") or {})

    def _enqueue_budgets(self, namespace: str, labels: dict[str, str]) -> None:
        for budget in self._budgets.indexed(BY_NAMESPACE, namespace):
            if matches_label_selector(budget["spec"].get("selector"), labels):
                expected = (budget.get("status") or {}).get("expectedPods") or 0
                self.enqueue_batched(key_of(budget), expected)

    async def sync(self, key: str) -> None:
        budget = self._budgets.by_key(key)
        if budget is None or is_terminating(budget):
            return
        pods = select(self._pods, namespace_of(budget), budget["spec"].get("selector"))
        if not pods:
            self.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        disrupted = self._still_disrupted(budget, pods)
        healthy = sum(1 for pod in pods if is_healthy(pod) and name_of(pod) not in disrupted)
        status = dict(budget.get("status") or {})
        try:
            expected, desired = self._expected_and_desired(budget, pods)
            allowed = max(0, healthy - desired) if expected else 0
            reason = "SufficientPods" if allowed else "InsufficientPods"
            status.update(expectedPods=expected, desiredHealthy=desired, currentHealthy=healthy)
            message = ""
        except ValueError as error:
            allowed, reason = 0, "SyncFailed"
            message = str(error)
            words = f"Failed to calculate the number of expected pods: {message}"
            self.recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", words)
        status.update(
            disruptionsAllowed=allowed,
            disruptedPods=disrupted,
            observedGeneration=budget["metadata"]["generation"],
            conditions=[_condition(budget, allowed=bool(allowed), reason=reason, message=message)],
        )
        keep = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
        await update_status(self.api, DISRUPTION_BUDGETS, budget, without_zeros(status, *keep))

    def _still_disrupted(self, budget: Object, pods: list[Object]) -> dict[str, str]:
        """Of the evictions that the API server granted, those whose pod is not on its way out yet."""
        granted: dict[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
        if not granted:
            return {}
        names = {name_of(pod) for pod in pods if not is_terminating(pod)}
        result = {}
        for name, moment in granted.items():
            passed = (dt.datetime.now(dt.UTC) - parse_timestamp(moment)).total_seconds() * self.pace.speed
            # Timestamps have whole seconds of wall time: an eviction never counts too briefly for that.
            left = DELETION_TIMEOUT + self.pace.speed - passed
            if name not in names:
                continue
            if left <= 0:
                words = f"Pod was expected by PDB {key_of(budget)} to be deleted but it wasn't"
                pod = next(each for each in pods if name_of(each) == name)
                self.recorder.event(pod, "Warning", "NotDeleted", words)
                continue
            result[name] = moment
            self.queue.add_after(key_of(budget), left)
        return result

    def _expected_and_desired(self, budget: Object, pods: list[Object]) -> tuple[int, int]:
        """(pods there should be, pods that must stay healthy)."""
        spec = budget["spec"]
        if "maxUnavailable" in spec:
            expected = self._scale(pods)
            return expected, max(0, expected - resolve(spec["maxUnavailable"], expected, round_up=True))
        least = spec.get("minAvailable", 1)
        if isinstance(least, int):
            return len(pods), least
        expected = self._scale(pods)
        return expected, resolve(least, expected, round_up=True)

    def _scale(self, pods: list[Object]) -> int:
        """How many pods the owners of these pods want in all."""
        owners = {owner["uid"]: owner for pod in pods if (owner := controller_of(pod)) is not None}
        # A bare pod counts for nothing in a percentage; several ReplicaSets of one Deployment count once.
        scales = dict(self._scale_of(owner, namespace_of(pods[0])) for owner in owners.values())
        return sum(scales.values())

    def _scale_of(self, owner: Object, namespace: str) -> tuple[str, int]:
        informers = {"ReplicaSet": self._replica_sets, "StatefulSet": self._stateful_sets}
        informer = informers.get(owner["kind"])
        found = informer.get(owner["name"], namespace) if informer is not None else None
        if found is None or found["metadata"]["uid"] != owner["uid"]:
            group_kind = f"{owner['kind'].lower()}s.{owner['apiVersion'].partition('/')[0]}"
            raise UnknownScaleError(f"{group_kind} does not implement the scale subresource")
        parent = controller_of(found)
        if parent is not None and parent["kind"] == "Deployment":
            deployment = self._deployments.get(parent["name"], namespace)
            if deployment is not None and deployment["metadata"]["uid"] == parent["uid"]:
                return parent["uid"], deployment["spec"].get("replicas", 1)
        return owner["uid"], found["spec"].get("replicas", 1)


def is_healthy(pod: Object) -> bool:
    """Ready and staying."""
    return is_pod_ready(pod) and not is_terminating(pod)


def _condition(budget: Object, *, allowed: bool, reason: str, message: str) -> Object:
    generation = budget["metadata"]["generation"]
    entry: Object = {
        "type": "DisruptionAllowed",
        "status": "True" if allowed else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": timestamp(),
    }
    for old in (budget.get("status") or {}).get("conditions") or ():
        if old["type"] == entry["type"] and old["status"] == entry["status"]:
            entry["lastTransitionTime"] = old["lastTransitionTime"]
    return entry
