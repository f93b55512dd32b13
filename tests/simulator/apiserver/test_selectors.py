"""Selectors: which labels, fields, nodes and taints match."""

from __future__ import annotations

import pytest

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.selectors import (
    SelectorError,
    format_label_selector,
    matches,
    matches_label_selector,
    matches_node,
    matches_node_selector_terms,
    parse_field_selector,
    parse_label_selector,
    tolerates,
    untolerated_taint,
)

LABELS = {"app": "web", "tier": "front", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db,cache)", True),
        ("missing notin (x)", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("!app", False),
        ("empty=", True),
        ("app=", False),
        ("app=web,tier in (front),!missing", True),
        ("app=web,tier=back", False),
        (" app = web , tier ", True),
    ],
)
def test_label_selectors(text: str, expected: bool) -> None:
    assert matches(parse_label_selector(text), LABELS) is expected


@pytest.mark.parametrize("text", ["app in web", "a=b c", "=x", "a=(", "a in (x", "a,,b", "a!b"])
def test_a_label_selector_with_a_slip_is_refused(text: str) -> None:
    with pytest.raises(SelectorError, match="unable to parse requirement"):
        parse_label_selector(text)


def test_an_absent_selector_matches_nothing_and_an_empty_one_everything() -> None:
    assert not matches_label_selector(None, LABELS)
    assert matches_label_selector({}, LABELS)
    both = {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}
    assert matches_label_selector(both, LABELS)
    assert not matches_label_selector(both, {"app": "web"})


def test_a_selector_object_can_be_written_as_text() -> None:
    expressions = [
        {"key": "a", "operator": "In", "values": ["y", "x"]},
        {"key": "b", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": expressions}
    assert format_label_selector(selector) == "app=web,a in (x,y),!b"
    parsed = parse_label_selector(format_label_selector(selector))
    assert matches(parsed, {"app": "web", "a": "x"})


def test_field_selectors_with_both_operators_and_escapes() -> None:
    parsed = parse_field_selector(r"spec.nodeName=n1,status.phase!=Running,metadata.name=a\,b")
    assert [(term.path, term.value, term.equal) for term in parsed] == [
        ("spec.nodeName", "n1", True),
        ("status.phase", "Running", False),
        ("metadata.name", "a,b", True),
    ]


def node(name: str = "n1", **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}


def term(*expressions: tuple[str, str, list[str]]) -> Object:
    return {"matchExpressions": [{"key": k, "operator": o, "values": v} for k, o, v in expressions]}


def test_terms_are_ored_and_their_expressions_anded() -> None:
    """Failure mode 3: an expression that is added as a term of its own fences nothing."""
    fence, linux = ("cni", "In", ["aws-cni"]), ("os", "In", ["linux"])
    outsider = node(os="linux")
    assert not matches_node_selector_terms([term(linux, fence)], outsider)
    assert matches_node_selector_terms([term(linux), term(fence)], outsider)


def test_no_term_and_an_empty_term_match_no_node() -> None:
    assert not matches_node_selector_terms([], node())
    assert not matches_node_selector_terms([{}], node())


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [("Gt", ["4"], True), ("Gt", ["5"], False), ("Lt", ["6"], True), ("Gt", ["x"], False)],
)
def test_numbers_are_compared_as_numbers(operator: str, values: list[str], expected: bool) -> None:
    assert matches_node_selector_terms([term(("cpus", operator, values))], node(cpus="5")) is expected


def test_a_daemons_pod_is_meant_for_one_node_by_its_name() -> None:
    fields = [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]
    terms = [{"matchFields": fields}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    spec = {"affinity": {"nodeAffinity": required}}
    assert matches_node(spec, node("n1"))
    assert not matches_node(spec, node("n2"))
    assert not matches_node(spec | {"nodeSelector": {"disk": "ssd"}}, node("n1"))


TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": TAINT["key"], "operator": "Exists"}, True),
        ({"key": TAINT["key"], "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": TAINT["key"], "value": "true"}, True),
        ({"key": TAINT["key"], "value": "false"}, False),
        ({"key": TAINT["key"]}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"operator": "Equal", "value": "true"}, False),
    ],
)
def test_tolerations(toleration: Object, expected: bool) -> None:
    assert tolerates([toleration], TAINT) is expected


def test_the_first_taint_that_is_not_tolerated_is_found_by_effect() -> None:
    soft = {"key": "soft", "effect": "PreferNoSchedule"}
    assert untolerated_taint([soft, TAINT], [], ("NoSchedule", "NoExecute")) == TAINT
    assert untolerated_taint([soft], [], ("NoSchedule", "NoExecute")) is None
    assert untolerated_taint([TAINT], [{"operator": "Exists"}], ("NoExecute",)) is None
