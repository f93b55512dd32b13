"""Workloads and their pods: who can be moved, who cannot, and whether everybody is back."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pytest_cnimigrate.model.objects import (
    Object,
    annotations_of,
    controller_of,
    is_terminating,
    key_of,
    labels_of,
    namespace_of,
)
from pytest_cnimigrate.model.selectors import matches_label_selector

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

SUPERSEDED_REASONS = frozenset(
    {
        "TaintToleration",
        "NodeAffinity",
        "NodeLost",
        "Evicted",
        "Shutdown",
        "Preempting",
        "UnexpectedAdmissionError",
    }
)
"""Reasons of Failed pods that their controller has replaced already: a node's refusal or an eviction, not a
failure of the workload. The list is cilium status' own (cilium/cilium-cli PR 47286)."""


def is_finished(pod: Object) -> bool:
    """Succeeded or Failed: it holds no address any more and will not come back."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def is_static(pod: Object) -> bool:
    """A mirror of a static pod: kubelet's own, cannot be evicted."""
    return MIRROR_ANNOTATION in annotations_of(pod)


def is_of_daemonset(pod: Object) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner["kind"] == "DaemonSet"


def uses_host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def uses_empty_dir(pod: Object) -> bool:
    return any("emptyDir" in volume for volume in pod["spec"].get("volumes") or ())


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
        if is_evictable(pod) and controller_of(pod) is None
    ]


def blocking_budgets(budgets: Iterable[Object], pods: Collection[Object]) -> list[str]:
    """Problems: disruption budgets that allow no eviction of pods which have to be moved."""
    problems = []
    for budget in budgets:
        status = budget.get("status") or {}
        if status.get("disruptionsAllowed", 0) > 0:
            continue
        covered = [
            key_of(pod)
            for pod in pods
            if namespace_of(pod) == namespace_of(budget)
            and is_evictable(pod)
            and matches_label_selector(budget["spec"].get("selector"), labels_of(pod))
        ]
        if covered:
            problems.append(
                f"PodDisruptionBudget {key_of(budget)} allows no disruption "
                f"({status.get('currentHealthy', 0)} healthy, {status.get('desiredHealthy', 0)} needed) "
                f"and covers {len(covered)} pods to be moved, e.g. {covered[0]}"
            )
    return problems


def incomplete(workloads: Iterable[Object]) -> list[str]:
    """Problems: Deployments and StatefulSets that do not have all their pods available."""
    problems = []
    for workload in workloads:
        status = workload.get("status") or {}
        wanted = workload["spec"].get("replicas", 1)
        field = "availableReplicas" if workload["kind"] == "Deployment" else "readyReplicas"
        if status.get(field, 0) != wanted:
            problems.append(
                f"{workload['kind']} {key_of(workload)}: {status.get(field, 0)} of {wanted} pods ready"
            )
    return problems


def broken_jobs(jobs: Iterable[Object]) -> list[str]:
    """Problems: Jobs that have failed."""
    return [
        f"Job {key_of(job)} has failed: {entry.get('message') or entry.get('reason')}"
        for job in jobs
        for entry in (job.get("status") or {}).get("conditions") or ()
        if entry["type"] == "Failed" and entry["status"] == "True"
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
