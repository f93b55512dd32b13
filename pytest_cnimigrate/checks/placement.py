"""Whether what runs on the old nodes may run on the new ones at all, before anything is moved.

A workload that is pinned to the old group, or to labels that somebody once put on its nodes by hand, is
evicted like any other and then stays Pending; a DaemonSet that is pinned in this way is just not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_cnimigrate.checks.affinity import required_terms
from pytest_cnimigrate.checks.capacity import pods_to_move
from pytest_cnimigrate.checks.nodes import in_words
from pytest_cnimigrate.model.objects import Object, controller_of, key_of, labels_of, name_of, namespace_of
from pytest_cnimigrate.model.pods import is_finished, is_of_daemonset
from pytest_cnimigrate.model.selectors import matches_node, untolerated_taint

# What kubelet and the cloud provider put on every node, whatever its group: https://kubernetes.io/docs/
# reference/labels-annotations-taints/. Groups share them if they share subnets and architecture.
_COMMON = (
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.k8s.aws/zone-id",
    "topology.ebs.csi.aws.com/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "eks.amazonaws.com/capacityType",
)
_TYPE = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_BARRING = ("NoSchedule", "NoExecute")


def nodes_to_come(
    old_nodes: Iterable[Object],
    *,
    labels: Mapping[str, str],
    taints: Sequence[Mapping[str, str]],
    instance_type: str,
) -> list[Object]:
    """What the new group's nodes will look like to the scheduler: one for each kind of old node.

    Args:
        old_nodes: whose zones, system and architecture the new nodes will share.
        labels: what the new group gives to its nodes, its own name included.
        taints: what its nodes keep for good.
        instance_type: of the new group.
    """
    found: list[Object] = []
    for node in old_nodes:
        common = {key: value for key, value in labels_of(node).items() if key in _COMMON}
        new: Object = {
            "kind": "Node",
            "metadata": {"name": "", "labels": common | dict.fromkeys(_TYPE, instance_type) | dict(labels)},
            "spec": {"taints": [dict(taint) for taint in taints]},
        }
        if new not in found:
            found.append(new)
    return found


def cannot_follow(
    pods: Iterable[Object],
    daemonsets: Iterable[Object],
    old_nodes: Iterable[Object],
    new_nodes: Sequence[Object],
    *,
    except_for: str = "",
) -> list[str]:
    """Problems: what has pods on the old nodes and would find no place on the new ones, a line a workload.

    DaemonSets are judged by their template, since their controller binds each pod to its node. The DaemonSet
    `except_for` (`namespace/name`) is the old CNI's, which is to stay away.
    """
    names = {name_of(node) for node in old_nodes}
    here = [pod for pod in pods if pod["spec"].get("nodeName") in names and not is_finished(pod)]
    specs: dict[str, Object] = {}
    for pod in pods_to_move(here, names):
        specs.setdefault(_workload(pod), pod["spec"])
    served = {_workload(pod) for pod in here if is_of_daemonset(pod)}
    for daemonset in daemonsets:
        name = f"DaemonSet {key_of(daemonset)}"
        if name in served and key_of(daemonset) != except_for:
            specs[name] = daemonset["spec"]["template"]["spec"]
    return [
        f"{workload} would find no place on the new nodes: {reason}"
        for workload, spec in specs.items()
        if (reason := _obstacle(spec, new_nodes))
    ]


def _workload(pod: Object) -> str:
    owner = controller_of(pod)
    if owner is None:
        return f"Pod {key_of(pod)}"
    return f"{owner['kind']} {namespace_of(pod)}/{owner['name']}"


def _obstacle(spec: Object, new_nodes: Sequence[Object]) -> str:
    """Why no new node admits a pod of this specification, or "" if one does."""
    admitting = [node for node in new_nodes if matches_node(spec, node)]
    if not admitting:
        asked = [f"{key}={value}" for key, value in sorted((spec.get("nodeSelector") or {}).items())]
        asks = [f"nodeSelector {', '.join(asked)}"] if asked else []
        if required_terms(spec.get("affinity")):
            asks.append("required node affinity")
        return f"none will match its {' and '.join(asks)}; give the new group these labels, or relax it"
    refusing = [
        untolerated_taint(node["spec"]["taints"], spec.get("tolerations"), _BARRING) for node in admitting
    ]
    if None in refusing:
        return ""
    return f"it does not tolerate their taint {in_words(refusing[0] or {})}"
