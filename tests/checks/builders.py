"""Kubernetes objects in few words: what a test does not say is as it is when all is well."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}
CILIUM_IS_UP = {"type": "NetworkUnavailable", "status": "False", "reason": "CiliumIsUp"}
WAITS_FOR_A_CNI = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)


def node(
    name: str,
    *,
    ready: str | None = "True",
    message: str = "",
    labels: Object | None = None,
    taints: list[Object] | None = None,
    conditions: list[Object] | None = None,
    cordoned: bool = False,
    instance: str = "i-1",
) -> Object:
    """A node; `ready` is the status of its condition, None leaves the condition out."""
    found = list(conditions or ())
    if ready is not None:
        found.append({"type": "Ready", "status": ready, "reason": "KubeletReady", "message": message})
    spec: Object = {"providerID": f"aws:///us-west-1a/{instance}"}
    if taints is not None:
        spec["taints"] = taints
    if cordoned:
        spec["unschedulable"] = True
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {"conditions": found},
    }


def pod(
    name: str,
    on: str = "",
    *,
    namespace: str = "shop",
    owner: str | None = "ReplicaSet",
    phase: str = "Running",
    ready: bool = True,
    reason: str = "",
    labels: Object | None = None,
    host_network: bool = False,
    terminating: bool = False,
    static: bool = False,
    volumes: list[Object] | None = None,
    owner_name: str = "web",
) -> Object:
    """A pod on a node, by default running, ready, and owned by a ReplicaSet."""
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{namespace}-{name}",
        "labels": labels or {},
    }
    if owner:
        metadata["ownerReferences"] = [
            {"kind": owner, "name": owner_name, "uid": f"uid-{owner}-{owner_name}", "controller": True}
        ]
    if terminating:
        metadata["deletionTimestamp"] = "2026-11-22T20:00:00Z"
    if static:
        metadata["annotations"] = {"kubernetes.io/config.mirror": "0123"}
    spec: Object = {}
    if on:
        spec["nodeName"] = on
    if host_network:
        spec["hostNetwork"] = True
    if volumes:
        spec["volumes"] = volumes
    status: Object = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
    if reason:
        status["reason"] = reason
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def daemonset(
    name: str = "aws-node",
    *,
    namespace: str = "kube-system",
    generation: int = 2,
    affinity: Object | None = None,
    node_selector: Object | None = None,
    labels: Object | None = None,
    managers: list[str] | None = None,
    **status: int | None,
) -> Object:
    """A DaemonSet with 3 of 3 pods; keywords replace figures of its status, None takes one away."""
    figures: Object = {
        "observedGeneration": generation,
        "desiredNumberScheduled": 3,
        "currentNumberScheduled": 3,
        "updatedNumberScheduled": 3,
        "numberAvailable": 3,
        "numberReady": 3,
        "numberMisscheduled": 0,
    } | status
    pod_spec: Object = {"containers": []}
    if affinity is not None:
        pod_spec["affinity"] = affinity
    if node_selector is not None:
        pod_spec["nodeSelector"] = node_selector
    return {
        "kind": "DaemonSet",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "generation": generation,
            "managedFields": [{"manager": manager} for manager in managers or ()],
        },
        "spec": {"template": {"metadata": {"labels": labels or {}}, "spec": pod_spec}},
        "status": {key: value for key, value in figures.items() if value is not None},
    }


def deployment(
    name: str = "web", *, kind: str = "Deployment", wanted: int | None = 3, generation: int = 2, **status: Any
) -> Object:
    """A Deployment (or StatefulSet) with 3 of 3 pods; keywords replace fields of its status."""
    fields: Object = {
        "observedGeneration": generation,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
    } | status
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "generation": generation},
        "spec": {} if wanted is None else {"replicas": wanted},
        "status": {key: value for key, value in fields.items() if value is not None},
    }


def budget(
    name: str, selector: Object | None, *, allowed: int = 0, namespace: str = "shop", **status: int
) -> Object:
    return {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": selector, "maxUnavailable": 1},
        "status": {"disruptionsAllowed": allowed, **status},
    }


def config_map(**data: str) -> Object:
    """`cilium-config`; underscores in keys are dashes."""
    return {
        "kind": "ConfigMap",
        "metadata": {"name": "cilium-config", "namespace": "kube-system"},
        "data": {key.replace("_", "-"): value for key, value in data.items()},
    }


def terms(*expressions: list[Object], fields: list[Object] | None = None) -> Object:
    """An affinity that requires one of these terms, each a list of expressions."""
    found: list[Object] = [{"matchExpressions": list(one)} if one else {} for one in expressions]
    if fields is not None:
        found.append({"matchFields": fields})
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": found}}}


def expression(key: str, operator: str, *values: str) -> Object:
    found: Object = {"key": key, "operator": operator}
    return found | ({"values": list(values)} if values else {})


def eni_node(
    name: str, *, pool: int = 8, used: int = 2, instance: str = "i-1", error: str = "", **spec: Any
) -> Object:
    """A CiliumNode in ENI mode."""
    addresses = [f"10.0.0.{last}" for last in range(pool)]
    status: Object = {"used": {address: {"owner": "shop/web"} for address in addresses[:used]}}
    if error:
        status["operator-status"] = {"error": error}
    return {
        "kind": "CiliumNode",
        "metadata": {"name": name},
        "spec": {"instance-id": instance, "ipam": {"pool": {one: {} for one in addresses}}} | spec,
        "status": {"ipam": status},
    }
