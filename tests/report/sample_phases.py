"""The phases of the sample migration: what a real scenario would hold, shortened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Change = tuple[str, str, dict[str, Any], dict[str, Any]]
"""Kind, description, parameters, and what was there before."""


@dataclass(frozen=True)
class SamplePhase:
    name: str
    title: str
    text: str
    action: str = ""
    changes: tuple[Change, ...] = ()
    checks: tuple[str, ...] = ()
    action_seconds: float = 3.0


OLD_NODES = ("ip-10-0-11-17", "ip-10-0-12-201", "ip-10-0-13-64")

AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                        {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate"]},
                    ]
                }
            ]
        }
    }
}

CILIUM_VALUES = {
    "eni": {"enabled": True},
    "ipam": {"mode": "eni"},
    "routingMode": "native",
    "operator": {"unmanagedPodWatcher": {"restart": False}},
}

PREFLIGHT = SamplePhase(
    "preflight",
    "See that the cluster is fit for the change",
    """\
Why: a migration that starts with trouble ends with more of it, and nobody can tell which is which.

What changes: nothing.
""",
    checks=(
        "All nodes are Ready",
        "The VPC CNI runs on every node",
        "No add-on manages fields that will be changed",
        "The new node group exists and is empty",
        "Disruption budgets allow every eviction that draining needs",
        "CoreDNS has two replicas on different nodes",
    ),
)

PROBE = SamplePhase(
    "probe",
    "Deploy the reachability probe",
    """\
Goldpinger as a DaemonSet and as a Deployment: the one shows nodes, the other shows pods that move.

Undo:

    kubectl delete -f manifests/goldpinger.yaml
""",
    "Apply goldpinger's manifests",
    tuple(
        ("apply-manifest", f"apply {kind} default/goldpinger", {"kind": kind, "name": "goldpinger"}, {})
        for kind in ("ServiceAccount", "Role", "RoleBinding", "DaemonSet", "Deployment", "Service")
    ),
    (
        "A probe runs on every node",
        "Every pair of probes reaches each other",
        "Names resolve from every probe",
    ),
    9.0,
)

FENCE = SamplePhase(
    "fence",
    "Fence the old CNI",
    """\
Why: new nodes must not get the VPC CNI. The DaemonSet `aws-node` is bound to the nodes that are there now.

What changes:
- every node of group `ng-1` is labelled `cni=aws-cni`
- `aws-node` gets a node affinity for that label; all its pods restart

Undo: put the affinity back, then take the labels away.
""",
    "Label the old nodes and bind aws-node to them",
    (
        *(
            (
                "label-node",
                f"label node {node} with cni=aws-cni",
                {"node": node, "key": "cni", "value": "aws-cni"},
                {"labels": {}},
            )
            for node in OLD_NODES
        ),
        (
            "node-affinity",
            "bind DaemonSet kube-system/aws-node to nodes with cni=aws-cni",
            {"daemonset": "kube-system/aws-node", "key": "cni", "operator": "In", "values": ["aws-cni"]},
            {"affinity": AFFINITY},
        ),
    ),
    (
        "aws-node runs on every old node",
        "aws-node would not be scheduled to a new node",
        "The probe still sees every pair",
    ),
    14.0,
)

NEW_NODES = SamplePhase(
    "new-nodes",
    "Scale up the new node group",
    "The nodes of `ng-cilium` come up without a CNI: they are NotReady and tainted until Cilium is there.",
    "Scale ng-cilium to 3 nodes",
    (
        (
            "scale-node-group",
            "scale node group ng-cilium from 0 to 3",
            {"group": "ng-cilium", "desired": 3, "max": 3},
            {"desired": 0, "max": 1},
        ),
    ),
    (
        "3 new nodes have joined",
        "The new nodes are NotReady for want of a CNI",
        "No aws-node pod is on a new node",
    ),
    41.0,
)

CILIUM = SamplePhase(
    "cilium",
    "Install Cilium on the new nodes",
    """\
Cilium 1.18.3 in ENI mode, only on nodes without `cni=aws-cni`. The operator's watcher of unmanaged pods
stays off.

Undo:
1. `helm uninstall cilium`
2. scale `ng-cilium` to 0
""",
    "Install the Helm release cilium",
    (
        (
            "helm-release",
            "install Helm release kube-system/cilium 1.18.3",
            {"release": "cilium", "namespace": "kube-system", "version": "1.18.3", "values": CILIUM_VALUES},
            {"release": None},
        ),
    ),
    (
        "Cilium is ready on every new node",
        "The new nodes are Ready and without taint",
        "Cilium runs on no old node",
        "Old and new nodes reach each other both ways",
    ),
    38.0,
)

CORDON = SamplePhase(
    "cordon",
    "Cordon the old nodes",
    "From here on pods start on new nodes only.",
    "Cordon the nodes of ng-1",
    tuple(
        ("cordon-node", f"cordon node {node}", {"node": node}, {"unschedulable": False}) for node in OLD_NODES
    ),
    ("No old node takes new pods", "Nothing has moved yet"),
    1.2,
)

RESTART_PROBE = SamplePhase(
    "restart-probe",
    "Move the probe",
    """\
The goldpinger Deployment is restarted: its pods must come up under Cilium and be reached from both sides.
""",
    "Restart Deployment default/goldpinger",
    (
        (
            "rollout-restart",
            "restart Deployment default/goldpinger",
            {"deployment": "default/goldpinger"},
            {"restartedAt": None},
        ),
    ),
    ("Every pod of the Deployment is on a new node", "Old and new sides reach each other both ways"),
    11.0,
)

DRAIN = SamplePhase(
    "drain",
    "Drain the old nodes",
    """\
One node at a time, through the eviction API, so that disruption budgets hold.

**Point of no return**: what moves now gets new addresses.
""",
    "Drain node by node",
    tuple(
        ("drain-node", f"drain node {node}", {"node": node, "delete_emptydir_data": True}, {"pods": 11})
        for node in OLD_NODES
    ),
    (
        "Workloads are complete and on new nodes",
        "No pod is stuck in Terminating",
        "Every pod is managed by Cilium",
        "Services answer from the new side",
    ),
    96.0,
)

REMOVE_OLD_CNI = SamplePhase(
    "remove-old-cni",
    "Remove the VPC CNI",
    """\
Deletes the DaemonSet `aws-node`. Pods that still run on old nodes keep their network; new ones get none.
""",
    "Delete DaemonSet kube-system/aws-node",
    (
        (
            "delete-object",
            "delete DaemonSet kube-system/aws-node",
            {"object": "daemonset/kube-system/aws-node"},
            {"spec": {"template": {"spec": {"affinity": AFFINITY}}}},
        ),
    ),
    ("No aws-node pod is left", "Reachability is complete on the new side"),
    2.5,
)

REMOVE_OLD_NODES = SamplePhase(
    "remove-old-nodes",
    "Remove the old node group",
    "Scales `ng-1` to nought.",
    "Scale ng-1 to 0",
    (
        (
            "scale-node-group",
            "scale node group ng-1 from 3 to 0",
            {"group": "ng-1", "desired": 0},
            {"desired": 3},
        ),
    ),
    ("No old node is left", "No CiliumNode is left over", "The whole cluster is reachable"),
    27.0,
)

PHASES = (
    PREFLIGHT,
    PROBE,
    FENCE,
    NEW_NODES,
    CILIUM,
    CORDON,
    RESTART_PROBE,
    DRAIN,
    REMOVE_OLD_CNI,
    REMOVE_OLD_NODES,
)
