"""The Node object as kubelet on an EKS worker registers it, and its status."""

from __future__ import annotations

import hashlib
from typing import Any

from pytest_cnimigrate.model.objects import Object, timestamp
from pytest_cnimigrate.simulator.cloud import Instance
from pytest_cnimigrate.simulator.nodes.machine import Machine

KUBELET_VERSION = "v1.32.4-eks-098bf9a"

NETWORK_NOT_READY = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)
CSI_NOT_INITIALISED = "CSINode is not yet initialized"


def node_object(machine: Machine, *, csi_initialised: bool = False) -> Object:
    """What kubelet posts first: labels and taints of the node group, not Ready."""
    instance = machine.instance
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": machine.name,
            "labels": node_labels(instance),
            "annotations": {
                "alpha.kubernetes.io/provided-node-ip": machine.address,
                "node.alpha.kubernetes.io/ttl": "0",
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
        },
        "spec": {
            "providerID": f"aws:///{instance.availability_zone}/{instance.instance_id}",
            **({"taints": [dict(taint) for taint in instance.taints]} if instance.taints else {}),
        },
        "status": node_status(machine, conditions=node_conditions(False, csi_initialised, [])),
    }


def node_labels(instance: Instance) -> dict[str, str]:
    """The labels of an EKS worker; what the node group says is not overridden."""
    zone = instance.availability_zone
    region = zone.rstrip("abcdef")
    return {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/instance-type": instance.instance_type,
        "beta.kubernetes.io/os": "linux",
        "eks.amazonaws.com/capacityType": "ON_DEMAND",
        "eks.amazonaws.com/nodegroup": instance.node_group,
        "failure-domain.beta.kubernetes.io/region": region,
        "failure-domain.beta.kubernetes.io/zone": zone,
        "k8s.io/cloud-provider-aws": hashlib.md5(
            instance.cluster_name.encode(), usedforsecurity=False
        ).hexdigest(),
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": instance.private_dns_name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": instance.instance_type,
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": zone,
        **instance.labels,
    }


def node_status(machine: Machine, *, conditions: list[Object]) -> Object:
    instance = machine.instance
    system_uuid = _uuid(instance.instance_id)
    return {
        "addresses": [
            {"type": "InternalIP", "address": machine.address},
            {"type": "InternalDNS", "address": instance.private_dns_name},
            {"type": "Hostname", "address": instance.private_dns_name},
        ],
        "capacity": _resources(instance),
        "allocatable": _resources(instance),
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "images": [{"names": [image], "sizeBytes": 100_000_000} for image in sorted(machine.images)],
        "nodeInfo": {
            "architecture": "amd64",
            "bootID": machine.boot_id,
            "containerRuntimeVersion": "containerd://1.7.27",
            "kernelVersion": "6.1.141-155.222.amzn2023.x86_64",
            "kubeProxyVersion": KUBELET_VERSION,
            "kubeletVersion": KUBELET_VERSION,
            "machineID": system_uuid.replace("-", ""),
            "operatingSystem": "linux",
            "osImage": "Amazon Linux 2023.8.20250707",
            "systemUUID": system_uuid,
        },
    }


def node_conditions(network_ready: bool, csi_initialised: bool, earlier: list[Object]) -> list[Object]:
    """Kubelet's four conditions; they keep their transition time while their status stays."""
    problems = []
    if not network_ready:
        problems.append(NETWORK_NOT_READY)
    if not csi_initialised:
        problems.append(CSI_NOT_INITIALISED)
    message = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    ready = (
        ("Ready", "False", "KubeletNotReady", message)
        if problems
        else ("Ready", "True", "KubeletReady", "kubelet is posting ready status")
    )
    now = timestamp()
    before = {entry["type"]: entry for entry in earlier}
    conditions: list[Object] = []
    for kind, status, reason, text in (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ready,
    ):
        known = before.get(kind)
        since = known["lastTransitionTime"] if known is not None and known["status"] == status else now
        entry: dict[str, Any] = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": text,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since,
        }
        conditions.append(entry)
    return conditions


def _resources(instance: Instance) -> dict[str, str]:
    return {
        "cpu": instance.cpu,
        "ephemeral-storage": "83873772Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": instance.memory,
        "pods": str(instance.max_pods),
    }


def _uuid(instance_id: str) -> str:
    digest = hashlib.sha256(instance_id.encode()).hexdigest()
    return f"ec2{digest[:5]}-{digest[5:9]}-{digest[9:13]}-{digest[13:17]}-{digest[17:29]}"
