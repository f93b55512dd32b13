"""Filters that look at other pods: inter-pod (anti-)affinity and topology spread constraints."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from pytest_cnimigrate.model.objects import Object, is_terminating, labels_of, namespace_of, uid_of
from pytest_cnimigrate.model.selectors import (
    matches_label_selector,
    matches_node,
    untolerated_taint,
)
from pytest_cnimigrate.simulator.client.informer import Informer
from pytest_cnimigrate.simulator.controllers.pods import is_terminal, select
from pytest_cnimigrate.simulator.controllers.scheduling.filters import Check, Refusal
from pytest_cnimigrate.simulator.controllers.scheduling.nodes import NodeCache, NodeInfo

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def required_terms(pod: Object, kind: str) -> list[Object]:
    """Required terms of `podAffinity` or `podAntiAffinity`."""
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    terms: list[Object] = affinity.get(_REQUIRED) or []
    return terms


@dataclass(frozen=True, slots=True)
class Repulsion:
    """A required anti-affinity term of pods that are placed, with the namespace they are in."""

    namespace: str
    term: Object


class Repulsions:
    """The anti-affinity of pods that are placed, once per distinct term however many pods have it."""

    def __init__(self) -> None:
        self._terms: dict[bytes, Repulsion] = {}
        self._nodes: dict[bytes, Counter[str]] = defaultdict(Counter)
        self._of_pod: dict[str, tuple[str, list[bytes]]] = {}

    def place(self, pod: Object, node: str) -> None:
        uid = uid_of(pod)
        if uid in self._of_pod:
            return
        keys = []
        for term in required_terms(pod, "podAntiAffinity"):
            key = orjson.dumps([namespace_of(pod), term], option=orjson.OPT_SORT_KEYS)
            self._terms.setdefault(key, Repulsion(namespace_of(pod), term))
            self._nodes[key][node] += 1
            keys.append(key)
        if keys:
            self._of_pod[uid] = (node, keys)

    def forget(self, uid: str) -> None:
        node, keys = self._of_pod.pop(uid, ("", []))
        for key in keys:
            self._nodes[key][node] -= 1
            if not self._nodes[key][node]:
                del self._nodes[key][node]
            if not self._nodes[key]:
                del self._nodes[key], self._terms[key]

    def against(self, pod: Object, namespaces: Informer) -> list[tuple[str, list[str]]]:
        """(topology key, nodes of the pods that repel) for each term that this pod matches."""
        return [
            (repulsion.term["topologyKey"], list(self._nodes[key]))
            for key, repulsion in self._terms.items()
            if _in_scope(repulsion.term, repulsion.namespace, namespace_of(pod), namespaces)
            and matches_label_selector(repulsion.term.get("labelSelector"), labels_of(pod))
        ]


def _in_scope(term: Object, own: str, namespace: str, namespaces: Informer) -> bool:
    """Whether a term of a pod in namespace `own` speaks of pods in `namespace`."""
    listed = term.get("namespaces") or []
    selector = term.get("namespaceSelector")
    if not listed and selector is None:
        return namespace == own
    if namespace in listed:
        return True
    known = namespaces.get(namespace)
    return selector is not None and known is not None and matches_label_selector(selector, labels_of(known))


class Topology:
    """Makes the filters of one pod from what is placed where."""

    def __init__(
        self, nodes: NodeCache, pods: Informer, namespaces: Informer, repulsions: Repulsions
    ) -> None:
        self._nodes = nodes
        self._pods = pods
        self._namespaces = namespaces
        self._repulsions = repulsions

    def checks(self, pod: Object) -> list[Check]:
        """Filters in kube's order: spread constraints, then affinity."""
        checks = [self._spread(pod, c) for c in _hard_constraints(pod)]
        for term in required_terms(pod, "podAffinity"):
            checks.append(self._attraction(pod, term))
        for term in required_terms(pod, "podAntiAffinity"):
            values = self._values(term["topologyKey"], self._matching(pod, term))
            message = "node(s) didn't match pod anti-affinity rules"
            checks.append(_not_in(term["topologyKey"], values, message))
        for key, repelling in self._repulsions.against(pod, self._namespaces):
            values = {value for name in repelling if (value := self._value(name, key)) is not None}
            message = "node(s) didn't satisfy existing pods anti-affinity rules"
            checks.append(_not_in(key, values, message))
        return checks

    def _value(self, node: str, key: str) -> str | None:
        info = self._nodes.get(node)
        return info.labels.get(key) if info is not None else None

    def _values(self, key: str, pods: Iterable[Object]) -> set[str]:
        values = (self._value(self._nodes.node_of(pod), key) for pod in pods)
        return {value for value in values if value is not None}

    def _matching(self, pod: Object, term: Object) -> list[Object]:
        """Placed pods that a term of `pod` speaks of."""
        own = namespace_of(pod)
        if not term.get("namespaces") and term.get("namespaceSelector") is None:
            scope = [own]
        else:
            every = [each["metadata"]["name"] for each in self._namespaces.all()]
            scope = [each for each in every if _in_scope(term, own, each, self._namespaces)]
        found = [each for name in scope for each in select(self._pods, name, term.get("labelSelector"))]
        return [each for each in found if not is_terminal(each) and self._nodes.node_of(each)]

    def _attraction(self, pod: Object, term: Object) -> Check:
        key = term["topologyKey"]
        values = self._values(key, self._matching(pod, term))
        # The first of a group that wants to be together may go anywhere, or none ever could.
        matches_itself = _in_scope(
            term, namespace_of(pod), namespace_of(pod), self._namespaces
        ) and matches_label_selector(term.get("labelSelector"), labels_of(pod))
        anywhere = not values and matches_itself

        def check(info: NodeInfo) -> Refusal | None:
            value = info.labels.get(key)
            if value is not None and (anywhere or value in values):
                return None
            return Refusal(("node(s) didn't match pod affinity rules",), final=True)

        return check

    def _spread(self, pod: Object, constraint: Object) -> Check:
        key = constraint["topologyKey"]
        selector = _with_match_label_keys(constraint, pod)
        eligible = [
            info for info in self._nodes.all() if key in info.labels and _counts(info, pod, constraint)
        ]
        counts: Counter[str] = Counter({info.labels[key]: 0 for info in eligible})
        names = {info.name for info in eligible}
        for each in select(self._pods, namespace_of(pod), selector):
            node = self._nodes.node_of(each)
            if node in names and not is_terminal(each) and not is_terminating(each):
                counts[self._value(node, key) or ""] += 1
        least = min(counts.values(), default=0)
        if len(counts) < (constraint.get("minDomains") or 1):
            least = 0
        itself = int(matches_label_selector(selector, labels_of(pod)))
        words = "node(s) didn't match pod topology spread constraints"

        def check(info: NodeInfo) -> Refusal | None:
            value = info.labels.get(key)
            if value is None:
                return Refusal((f"{words} (missing required label)",), final=True)
            if counts[value] + itself - least > constraint["maxSkew"]:
                return Refusal((words,))
            return None

        return check


def _hard_constraints(pod: Object) -> list[Object]:
    constraints = pod["spec"].get("topologySpreadConstraints") or ()
    return [c for c in constraints if c.get("whenUnsatisfiable") == "DoNotSchedule"]


def _with_match_label_keys(constraint: Object, pod: Object) -> Object | None:
    selector: Object | None = constraint.get("labelSelector")
    keys = [key for key in constraint.get("matchLabelKeys") or () if key in labels_of(pod)]
    if selector is None or not keys:
        return selector
    own = {key: labels_of(pod)[key] for key in keys}
    return {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **own}}


def _counts(info: NodeInfo, pod: Object, constraint: Object) -> bool:
    """Whether the node is one of those over which the constraint spreads."""
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not matches_node(pod["spec"], info.node):
        return False
    if constraint.get("nodeTaintsPolicy", "Ignore") != "Honor":
        return True
    taints, tolerations = info.node["spec"].get("taints"), pod["spec"].get("tolerations")
    return untolerated_taint(taints, tolerations, effects=("NoSchedule", "NoExecute")) is None


def _not_in(key: str, values: set[str], message: str) -> Check:
    def check(info: NodeInfo) -> Refusal | None:
        return Refusal((message,)) if info.labels.get(key) in values else None

    return check
