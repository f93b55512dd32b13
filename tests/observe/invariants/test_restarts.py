"""No pod is restarted that the run did not restart."""

from __future__ import annotations

import pytest
from story import Story, agent, node, pod, workload

from pytest_cnimigrate.observe.invariants.restarts import UnexpectedRestart

WEB = ("ReplicaSet", "web-5c8f69d94")
REPLICA_SET = workload("ReplicaSet", WEB[1], replicas=2)
REPLICA_SET["metadata"]["ownerReferences"] = [
    {"kind": "Deployment", "name": "web", "uid": "Deployment-web", "controller": True}
]
DEPLOYMENT = workload("Deployment", "web", replicas=2)
BROKEN = [("unexpected-restart", "Pod shop/web-1")]


@pytest.fixture
def web():
    return pod("web-1", "a", of=WEB, ready=True, made=1)


@pytest.fixture
def story(web):
    story = Story(UnexpectedRestart)
    story.is_there(node("a"), node("n", "ng-cilium"), DEPLOYMENT, REPLICA_SET, web)
    return story


def deleted(story, second, obj, reason=""):
    story.is_deleted(second, obj, reason)
    story.goes(second + 1, obj)
    story.time_passes(second + 30)
    return story.violations


def test_a_pod_that_somebody_deletes_is_told(story, web):
    assert deleted(story, 60, web) == BROKEN
    sentence = story.judge.violations[0].sentence
    assert "pod shop/web-1 of Deployment shop/web on node a was deleted" in sentence


def test_why_it_was_evicted_is_told(story, web):
    assert deleted(story, 60, web, "DeletionByTaintManager") == BROKEN
    assert "(why)" in story.judge.violations[0].sentence


def test_a_pod_that_is_gone_at_once_is_told(story, web):
    story.goes(60, web)
    story.time_passes(70)
    assert story.violations == BROKEN


def test_the_restart_of_its_workload_explains_it(story, web):
    story.we_change(50, "restart-rollout", workload="Deployment", namespace="shop", name="web", at="x")
    assert deleted(story, 60, web) == []


def test_the_restart_of_another_workload_does_not(story, web):
    story.we_change(50, "restart-rollout", workload="Deployment", namespace="shop", name="cart", at="x")
    assert deleted(story, 60, web) == BROKEN


def test_a_restart_explains_only_pods_that_were_there_before_it(story):
    story.we_change(50, "restart-rollout", workload="Deployment", namespace="shop", name="web", at="x")
    story.comes(60, after := pod("web-1-new", "a", of=WEB, ready=True, made=60))
    assert deleted(story, 90, after) == [("unexpected-restart", "Pod shop/web-1-new")]


def test_a_drain_of_its_node_explains_it(story, web):
    story.we_change(50, "drain-nodes", until=70, nodes=["a"])
    assert deleted(story, 60, web, "EvictionByEvictionAPI") == []


def test_a_drain_of_another_node_does_not(story, web):
    story.we_change(50, "drain-nodes", until=70, nodes=["b"])
    assert deleted(story, 60, web, "EvictionByEvictionAPI") == BROKEN


def test_the_removal_of_its_node_group_explains_it(story, web):
    story.we_change(50, "scale-nodegroup", name="ng-1", desired=0, captured={"desired": 3})
    assert deleted(story, 60, web) == []


def test_scaling_its_node_group_up_does_not(story, web):
    story.we_change(50, "scale-nodegroup", name="ng-1", desired=4, captured={"desired": 3})
    assert deleted(story, 60, web) == BROKEN


def test_a_workload_that_was_scaled_down_restarts_nothing(story, web):
    """Also when that is heard of after the deletion."""
    story.is_deleted(60, web)
    story.changes(60.5, DEPLOYMENT, spec__replicas=1)
    story.time_passes(90)
    assert story.violations == []


def test_a_workload_that_has_gone_restarts_nothing(story, web):
    other = workload("Deployment", "other", replicas=1)
    story.comes(1, other)
    story.is_deleted(60, web)
    story.goes(60.5, DEPLOYMENT)
    story.time_passes(90)
    assert story.violations == []


def test_a_release_that_is_upgraded_explains_its_own_workloads_only():
    for release, explained in (("cilium", True), ("other", False)):
        story = Story(UnexpectedRestart)
        cilium = workload("DaemonSet", "cilium", namespace="kube-system", template={})
        cilium["metadata"]["annotations"] = {
            "meta.helm.sh/release-name": release,
            "meta.helm.sh/release-namespace": "kube-system",
        }
        story.is_there(node("n", "ng-cilium"), cilium, one := agent("cilium", "n"))
        story.we_change(50, "upgrade-release", release="cilium", namespace="kube-system")
        assert bool(deleted(story, 60, one)) != explained


def test_a_pod_of_a_daemonset_goes_with_its_node(story):
    daemonset = workload("DaemonSet", "aws-node", namespace="kube-system", template={})
    story.comes(1, daemonset, one := agent("aws-node", "a"))
    story.is_deleted(60, one)
    story.goes(60.5, node("a"))
    story.time_passes(90)
    assert story.violations == []


@pytest.mark.parametrize(
    "one",
    [
        pod("web-1", "a", ready=True),
        pod("web-1", "a", of=("Job", "migrate"), ready=True),
        pod("web-1", "", of=WEB),
        pod("web-1", "a", of=WEB) | {"status": {"phase": "Failed", "reason": "TaintToleration"}},
    ],
    ids=["no controller", "a Job's", "on no node", "finished"],
)
def test_what_does_not_come_back_or_was_not_at_work_is_no_restart(one):
    story = Story(UnexpectedRestart)
    story.is_there(DEPLOYMENT, REPLICA_SET, node("a"), one)
    assert deleted(story, 60, one) == []


def test_a_container_that_is_restarted_is_told(story, web):
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    story.changes(
        60, web, status__containerStatuses=[{"name": "main", "restartCount": 1, "lastState": ended}]
    )
    assert story.violations == BROKEN
    assert "(main ended with OOMKilled, code 137)" in story.judge.violations[0].sentence


def test_a_container_that_crashes_before_it_was_ever_ready_is_still_starting():
    story = Story(UnexpectedRestart)
    story.is_there(node("a"), one := pod("web-1", "a", of=WEB))
    story.changes(60, one, status__containerStatuses=[{"name": "main", "restartCount": 1}])
    assert story.violations == []


def test_where_deployments_are_not_recorded_a_deletion_is_not_excused():
    story = Story(UnexpectedRestart)
    story.is_there(
        node("a"), one := pod("web-1", "a", of=WEB, ready=True, **{"pod-template-hash": "5c8f69d94"})
    )
    assert deleted(story, 60, one) == BROKEN
    assert "of Deployment shop/web " in story.judge.violations[0].sentence
