"""Nodes: what they must have, must not have, and what an operator reads when it is otherwise."""

from __future__ import annotations

import json

import pytest
from builders import CILIUM_IS_UP, TAINT, WAITS_FOR_A_CNI, node

from pytest_cnimigrate.checks import nodes

NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def test_ready_nodes():
    assert nodes.not_ready([node("a"), node("b")]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ready": "False", "message": WAITS_FOR_A_CNI}, f"node b is not Ready: {WAITS_FOR_A_CNI}"),
        ({"ready": "Unknown"}, "node b is not Ready: KubeletReady"),
        ({"ready": None}, "node b has not reported whether it is Ready"),
    ],
)
def test_a_node_that_is_not_ready_is_named_with_its_reason(changes, words):
    assert nodes.not_ready([node("a"), node("b", **changes)]) == [words]


def test_nodes_that_wait_for_a_cni():
    waiting = node("a", ready="False", message=WAITS_FOR_A_CNI)
    assert nodes.not_waiting_for_a_cni([waiting]) == []
    # CRI-O says it in words of its own, kubelet in the same.
    other_runtime = WAITS_FOR_A_CNI.replace(
        "cni plugin not initialized",
        "No CNI configuration file in /etc/cni/net.d/. Has your network started?",
    )
    assert nodes.not_waiting_for_a_cni([node("a", ready="False", message=other_runtime)]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ready": "True"}, "is Ready although Cilium is not installed: another CNI has taken it"),
        ({"ready": "False", "message": "PLEG is not healthy"}, "not for want of a CNI: PLEG is not healthy"),
        ({"ready": "Unknown"}, "not for want of a CNI: KubeletReady"),
        ({"ready": None}, "has not reported whether it is Ready"),
    ],
)
def test_a_new_node_that_does_not_wait_for_a_cni_is_named(changes, words):
    (problem,) = nodes.not_waiting_for_a_cni([node("a", **changes)])
    assert problem.startswith("node a ")
    assert words in problem


def test_the_number_of_nodes():
    assert nodes.wrong_number([node("b"), node("a")], 2, "node group ng-1") == []
    assert nodes.wrong_number([], 0, "node group ng-1") == []
    assert nodes.wrong_number([node("b"), node("a")], 3, "node group ng-1") == [
        "node group ng-1: 2 nodes instead of 3 (a, b)"
    ]
    assert nodes.wrong_number([], 3, "node group ng-1") == ["node group ng-1: 0 nodes instead of 3 (none)"]


def test_the_taint_is_there():
    tainted = node("a", taints=[NOT_READY, {**TAINT, "timeAdded": "2026-11-22T20:33:16Z"}])
    assert nodes.without_taint([tainted], TAINT) == []


def test_a_taint_without_a_value_is_the_one_with_an_empty_value():
    """An eksctl file may leave the value out; the API server always does when it is empty."""
    bare = {"key": TAINT["key"], "effect": "NoExecute"}
    assert nodes.without_taint([node("a", taints=[bare])], {**bare, "value": ""}) == []
    assert nodes.without_taint([node("a", taints=[bare])], TAINT) != []


@pytest.mark.parametrize(
    ("taints", "listed"),
    [
        (None, "none"),
        ([NOT_READY], "node.kubernetes.io/not-ready:NoSchedule"),
        ([{**TAINT, "effect": "NoSchedule"}], "node.cilium.io/agent-not-ready=true:NoSchedule"),
        ([{**TAINT, "value": "false"}], "node.cilium.io/agent-not-ready=false:NoExecute"),
    ],
)
def test_a_node_without_exactly_this_taint_is_named_with_those_it_has(taints, listed):
    assert nodes.without_taint([node("a", taints=taints)], TAINT) == [
        f"node a lacks the taint node.cilium.io/agent-not-ready=true:NoExecute; it has: {listed}"
    ]


def test_a_taint_that_is_left_is_found_whatever_its_value_and_effect():
    """The operator puts it back without a value, as NoSchedule, when the agent is not ready."""
    put_back = {"key": TAINT["key"], "effect": "NoSchedule"}
    found = nodes.with_taint_key(
        [node("a", taints=[put_back]), node("b"), node("c", taints=[TAINT])], TAINT["key"]
    )
    assert found == [
        "node a still has the taint node.cilium.io/agent-not-ready:NoSchedule",
        "node c still has the taint node.cilium.io/agent-not-ready=true:NoExecute",
    ]
    assert nodes.with_taint_key([node("a", taints=[NOT_READY]), node("b")], TAINT["key"]) == []


def test_labels_that_must_be_there():
    labels = {"cni": "aws-cni"}
    assert nodes.without_labels([node("a", labels=labels)], labels) == []
    assert nodes.without_labels([node("a"), node("b", labels={"cni": "other"})], labels) == [
        "node a: label cni is absent instead of aws-cni",
        "node b: label cni is other instead of aws-cni",
    ]


def test_labels_that_must_not_be_there():
    labels = {"cni": "aws-cni"}
    assert nodes.with_labels([node("a"), node("b", labels={"cni": "other"})], labels) == []
    assert nodes.with_labels([node("a", labels=labels)], labels) == ["node a has the label cni=aws-cni"]


def test_cordons():
    closed, open_ = node("a", cordoned=True), node("b")
    assert nodes.schedulable([closed]) == []
    assert nodes.schedulable([closed, open_]) == ["node b is not cordoned"]
    assert nodes.cordoned([open_]) == []
    assert nodes.cordoned([closed, open_]) == ["node a is still cordoned"]


def test_cilium_says_that_it_is_up():
    assert nodes.without_cilium_condition([node("a", conditions=[CILIUM_IS_UP])]) == []


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (None, "node a has no NetworkUnavailable condition"),
        (
            {**CILIUM_IS_UP, "status": "True"},
            "NetworkUnavailable is True/CiliumIsUp instead of False/CiliumIsUp",
        ),
        (
            {**CILIUM_IS_UP, "reason": "CalicoIsUp"},
            "NetworkUnavailable is False/CalicoIsUp instead of False/CiliumIsUp",
        ),
    ],
)
def test_another_network_than_ciliums_is_named(condition, words):
    (problem,) = nodes.without_cilium_condition([node("a", conditions=[condition] if condition else [])])
    assert words in problem


def test_taints_that_nobody_expects_are_named_but_not_those_that_stay_for_good():
    dedicated = {"key": "dedicated", "value": "shop", "effect": "NoSchedule"}
    tainted = [node("a", taints=[dedicated]), node("b", taints=[TAINT, dedicated]), node("c")]
    assert nodes.unexpected_taints(tainted, allowed=[dedicated]) == [
        "node b has the taint node.cilium.io/agent-not-ready=true:NoExecute"
    ]
    assert len(nodes.unexpected_taints(tainted)) == 3


def test_a_node_of_a_third_group_would_lose_its_cni_and_is_named():
    old, new, third = node("old-1"), node("new-1"), node("gpu-1")
    assert nodes.of_neither([old, new], ["old-1"], ["new-1"]) == []
    (problem,) = nodes.of_neither([old, new, third], ["old-1"], ["new-1"])
    assert problem.startswith("node gpu-1 is neither of the old nor of the new node group")
    assert "drain and remove it" in problem


@pytest.mark.parametrize(
    "check",
    [
        nodes.not_ready,
        nodes.not_waiting_for_a_cni,
        nodes.schedulable,
        nodes.without_cilium_condition,
        lambda found: nodes.without_taint(found, TAINT),
        lambda found: nodes.without_labels(found, {"cni": "aws-cni"}),
    ],
)
def test_what_every_node_must_have_is_not_true_of_no_nodes(check):
    assert check(iter(())) == ["there are no nodes to look at"]


def test_a_recorded_new_node_waits_for_a_cni_and_is_tainted(recording):
    joined = json.loads(recording("nodes/40-node-worker3-joined-no-cni.json"))
    assert nodes.not_waiting_for_a_cni([joined]) == []
    assert nodes.without_taint([joined], {**TAINT, "effect": "NoSchedule"}) == []
    assert "cni plugin not initialized" in nodes.not_ready([joined])[0]
    assert nodes.without_cilium_condition([joined]) == [
        "node real-worker3 has no NetworkUnavailable condition"
    ]


def test_a_recorded_node_after_cilium_is_ciliums(recording):
    node_after = next(
        one
        for one in json.loads(recording("nodes/70-final-A-nodes.json"))["items"]
        if one["metadata"]["name"] == "real-worker3"
    )
    assert nodes.not_ready([node_after]) == []
    assert nodes.without_cilium_condition([node_after]) == []
    assert nodes.with_taint_key([node_after], TAINT["key"]) == []
    assert nodes.unexpected_taints([node_after]) == []
