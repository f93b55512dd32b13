"""Eviction: a deletion that asks the disruption budgets first (`pods/eviction`).

Follows `pkg/registry/core/pod/storage/eviction.go`: the budget's status is decremented and the pod is written
into `disruptedPods`, so that two evictions at the same moment cannot both use the last allowance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_cnimigrate.model.objects import Object, condition, copy, is_pod_ready, labels_of, timestamp
from pytest_cnimigrate.model.resources import DISRUPTION_BUDGETS, PODS
from pytest_cnimigrate.model.selectors import matches_label_selector
from pytest_cnimigrate.simulator.apiserver.deletion import DeleteOptions
from pytest_cnimigrate.simulator.client.api import ApiError

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer

DISRUPTION_BUDGET = "DisruptionBudget"


def evict(server: ApiServer, name: str, namespace: str, *, options: DeleteOptions | None = None) -> None:
    """Delete the pod unless a budget forbids it; raises 429 then, and 500 when two budgets cover it."""
    options = options or DeleteOptions()
    pod = server.get(PODS, name, namespace)
    if _may_go_anyway(pod):
        server.delete(PODS, name, namespace, options=options)
        return
    budgets = _budgets_of(server, pod)
    if len(budgets) > 1:
        raise ApiError(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, "
            "which the eviction subresource does not support.",
        )
    if budgets:
        _use_budget(server, budgets[0], pod, dry_run=options.dry_run)
    if not options.dry_run:
        _mark_as_target(server, pod)
    server.delete(PODS, name, namespace, options=options)


def _may_go_anyway(pod: Object) -> bool:
    """Pods that have ended, have not started, or are going already, cost no budget anything."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in pod["metadata"]


def _mark_as_target(server: ApiServer, pod: Object) -> None:
    """The condition that tells controllers why the pod goes, as recorded."""
    marked = copy(pod)
    others = [c for c in marked["status"].get("conditions") or () if c["type"] != "DisruptionTarget"]
    target: Object = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(),
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    marked["status"]["conditions"] = [*others, target]
    server.update(PODS, marked, subresource="status")


def _budgets_of(server: ApiServer, pod: Object) -> list[Object]:
    budgets, _ = server.list(DISRUPTION_BUDGETS, pod["metadata"]["namespace"])
    labels = labels_of(pod)
    return [
        budget
        for budget in budgets
        if matches_label_selector((budget.get("spec") or {}).get("selector"), labels)
    ]


def _use_budget(server: ApiServer, budget: Object, pod: Object, *, dry_run: bool) -> None:
    if not is_pod_ready(pod) and _unready_may_go(budget):
        return
    metadata, status = budget["metadata"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        # The budget has just been written and its controller has not counted yet: soon it will have.
        text = f"The disruption budget {metadata['name']} is still being processed by the server."
        raise _too_many_requests(text, retry_after=10)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed <= 0:
        judged = condition(budget, "DisruptionAllowed") or {}
        text = f"The disruption budget {metadata['name']} "
        if judged.get("status") == "False" and judged.get("reason") == "SyncFailed":
            text += (
                f"does not allow evicting pods currently because it failed sync: {judged.get('message', '')}"
            )
        else:
            desired, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
            text += f"needs {desired} healthy pods and has {healthy} currently"
        raise _too_many_requests(text)
    if dry_run:
        return
    used = copy(budget)
    used["status"]["disruptionsAllowed"] = allowed - 1
    used["status"].setdefault("disruptedPods", {})[pod["metadata"]["name"]] = timestamp()
    server.update(DISRUPTION_BUDGETS, used, subresource="status")


def _unready_may_go(budget: Object) -> bool:
    """A pod that is not ready may go if the application is healthy enough, or if the policy says so."""
    spec, status = budget.get("spec") or {}, budget.get("status") or {}
    if spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    desired = status.get("desiredHealthy", 0)
    return bool(status.get("currentHealthy", 0) >= desired and desired > 0)


def _too_many_requests(text: str, *, retry_after: int | None = None) -> ApiError:
    """A 429; without Retry-After when nobody can know how long: with one, kubectl would wait in silence."""
    details: dict[str, Any] = {"causes": [{"reason": DISRUPTION_BUDGET, "message": text}]}
    return ApiError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details=details,
        retry_after=retry_after,
    )
