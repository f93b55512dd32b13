"""The fence: only nodes with the label may be let in, by whatever path there is."""

from __future__ import annotations

import pytest
from builders import daemonset, expression, terms

from pytest_cnimigrate.checks import affinity
from pytest_cnimigrate.model.selectors import matches_node

LINUX = expression("kubernetes.io/os", "In", "linux")
NO_FARGATE = expression("eks.amazonaws.com/compute-type", "NotIn", "fargate", "hybrid", "auto")
FENCE = expression("cni", "In", "aws-cni")


def problems(**template):
    return affinity.missing_requirement(daemonset(**template), "cni", "aws-cni")


@pytest.mark.parametrize(
    "template",
    [
        {"affinity": terms([FENCE])},
        {"affinity": terms([LINUX, NO_FARGATE, FENCE])},
        {"affinity": terms([LINUX, FENCE], [NO_FARGATE, FENCE])},
        # Empty terms select no node, so they open no gap.
        {"affinity": terms([FENCE], [])},
        # ANDed with whatever the affinity says: how Cilium's documentation fences aws-node.
        {"node_selector": {"cni": "aws-cni"}},
    ],
    ids=["alone", "among others", "in both terms", "beside an empty term", "as nodeSelector"],
)
def test_a_fenced_daemonset_is_found_fenced(template):
    assert problems(**template) == []
    assert affinity.is_required(daemonset(**template), "cni", "aws-cni")


@pytest.mark.parametrize(
    "gap",
    [
        [LINUX],
        [expression("cni", "In", "aws-cni", "cilium")],
        [expression("cni", "Exists")],
        [expression("cni", "NotIn", "aws-cni")],
        [expression("other", "In", "aws-cni")],
    ],
    ids=["nothing of it", "another value too", "any value", "the opposite", "another key"],
)
def test_one_term_without_the_label_lets_every_node_in_and_is_named(gap):
    assert problems(affinity=terms([FENCE], gap)) == [
        "DaemonSet kube-system/aws-node: node affinity term 2 of 2 does not require cni In [aws-cni], "
        "and terms are ORed"
    ]


def test_a_term_that_names_a_node_by_field_is_a_gap_too():
    by_name = terms([FENCE], fields=[expression("metadata.name", "In", "node-1")])
    assert "term 2 of 2" in problems(affinity=by_name)[0]


@pytest.mark.parametrize(
    "template",
    [
        {},
        {"affinity": {}},
        {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
        {"node_selector": {"cni": "other"}},
    ],
    ids=["no affinity", "empty", "only a preference", "another nodeSelector"],
)
def test_a_daemonset_without_a_required_affinity_goes_everywhere(template):
    assert problems(**template) == [
        "DaemonSet kube-system/aws-node has no required node affinity: it goes to every node"
    ]


BEFORE = [
    None,
    {},
    {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}},
    terms([LINUX]),
    terms([LINUX, NO_FARGATE], [FENCE]),
    terms([LINUX], fields=[expression("metadata.name", "In", "node-1")]),
    terms([LINUX], []),
]


@pytest.mark.parametrize("before", BEFORE)
def test_fencing_closes_every_gap_and_keeps_all_else(before):
    after = affinity.with_required(before, "cni", "aws-cni")
    assert problems(affinity=after) == []
    assert (after.get("podAntiAffinity")) == (before or {}).get("podAntiAffinity")
    assert affinity.with_required(after, "cni", "aws-cni") == after


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("labels", [{}, {"kubernetes.io/os": "linux"}, {"kubernetes.io/os": "plan9"}])
@pytest.mark.parametrize("name", ["node-1", "node-2"])
def test_fencing_never_lets_in_a_node_that_was_kept_out(before, labels, name):
    after = {"affinity": affinity.with_required(before, "cni", "aws-cni")}
    unlabelled = {"metadata": {"name": name, "labels": labels}}
    labelled = {"metadata": {"name": name, "labels": labels | {"cni": "aws-cni"}}}
    assert not matches_node(after, unlabelled)
    assert matches_node(after, labelled) == matches_node({"affinity": before}, labelled)


def test_fencing_leaves_the_object_that_it_was_given_alone():
    before = terms([LINUX])
    affinity.with_required(before, "cni", "aws-cni")
    assert before == terms([LINUX])
