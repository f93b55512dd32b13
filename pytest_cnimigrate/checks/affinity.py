"""Required node affinity: which nodes a pod template admits.

`nodeSelectorTerms` are ORed, the expressions within a term are ANDed, so a requirement holds only when it
stands in *every* term. Both lists are atomic for server-side merges.
"""

from __future__ import annotations

from pytest_cnimigrate.model.objects import Object, copy, key_of

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def required_terms(affinity: Object | None) -> list[Object]:
    """The terms of the required node affinity; empty when any node will do."""
    node_affinity = (affinity or {}).get("nodeAffinity") or {}
    terms: list[Object] = (node_affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    return terms


def _admits_nothing(term: Object) -> bool:
    """An empty term selects no node, so it opens no gap; an expression in it would."""
    return not (term.get("matchExpressions") or term.get("matchFields"))


def _requires(term: Object, key: str, value: str) -> bool:
    return any(
        expression["key"] == key and expression["operator"] == "In" and expression.get("values") == [value]
        for expression in term.get("matchExpressions") or ()
    )


def is_required(workload: Object, key: str, value: str) -> bool:
    """Whether every term of the pod template requires the node label `key` to be `value`."""
    return not missing_requirement(workload, key, value)


def missing_requirement(workload: Object, key: str, value: str) -> list[str]:
    """Problems: the terms that let a node without the label in."""
    name = f"{workload['kind']} {key_of(workload)}"
    pod = workload["spec"]["template"]["spec"]
    if (pod.get("nodeSelector") or {}).get(key) == value:
        return []  # ANDed with every term: Cilium's documentation fences with it
    terms = required_terms(pod.get("affinity"))
    if not terms:
        return [f"{name} has no required node affinity: it goes to every node"]
    return [
        f"{name}: node affinity term {index + 1} of {len(terms)} does not require {key} In [{value}], "
        "and terms are ORed"
        for index, term in enumerate(terms)
        if not (_admits_nothing(term) or _requires(term, key, value))
    ]


def with_required(affinity: Object | None, key: str, value: str) -> Object:
    """A copy of `affinity` with `key In [value]` in every term that selects any node, and all else kept."""
    result = copy(affinity or {})
    required = result.setdefault("nodeAffinity", {}).setdefault(_REQUIRED, {})
    requirement = {"key": key, "operator": "In", "values": [value]}
    if not required.get("nodeSelectorTerms"):
        required["nodeSelectorTerms"] = [{"matchExpressions": [requirement]}]
        return result
    for term in required["nodeSelectorTerms"]:
        if not (_admits_nothing(term) or _requires(term, key, value)):
            term["matchExpressions"] = [*(term.get("matchExpressions") or ()), requirement]
    return result
