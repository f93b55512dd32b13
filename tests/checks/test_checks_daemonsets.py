"""Rollouts are finished when they are finished, and pods are where they should be."""

from __future__ import annotations

import json

import pytest
from builders import daemonset, deployment, pod

from pytest_cnimigrate.checks import daemonsets
from pytest_cnimigrate.model.objects import name_of


@pytest.fixture
def lines(recording):
    return lambda name: recording(f"rollouts/{name}").splitlines()


# --- a DaemonSet's rollout ---------------------------------------------------------------------------------


def test_a_rollout_that_is_finished():
    assert daemonsets.rollout_problems(daemonset()) == []
    assert daemonsets.rollout_problems(daemonset(), desired=3) == []


def test_a_recorded_rollout_is_not_taken_for_finished_before_its_end(lines):
    """As polled from a real cluster after the affinity patch; the last two lines are after the end."""
    moments = [
        json.loads(line.partition(" ")[2]) for line in lines("30-old-cni-affinity-rollout-status.jsonl")[1:]
    ]
    seen = [
        daemonsets.rollout_problems(daemonset(generation=generation) | {"status": status}, desired=3)
        for generation, status in moments
    ]
    assert [bool(problems) for problems in seen] == [True, True, True, True, False, False]
    assert seen[0] == ["DaemonSet kube-system/aws-node: 0 of 3 pods updated"]


def test_every_moment_of_a_watched_rollout_but_the_last_is_unfinished(lines):
    """Every state that the API server ever showed while kindnet was fenced, not only the polled ones."""
    changes = [json.loads(line) for line in lines("10-watch-daemonsets.jsonl")]
    fencing = [
        change["object"]
        for change in changes
        if change["object"]["metadata"]["name"] == "kindnet"
        and change["object"]["metadata"]["generation"] == 2
        and change["type"] == "MODIFIED"
    ]
    assert len(fencing) > 5
    unfinished = [bool(daemonsets.rollout_problems(state, desired=3)) for state in fencing]
    assert unfinished == [True] * (len(fencing) - 1) + [False]


def test_a_node_that_a_taint_keeps_out_is_missed_only_by_the_number_that_is_expected(lines):
    """Recorded: goldpinger was 2 of 2 while the third node was tainted, and a left-over pod ran there."""
    states = [json.loads(line)["object"] for line in lines("10-watch-daemonsets.jsonl")]
    misscheduled = next(state for state in states if state["status"].get("numberMisscheduled"))
    assert daemonsets.rollout_problems(misscheduled, desired=3) == [
        "DaemonSet default/goldpinger wants 2 pods instead of 3",
        "DaemonSet default/goldpinger: 1 pods run where they should not",
    ]


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"observedGeneration": 1}, "its controller has not seen generation 2 yet"),
        ({"observedGeneration": None}, "its controller has not seen generation 2 yet"),
        ({"updatedNumberScheduled": None}, "0 of 3 pods updated"),
        ({"updatedNumberScheduled": 2}, "2 of 3 pods updated"),
        ({"numberAvailable": None}, "0 of 3 pods available"),
        ({"numberMisscheduled": 1}, "1 pods run where they should not"),
    ],
)
def test_what_is_unfinished_is_said(figures, words):
    assert daemonsets.rollout_problems(daemonset(**figures)) == [f"DaemonSet kube-system/aws-node: {words}"]


def test_a_daemonset_without_a_status_is_not_finished():
    fresh = daemonset()
    del fresh["status"]
    assert daemonsets.rollout_problems(fresh)


NONE_WANTED = {
    "desiredNumberScheduled": 0,
    "updatedNumberScheduled": None,
    "numberAvailable": None,
    "numberReady": 0,
}


def test_a_daemonset_that_goes_nowhere_is_not_called_rolled_out():
    """`cilium install` puts aws-node off every node by a nodeSelector; 0 of 0 pods is no success."""
    assert "wants no pods" in daemonsets.rollout_problems(daemonset(**NONE_WANTED))[0]
    assert daemonsets.rollout_problems(daemonset(**NONE_WANTED), desired=0) == []
    assert daemonsets.rollout_problems(daemonset(**NONE_WANTED), desired=3) == [
        "DaemonSet kube-system/aws-node wants 0 pods instead of 3"
    ]


# --- a Deployment's rollout --------------------------------------------------------------------------------


def test_a_deployment_that_is_rolled_out():
    assert daemonsets.deployment_rollout_problems(deployment()) == []
    one = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    assert daemonsets.deployment_rollout_problems(deployment(wanted=None, **one)) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"observedGeneration": 1}, "its controller has not seen generation 2 yet"),
        ({"updatedReplicas": None}, "0 of 3 new pods created"),
        ({"replicas": 5}, "2 old pods are still there"),
        ({"availableReplicas": 2}, "2 of 3 pods available"),
        ({"availableReplicas": None}, "0 of 3 pods available"),
    ],
)
def test_what_a_deployment_lacks_is_said(status, words):
    assert daemonsets.deployment_rollout_problems(deployment(**status)) == [f"Deployment shop/web: {words}"]


def test_a_deployment_that_has_given_up_says_why():
    given_up = deployment(
        updatedReplicas=1,
        conditions=[
            {"type": "Available", "status": "True"},
            {
                "type": "Progressing",
                "status": "False",
                "reason": "ProgressDeadlineExceeded",
                "message": "ReplicaSet web-1 has timed out progressing.",
            },
        ],
    )
    assert daemonsets.deployment_rollout_problems(given_up) == [
        "Deployment shop/web has exceeded its progress deadline: ReplicaSet web-1 has timed out progressing."
    ]


# --- where the pods are ------------------------------------------------------------------------------------

NODES = ["new-1", "new-2"]


def test_one_ready_pod_on_each_node_and_none_elsewhere():
    pods = [pod("a", "new-1"), pod("b", "new-2")]
    assert daemonsets.placement_problems(pods, NODES, "Cilium") == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "Cilium has no pod on node new-2"),
        ([pod("b", "new-2", ready=False)], "Cilium: pod b on node new-2 is not ready"),
        ([pod("b", "new-2"), pod("c", "new-2")], "Cilium has 2 pods on node new-2: b, c"),
        ([pod("b", "new-2"), pod("c", "old-1")], "Cilium has a pod on node old-1, where it must not be"),
        ([pod("b")], "Cilium has no pod on node new-2"),
    ],
)
def test_a_pod_that_is_missing_unready_double_or_elsewhere_is_named(more, words):
    assert daemonsets.placement_problems([pod("a", "new-1"), *more], NODES, "Cilium") == [words]


def test_the_old_pod_of_a_node_may_still_be_on_its_way_out():
    pods = [pod("a", "new-1"), pod("b", "new-2"), pod("b-old", "new-2", terminating=True, ready=False)]
    assert daemonsets.placement_problems(pods, NODES, "Cilium") == []


@pytest.mark.parametrize("reason", ["TaintToleration", "Evicted", "NodeAffinity", "UnexpectedAdmissionError"])
def test_what_a_node_has_refused_and_left_behind_is_no_pod(reason):
    """With a NoExecute taint the kubelet leaves such pods behind as Failed (cilium#43872)."""
    refused = pod("x", "new-2", phase="Failed", reason=reason, ready=False)
    pods = [pod("a", "new-1"), pod("b", "new-2"), refused]
    assert daemonsets.placement_problems(pods, NODES, "Cilium") == []
    assert daemonsets.present_on([refused], NODES, "the old CNI") == []
    assert daemonsets.remaining(None, [refused]) == []


def test_without_nodes_nothing_has_been_placed():
    assert daemonsets.placement_problems([], [], "Cilium") == ["there is no node for Cilium to be on"]


def test_pods_that_are_still_somewhere_are_named_also_on_their_way_out():
    pods = [pod("a", "old-1", terminating=True), pod("b", "new-1"), pod("c", "old-2")]
    assert daemonsets.present_on(pods, ["old-1", "old-2"], "the probe") == [
        "the probe: pod a is on node old-1 (terminating)",
        "the probe: pod c is on node old-2",
    ]
    assert daemonsets.present_on([pods[1]], ["old-1"], "the probe") == []


def test_pods_by_node_are_those_that_count():
    pods = [pod("a", "n1"), pod("b", "n1", terminating=True), pod("c"), pod("d", "n2", phase="Succeeded")]
    assert {
        node: [name_of(one) for one in there] for node, there in daemonsets.pods_by_node(pods).items()
    } == {"n1": ["a"]}


# --- other CNIs, add-ons, interference ---------------------------------------------------------------------


def test_the_old_cni_alone_is_no_second_cni():
    present = [
        daemonset(labels={"k8s-app": "aws-node"}),
        daemonset("kube-proxy", labels={"k8s-app": "kube-proxy"}),
        daemonset("cilium-envoy", labels={"k8s-app": "cilium-envoy"}),
    ]
    assert daemonsets.other_cnis(present, "kube-system/aws-node") == []


@pytest.mark.parametrize(
    ("labels", "cni"),
    [
        ({"k8s-app": "cilium"}, "Cilium"),
        ({"k8s-app": "calico-node"}, "Calico"),
        ({"app": "flannel", "k8s-app": "flannel"}, "flannel"),
        ({"app": "kindnet", "k8s-app": "kindnet", "tier": "node"}, "kindnet"),
        ({"k8s-app": "aws-node"}, "the VPC CNI"),
    ],
)
def test_another_cni_is_named_once(labels, cni):
    found = daemonsets.other_cnis([daemonset("x", namespace="net", labels=labels)], "kube-system/aws-node")
    assert len(found) == 1
    assert found[0].startswith(f"DaemonSet net/x is {cni}: two CNIs would meet on the new nodes")


class Groups:
    def __init__(self, status):
        self.status = status

    def addon_status(self, addon):
        return self.status


def test_a_self_managed_cni_is_no_add_on():
    assert daemonsets.managed_addon(Groups(None), "vpc-cni") == []


@pytest.mark.parametrize("status", ["ACTIVE", "DEGRADED", "UPDATE_FAILED"])
def test_a_managed_add_on_is_refused_with_the_way_out(status):
    (problem,) = daemonsets.managed_addon(Groups(status), "vpc-cni")
    assert f"vpc-cni is a managed add-on of the cluster ({status})" in problem
    assert "aws eks delete-addon --preserve" in problem


def test_a_daemonset_that_somebody_touched_names_who_it_may_have_been():
    touched = daemonset(generation=4, managers=["kubectl-patch", "eks", "kubectl-patch"])
    assert daemonsets.changed_since(touched, 4) == []
    assert daemonsets.changed_since(touched, 3) == [
        "DaemonSet kube-system/aws-node was changed: generation 4 instead of 3; "
        "its fields are managed by eks, kubectl-patch"
    ]


def test_what_is_left_of_a_deleted_daemonset_is_named():
    assert daemonsets.remaining(None, []) == []
    assert daemonsets.remaining(daemonset(), [pod("aws-node-x", "old-1", namespace="kube-system")]) == [
        "DaemonSet kube-system/aws-node is still there",
        "pod kube-system/aws-node-x is still on node old-1",
    ]


# --- those of everybody else -------------------------------------------------------------------------------


def test_daemonsets_that_have_what_they_want():
    idle = daemonset("gpu", desiredNumberScheduled=0, numberAvailable=None, updatedNumberScheduled=None)
    by_hand = daemonset("storage", updatedNumberScheduled=1)
    assert daemonsets.short_of_pods([daemonset("logs"), idle, by_hand]) == []


def test_a_daemonset_that_lacks_a_pod_is_named():
    assert daemonsets.short_of_pods([daemonset("logs", numberAvailable=2), daemonset("other")]) == [
        "DaemonSet kube-system/logs: 2 of 3 pods available"
    ]
    (problem,) = daemonsets.short_of_pods([daemonset("logs", observedGeneration=1)])
    assert "has not seen its last change" in problem
