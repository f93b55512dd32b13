"""ReplicaSets as a Deployment sees them: whose template, which revision, how large."""

from __future__ import annotations

from typing import Any

from pytest_cnimigrate.model.objects import (
    Object,
    annotations_of,
    copy,
    name_of,
    namespace_of,
    owner_reference,
)
from pytest_cnimigrate.simulator.controllers.revisions import TEMPLATE_HASH_LABEL
from pytest_cnimigrate.simulator.controllers.rollout import Replicas, deployment_limits

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"

# Annotations of a Deployment that are not handed down to its ReplicaSets.
_NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
)


def strategy(deployment: Object) -> str:
    name: str = (deployment["spec"].get("strategy") or {}).get("type") or "RollingUpdate"
    return name


def wanted(obj: Object) -> int:
    """`spec.replicas` of a Deployment or ReplicaSet."""
    replicas: int = obj["spec"].get("replicas", 1)
    return replicas


def revision_of(replica_set: Object) -> int:
    return int(annotations_of(replica_set).get(REVISION) or 0)


def as_replicas(replica_set: Object) -> Replicas:
    return Replicas(
        name=name_of(replica_set),
        wanted=wanted(replica_set),
        available=(replica_set.get("status") or {}).get("availableReplicas") or 0,
        max_replicas_before=int(annotations_of(replica_set).get(MAX_REPLICAS) or 0),
    )


def oldest_first(replica_sets: list[Object]) -> list[Object]:
    return sorted(
        replica_sets, key=lambda rs: (rs["metadata"]["creationTimestamp"], revision_of(rs), name_of(rs))
    )


def has_template(replica_set: Object, template: Object) -> bool:
    """Whether the ReplicaSet was made from this template (its own hash label aside)."""
    mine = replica_set["spec"]["template"]
    return bool(mine["spec"] == template["spec"] and _metadata(mine) == _metadata(template))


def _metadata(template: Object) -> tuple[Any, Any]:
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != TEMPLATE_HASH_LABEL}
    return labels, metadata.get("annotations") or {}


def new_replica_set(deployment: Object, digest: str, replicas: int, revision: int) -> Object:
    """The ReplicaSet for the Deployment's present template."""
    template = copy(deployment["spec"]["template"])
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[TEMPLATE_HASH_LABEL] = digest
    selector = copy(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[TEMPLATE_HASH_LABEL] = digest
    replica_set: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{digest}",
            "namespace": namespace_of(deployment),
            "labels": dict(labels),
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }
    if deployment["spec"].get("minReadySeconds"):
        replica_set["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    replica_set["metadata"]["annotations"] = annotations_for(replica_set, deployment, revision)
    return replica_set


def annotations_for(replica_set: Object, deployment: Object, revision: int) -> dict[str, str]:
    """The annotations the ReplicaSet should have: the Deployment's own, its revision, and its sizes.

    A revision never goes down; one that is left behind is kept in the history annotation.
    """
    result = dict(annotations_of(replica_set))
    result.update({k: v for k, v in annotations_of(deployment).items() if k not in _NOT_COPIED})
    before = revision_of(replica_set)
    if revision > before:
        result[REVISION] = str(revision)
        if before:
            history = [*filter(None, result.get(REVISION_HISTORY, "").split(",")), str(before)]
            result[REVISION_HISTORY] = ",".join(history)
    result.update(_sizes(deployment))
    return result


def _sizes(deployment: Object) -> dict[str, str]:
    replicas = wanted(deployment)
    surge = 0
    if strategy(deployment) == "RollingUpdate":
        rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        surge, _ = deployment_limits(
            replicas, rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%")
        )
    return {DESIRED_REPLICAS: str(replicas), MAX_REPLICAS: str(replicas + surge)}


def needs_scaling(replica_set: Object, deployment: Object) -> bool:
    """The Deployment's size has changed since this ReplicaSet was last sized."""
    desired = annotations_of(replica_set).get(DESIRED_REPLICAS)
    return desired is not None and desired != str(wanted(deployment))


def is_saturated(deployment: Object, replica_set: Object) -> bool:
    """The ReplicaSet alone is all that the Deployment asks for."""
    replicas = wanted(deployment)
    sizes = (wanted(replica_set), int(annotations_of(replica_set).get(DESIRED_REPLICAS) or -1))
    available = (replica_set.get("status") or {}).get("availableReplicas") or 0
    return bool(sizes == (replicas, replicas) and available == replicas)


def is_idle(replica_set: Object) -> bool:
    """Scaled to nought and done with it."""
    status = replica_set.get("status") or {}
    settled = status.get("observedGeneration", 0) >= replica_set["metadata"]["generation"]
    return bool(wanted(replica_set) == 0 and not status.get("replicas") and settled)


def is_complete(deployment: Object, status: Object) -> bool:
    """Every replica is new and available, and nothing old is left."""
    replicas = wanted(deployment)
    return bool(
        status.get("updatedReplicas", 0) == replicas
        and status.get("replicas", 0) == replicas
        and status.get("availableReplicas", 0) == replicas
        and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    )
