"""Which of the nodes that would do is best: preferences first, then spreading, then room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from pytest_cnimigrate.model.objects import Object, controller_of, namespace_of
from pytest_cnimigrate.model.selectors import matches_node_selector_terms, tolerates
from pytest_cnimigrate.simulator.client.informer import Informer
from pytest_cnimigrate.simulator.controllers.pods import is_active, select
from pytest_cnimigrate.simulator.controllers.scheduling.nodes import NodeCache, NodeInfo

_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

# Weights as in kube-scheduler's default profile.
_WEIGHT_TAINTS = 3.0
_WEIGHT_AFFINITY = 2.0
_WEIGHT_SPREAD = 2.0
_WEIGHT_ROOM = 1.0

Score = Callable[[NodeInfo], float]


def scorer(pod: Object, nodes: NodeCache, pods: Informer) -> Score:
    """A function that rates nodes for the pod; more is better."""
    spec = pod["spec"]
    affinity = spec.get("affinity") or {}
    wishes = (affinity.get("nodeAffinity") or {}).get(_PREFERRED) or ()
    together = _peers(pod, (affinity.get("podAffinity") or {}).get(_PREFERRED) or [], nodes, pods)
    apart = _peers(pod, (affinity.get("podAntiAffinity") or {}).get(_PREFERRED) or [], nodes, pods)
    owner = (controller_of(pod) or {}).get("uid", "")

    def score(info: NodeInfo) -> float:
        avoided = sum(
            1
            for taint in info.node["spec"].get("taints") or ()
            if taint["effect"] == "PreferNoSchedule" and not tolerates(spec.get("tolerations"), taint)
        )
        wished: float = sum(
            wish["weight"] for wish in wishes if matches_node_selector_terms([wish["preference"]], info.node)
        )
        for key, values in together:
            wished += values[info.labels.get(key, "")]
        for key, values in apart:
            wished -= values[info.labels.get(key, "")]
        on_node, in_zone = nodes.siblings(owner, info)
        crowd = on_node + in_zone / 3
        return (
            _WEIGHT_ROOM * _room(info)
            + _WEIGHT_AFFINITY * wished
            - _WEIGHT_TAINTS * 100 * avoided
            - _WEIGHT_SPREAD * 50 * crowd
        )

    return score


def _room(info: NodeInfo) -> float:
    """Share of CPU, memory and pod slots that is free, in hundredths (NodeResourcesFit, LeastAllocated)."""
    shares = []
    for resource in ("cpu", "memory"):
        allocatable = info.allocatable.get(resource)
        if allocatable:
            shares.append(max(0.0, 1 - info.requested[resource] / allocatable))
    slots = info.allocatable.get("pods")
    if slots:
        # Pods without requests would all look alike; kube assumes small ones for them instead.
        shares.append(max(0.0, 1 - 1000 * info.pods / slots))
    return 100 * sum(shares) / len(shares) if shares else 0.0


def _peers(
    pod: Object, preferences: list[Object], nodes: NodeCache, pods: Informer
) -> list[tuple[str, Counter[str]]]:
    """For each preferred term: its topology key, and the weight that each value of it gets."""
    result = []
    for preference in preferences:
        term = preference["podAffinityTerm"]
        key = term["topologyKey"]
        values: Counter[str] = Counter()
        for namespace in term.get("namespaces") or [namespace_of(pod)]:
            for peer in select(pods, namespace, term.get("labelSelector")):
                info = nodes.get(nodes.node_of(peer))
                if info is not None and is_active(peer) and key in info.labels:
                    values[info.labels[key]] += preference["weight"]
        result.append((key, values))
    return result
