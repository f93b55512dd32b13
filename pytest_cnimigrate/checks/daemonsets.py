"""DaemonSets and Deployments: whether a rollout has finished, and where the pods are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pytest_cnimigrate.model.objects import Object, is_pod_ready, is_terminating, key_of, name_of
from pytest_cnimigrate.model.pods import is_finished
from pytest_cnimigrate.providers.node_groups import NodeGroupReader


def rollout_problems(daemonset: Object, *, desired: int | None = None) -> list[str]:
    """Problems: why a DaemonSet's rollout is not finished, optionally with `desired` pods exactly.

    Without `desired` there must be one pod at least: a DaemonSet that no node admits is never unfinished.

    Right after a change of the template `updatedNumberScheduled` is absent for about half a second while all
    other figures look finished (seen on Kubernetes 1.36), so it is compared with the desired number.
    """
    name = f"DaemonSet {key_of(daemonset)}"
    status = daemonset.get("status") or {}
    generation = daemonset["metadata"].get("generation", 0)
    if status.get("observedGeneration") != generation:
        return [f"{name}: its controller has not seen generation {generation} yet"]
    wanted = status.get("desiredNumberScheduled", 0)
    problems = []
    if desired is not None and wanted != desired:
        problems.append(f"{name} wants {wanted} pods instead of {desired}")
    if desired is None and not wanted:
        problems.append(f"{name} wants no pods: no node matches its selector, affinity and tolerations")
    for field, word in (("updatedNumberScheduled", "updated"), ("numberAvailable", "available")):
        if status.get(field, 0) != wanted:
            problems.append(f"{name}: {status.get(field, 0)} of {wanted} pods {word}")
    if status.get("numberMisscheduled", 0):
        problems.append(f"{name}: {status['numberMisscheduled']} pods run where they should not")
    return problems


def short_of_pods(daemonsets: Iterable[Object]) -> list[str]:
    """Problems: DaemonSets that lack pods, or ready ones, on nodes that they want to be on.

    One that no node admits lacks none; nor does one whose pods are to be replaced by hand (OnDelete).
    """
    problems = []
    for daemonset in daemonsets:
        status = daemonset.get("status") or {}
        wanted, available = status.get("desiredNumberScheduled", 0), status.get("numberAvailable", 0)
        if status.get("observedGeneration", 0) < daemonset["metadata"].get("generation", 0):
            problems.append(f"DaemonSet {key_of(daemonset)}: its controller has not seen its last change yet")
        elif available != wanted:
            problems.append(f"DaemonSet {key_of(daemonset)}: {available} of {wanted} pods available")
    return problems


def deployment_rollout_problems(deployment: Object) -> list[str]:
    """Problems: why a Deployment's rollout is not finished, as `kubectl rollout status` judges it."""
    name = f"Deployment {key_of(deployment)}"
    status = deployment.get("status") or {}
    generation = deployment["metadata"].get("generation", 0)
    if status.get("observedGeneration", 0) < generation:
        return [f"{name}: its controller has not seen generation {generation} yet"]
    wanted = deployment["spec"].get("replicas", 1)
    for entry in status.get("conditions") or ():
        if entry["type"] == "Progressing" and entry.get("reason") == "ProgressDeadlineExceeded":
            return [f"{name} has exceeded its progress deadline: {entry.get('message', '')}"]
    updated = status.get("updatedReplicas", 0)
    if updated < wanted:
        return [f"{name}: {updated} of {wanted} new pods created"]
    if status.get("replicas", 0) > updated:
        return [f"{name}: {status['replicas'] - updated} old pods are still there"]
    available = status.get("availableReplicas", 0)
    if available < wanted:
        return [f"{name}: {available} of {wanted} pods available"]
    return []


OTHER_CNIS = {
    "k8s-app=cilium": "Cilium",
    "k8s-app=calico-node": "Calico",
    "k8s-app=canal": "Canal",
    "app=flannel": "flannel",
    "k8s-app=flannel": "flannel",
    "name=weave-net": "Weave Net",
    "app=antrea": "Antrea",
    "app=kindnet": "kindnet",
    "app=ovnkube-node": "OVN-Kubernetes",
    "k8s-app=kube-router": "kube-router",
    "k8s-app=aws-node": "the VPC CNI",
}
"""By which pod label the usual CNIs' DaemonSets are known, from their own manifests."""


def other_cnis(daemonsets: Iterable[Object], known: str) -> list[str]:
    """Problems: DaemonSets of CNIs besides the one that is `known` (`namespace/name`)."""
    problems = []
    for daemonset in daemonsets:
        if key_of(daemonset) == known:
            continue
        labels = (daemonset["spec"]["template"].get("metadata") or {}).get("labels") or {}
        found = next((cni for label, cni in OTHER_CNIS.items() if label in _as_text(labels)), None)
        if found:
            problems.append(
                f"DaemonSet {key_of(daemonset)} is {found}: two CNIs would meet on the new nodes; "
                "remove it, or keep it off them first"
            )
    return problems


def _as_text(labels: Mapping[str, str]) -> set[str]:
    return {f"{key}={value}" for key, value in labels.items()}


def managed_addon(node_groups: NodeGroupReader, addon: str) -> list[str]:
    """Problems: the CNI is a managed add-on, which would revert or block changes of its DaemonSet."""
    status = node_groups.addon_status(addon)
    if status is None:
        return []
    return [
        f"{addon} is a managed add-on of the cluster ({status}): EKS would put its DaemonSet back as it was. "
        "This version cannot fence it through the add-on's configuration; remove the add-on with its "
        "resources preserved (`aws eks delete-addon --preserve`), then run again"
    ]


def changed_since(daemonset: Object, generation: int) -> list[str]:
    """Problems: the DaemonSet has been changed since it had this generation."""
    present = daemonset["metadata"].get("generation", 0)
    if present == generation:
        return []
    managers = sorted(
        {entry.get("manager", "?") for entry in daemonset["metadata"].get("managedFields") or ()}
    )
    by = f"; its fields are managed by {', '.join(managers)}" if managers else ""
    return [f"DaemonSet {key_of(daemonset)} was changed: generation {present} instead of {generation}{by}"]


def remaining(daemonset: Object | None, pods: Iterable[Object]) -> list[str]:
    """Problems: what is left of a DaemonSet that should be gone."""
    problems = [] if daemonset is None else [f"DaemonSet {key_of(daemonset)} is still there"]
    problems += [
        f"pod {key_of(pod)} is still on node {pod['spec'].get('nodeName')}"
        for pod in pods
        if not is_finished(pod)
    ]
    return problems


def pods_by_node(pods: Iterable[Object]) -> dict[str, list[Object]]:
    """Pods by the node that they are bound to; not those that have ended or are on their way out."""
    found: dict[str, list[Object]] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node and not (is_terminating(pod) or is_finished(pod)):
            found.setdefault(node, []).append(pod)
    return found


def placement_problems(pods: Iterable[Object], nodes: Collection[str], what: str) -> list[str]:
    """Problems: `what` does not have exactly one ready pod on each of `nodes` and none elsewhere."""
    if not nodes:
        return [f"there is no node for {what} to be on"]
    placed = pods_by_node(pods)
    problems = [
        f"{what} has a pod on node {node}, where it must not be" for node in sorted(set(placed) - set(nodes))
    ]
    for node in sorted(nodes):
        there = placed.get(node, [])
        if not there:
            problems.append(f"{what} has no pod on node {node}")
        elif len(there) > 1:
            problems.append(f"{what} has {len(there)} pods on node {node}: {', '.join(map(name_of, there))}")
        elif not is_pod_ready(there[0]):
            problems.append(f"{what}: pod {name_of(there[0])} on node {node} is not ready")
    return problems


def present_on(pods: Iterable[Object], nodes: Collection[str], what: str) -> list[str]:
    """Problems: pods of `what` on any of `nodes`, also terminating ones, but not those that have ended."""
    return [
        f"{what}: pod {name_of(pod)} is on node {pod['spec']['nodeName']}"
        + (" (terminating)" if is_terminating(pod) else "")
        for pod in pods
        if pod["spec"].get("nodeName") in nodes and not is_finished(pod)
    ]
