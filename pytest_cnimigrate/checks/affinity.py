"""Required node affinity: which nodes a pod template admits.

`nodeSelectorTerms` are ORed, the expressions within a term are ANDed, so a requirement holds only when it
stands in *every* term. Both lists are atomic for server-side merges.
"""

from __future__ import annotations

from pytest_cnimigrate.model.objects import Object, copy

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def required_terms(affinity: Object | None) -> list[Object]:
    """The terms of the required node affinity; empty when any node will do."""
    node_affinity = (affinity or {}).get("nodeAffinity") or {}
    terms: list[Object] = (node_affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    return terms


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
    name = f"{workload['kind']} {workload['metadata']['namespace']}/{workload['metadata']['name']}"
    terms = required_terms(workload["spec"]["template"]["spec"].get("affinity"))
    if not terms:
        return [f"{name} has no required node affinity: it goes to every node"]
    return [
        f"{name}: node affinity term {index + 1} of {len(terms)} does not require {key} In [{value}], "
        "and terms are ORed"
        for index, term in enumerate(terms)
        if not _requires(term, key, value)
    ]


def with_required(affinity: Object | None, key: str, value: str) -> Object:
    """A copy of `affinity` with `key In [value]` in every term, and all else kept."""
    result = copy(affinity or {})
    required = result.setdefault("nodeAffinity", {}).setdefault(_REQUIRED, {})
    terms = required.get("nodeSelectorTerms") or [{}]
    for term in terms:
        if not _requires(term, key, value):
            term.setdefault("matchExpressions", []).append({"key": key, "operator": "In", "values": [value]})
    required["nodeSelectorTerms"] = terms
    return result
