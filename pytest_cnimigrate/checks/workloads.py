"""Workloads and their pods: who can be moved, who cannot, and whether everybody is back."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pytest_cnimigrate.model.objects import (
    Object,
    condition,
    controller_of,
    is_terminating,
    key_of,
    labels_of,
    namespace_of,
    uid_of,
)
from pytest_cnimigrate.model.pods import (
    is_finished,
    is_of_daemonset,
    is_static,
    uses_empty_dir,
    uses_host_network,
)
from pytest_cnimigrate.model.selectors import matches_label_selector


def is_evictable(pod: Object) -> bool:
    """Whether draining its node concerns it: all but pods of DaemonSets, static pods and finished ones."""
    return not (is_finished(pod) or is_static(pod) or is_of_daemonset(pod))


def pods_that_need_the_node(pods: Iterable[Object]) -> list[Object]:
    """Pods that hold a CNI's address on their node and would lose something if it went away.

    Not those of DaemonSets (they go with their node), on the host's network, static, or finished.
    """
    return [
        pod
        for pod in pods
        if pod["spec"].get("nodeName") and is_evictable(pod) and not uses_host_network(pod)
    ]


def irreplaceable(pods: Iterable[Object]) -> list[str]:
    """Problems: pods that nothing would create anew if they were evicted."""
    return [
        f"pod {key_of(pod)} on node {pod['spec'].get('nodeName')} has no controller: "
        "once evicted, nothing brings it back; delete it, or run it by a Deployment"
        for pod in pods
        if is_evictable(pod) and not is_terminating(pod) and controller_of(pod) is None
    ]


def keeping_data(pods: Iterable[Object], *, allowed: bool) -> list[str]:
    """Problems: pods whose data on their node would be lost, unless the scenario has `allowed` that."""
    return [
        f"pod {key_of(pod)} on node {pod['spec'].get('nodeName')} keeps data in an emptyDir volume, which "
        "would be lost when it moves; set drain.delete_emptydir_data to allow that"
        for pod in pods
        if not allowed and is_evictable(pod) and uses_empty_dir(pod)
    ]


def blocking_budgets(budgets: Iterable[Object], pods: Collection[Object]) -> list[str]:
    """Problems: disruption budgets that allow no eviction of pods which have to be moved.

    So do two budgets on one pod, whatever they allow: the API refuses to choose between them.
    """
    problems = []
    budgets_of: dict[str, list[str]] = {}
    for budget in budgets:
        covered = [key_of(pod) for pod in pods if _is_protected(pod, budget)]
        for key in covered:
            budgets_of.setdefault(key, []).append(key_of(budget))
        status = budget.get("status") or {}
        if covered and status.get("disruptionsAllowed", 0) <= 0:
            more = f" and {len(covered) - 1} more" if len(covered) > 1 else ""
            problems.append(
                f"PodDisruptionBudget {key_of(budget)} allows no disruption "
                f"({status.get('currentHealthy', 0)} healthy, {status.get('desiredHealthy', 0)} needed), "
                f"but pod {covered[0]}{more} must be moved; scale the workload up or relax the budget"
            )
    problems += [
        f"pod {key} is covered by more than one PodDisruptionBudget ({', '.join(names)}), "
        "so the API refuses to evict it; leave it to one of them"
        for key, names in budgets_of.items()
        if len(names) > 1
    ]
    return problems


def _is_protected(pod: Object, budget: Object) -> bool:
    """Whether an eviction of this pod asks this budget; pods that are pending or terminating go freely."""
    return (
        namespace_of(pod) == namespace_of(budget)
        and is_evictable(pod)
        and not is_terminating(pod)
        and pod.get("status", {}).get("phase") != "Pending"
        and matches_label_selector(budget["spec"].get("selector"), labels_of(pod))
    )


def incomplete(workloads: Iterable[Object]) -> list[str]:
    """Problems: Deployments and StatefulSets that do not have all their pods available."""
    problems = []
    for workload in workloads:
        status = workload.get("status") or {}
        generation = workload["metadata"].get("generation", 0)
        if status.get("observedGeneration", 0) < generation:
            # The figures are of an older specification: an autoscaler or a person has just changed it.
            problems.append(
                f"{workload['kind']} {key_of(workload)}: its controller has not seen generation "
                f"{generation} yet"
            )
            continue
        wanted = workload["spec"].get("replicas", 1)
        field = "availableReplicas" if workload["kind"] == "Deployment" else "readyReplicas"
        if status.get(field, 0) != wanted:
            problems.append(
                f"{workload['kind']} {key_of(workload)}: {status.get(field, 0)} of {wanted} pods ready"
            )
    return problems


def waiting(pods: Iterable[Object]) -> list[str]:
    """The uids of pods that wait for a node, a network or an image: of every kind of workload, also such as
    only an operator knows. Not pods of DaemonSets, which are bound to their node: others look after them.
    """
    return [
        uid_of(pod)
        for pod in pods
        if pod.get("status", {}).get("phase") == "Pending"
        and not (is_terminating(pod) or is_of_daemonset(pod) or is_static(pod))
    ]


def still_waiting(pods: Iterable[Object], uids: Collection[str]) -> list[str]:
    """Problems: which of these pods wait even now. Others that have come since have time left."""
    pods = list(pods)
    now = set(waiting(pods)) & set(uids)
    return [f"pod {key_of(pod)} has not started: {_why_waiting(pod)}" for pod in pods if uid_of(pod) in now]


def _why_waiting(pod: Object) -> str:
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled["status"] != "True":
        return str(scheduled.get("message") or scheduled.get("reason") or "it has no node")
    states = (entry.get("state") or {} for entry in pod["status"].get("containerStatuses") or ())
    reasons = [state["waiting"].get("reason", "waiting") for state in states if "waiting" in state]
    return f"{reasons[0] if reasons else 'Pending'} on node {pod['spec'].get('nodeName', '(none)')}"


def failed_jobs(jobs: Iterable[Object]) -> dict[str, str]:
    """`namespace/name` of every Job that has failed -> why."""
    return {
        key_of(job): str(failed.get("message") or failed.get("reason") or "no reason given")
        for job in jobs
        if (failed := condition(job, "Failed")) is not None and failed["status"] == "True"
    }


def broken_jobs(jobs: Iterable[Object], *, before: Collection[str] = ()) -> list[str]:
    """Problems: Jobs that have failed, but for those that had `before` (CronJobs keep theirs for a while)."""
    return [
        f"Job {key} has failed: {reason}" for key, reason in failed_jobs(jobs).items() if key not in before
    ]


def left_on(pods: Iterable[Object], nodes: Collection[str]) -> list[str]:
    """Problems: pods on these nodes that a drain should have moved, those still terminating included."""
    return [
        f"pod {key_of(pod)} is still on node {pod['spec']['nodeName']}"
        + (" (terminating)" if is_terminating(pod) else "")
        for pod in pods
        if pod["spec"].get("nodeName") in nodes and is_evictable(pod)
    ]


def running_with_pod_network(pods: Iterable[Object], nodes: Collection[str]) -> list[str]:
    """Problems: pods on these nodes that run although their node has no CNI, so with whose network?"""
    return [
        f"pod {key_of(pod)} runs on node {pod['spec']['nodeName']} and is not on the host's network"
        for pod in pods
        if pod["spec"].get("nodeName") in nodes
        and pod.get("status", {}).get("phase") == "Running"
        and not uses_host_network(pod)
    ]


def replica_counts(workloads: Iterable[Object]) -> dict[str, Any]:
    """`Kind namespace/name` -> wanted replicas: what must be there again after a move."""
    return {f"{item['kind']} {key_of(item)}": item["spec"].get("replicas", 1) for item in workloads}
