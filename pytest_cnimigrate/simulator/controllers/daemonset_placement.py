"""Where a DaemonSet's pods belong, and what they look like (`pkg/controller/daemon/util` in kube)."""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_cnimigrate.model.objects import Object, annotations_of, name_of
from pytest_cnimigrate.model.selectors import matches_node, untolerated_taint
from pytest_cnimigrate.simulator.controllers.pods import node_name, pod_from_template
from pytest_cnimigrate.simulator.controllers.revisions import HASH_LABEL

GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"
GENERATION_LABEL = "pod-template-generation"

# In the order of the recordings. Note what is not here: a node that is not Ready for want of a CNI repels
# ordinary daemons by `not-ready:NoSchedule`, and network-unavailable is for the host's network only.
_AUTOMATIC = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_AUTOMATIC_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


class Fit(NamedTuple):
    should_run: bool
    """A pod is to be started there."""
    may_stay: bool
    """A pod that is there already is left alone."""


def tolerations(template_spec: Object) -> list[Object]:
    """The template's tolerations and those that every daemon gets."""
    automatic = [*_AUTOMATIC]
    if template_spec.get("hostNetwork"):
        automatic.append(_AUTOMATIC_HOST_NETWORK)
    result: list[Object] = list(template_spec.get("tolerations") or ())
    for key, effect in automatic:
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        if toleration not in result:
            result.append(toleration)
    return result


def fit(template_spec: Object, all_tolerations: list[Object], node: Object) -> Fit:
    """Whether the DaemonSet belongs on the node.

    Affinity, node selector and node name decide always. Taints decide for pods that are not there yet; one
    that runs is driven away by NoExecute only.
    """
    wanted_node = template_spec.get("nodeName")
    if wanted_node and wanted_node != name_of(node):
        return Fit(False, False)
    if not matches_node(template_spec, node):
        return Fit(False, False)
    taints = node["spec"].get("taints")
    if untolerated_taint(taints, all_tolerations, effects=("NoExecute",)):
        return Fit(False, False)
    return Fit(untolerated_taint(taints, all_tolerations, effects=("NoSchedule",)) is None, True)


def required_node_affinity(pod_spec: Object) -> list[Object] | None:
    """`nodeSelectorTerms` of the required node affinity, or None without any."""
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required.get("nodeSelectorTerms") or [] if required else None


def daemon_pod(daemon_set: Object, node: str, revision_hash: str) -> Object:
    """The pod for one node: bound by affinity to its name, and left to the scheduler."""
    labels = {HASH_LABEL: revision_hash}
    generation = annotations_of(daemon_set).get(GENERATION_ANNOTATION)
    if generation:
        labels[GENERATION_LABEL] = generation
    pod = pod_from_template(daemon_set, daemon_set["spec"]["template"], labels)
    spec: dict[str, Any] = pod["spec"]
    affinity = spec.setdefault("affinity", {})
    affinity.setdefault("nodeAffinity", {})["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]},
        ]
    }
    spec["tolerations"] = tolerations(spec)
    return pod


def target_node(pod: Object) -> str:
    """The node a daemon pod is on or meant for, or "" for a pod that no DaemonSet made."""
    bound = node_name(pod)
    if bound:
        return bound
    for term in required_node_affinity(pod["spec"]) or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name" and field["operator"] == "In":
                name: str = field["values"][0]
                return name
    return ""
