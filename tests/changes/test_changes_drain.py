"""Draining: by eviction, within what budgets allow, and with the culprit's name when it does not end."""

from __future__ import annotations

import dataclasses
import json

import pytest
from embedded_rig import eventually

from pytest_cnimigrate.changes import CordonNode, DrainNodes
from pytest_cnimigrate.checks.workloads import is_evictable
from pytest_cnimigrate.kube.errors import ApiTimeout, Attempt, Conflict
from pytest_cnimigrate.model.objects import name_of
from pytest_cnimigrate.model.resources import DEPLOYMENTS, DISRUPTION_BUDGETS, NODES, PODS
from pytest_cnimigrate.run.change import ChangeError, ChangeRefusedError, Migration, change_from
from pytest_cnimigrate.run.journal import read_journal

LABELS = {"app": "web"}


def drain(node, *, timeout=20.0, delete_emptydir_data=False):
    return DrainNodes([node], timeout=timeout, delete_emptydir_data=delete_emptydir_data)


@pytest.fixture
def deploy(cluster, namespace, node):
    """Runs pods of a Deployment, all of them on the node to be drained."""
    others = [name_of(one) for one in cluster.kube.list(NODES) if name_of(one) != node]

    def close(value):
        for other in others:
            cluster.kube.patch(NODES, other, {"spec": {"unschedulable": value}})

    def run(replicas=2, **pod_spec):
        spec = {"containers": [{"name": "main", "image": "registry.example/web:1"}], **pod_spec}
        deployment = {
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": spec},
            },
        }
        close(True)
        cluster.kube.create(DEPLOYMENTS, deployment)
        available(cluster, namespace, replicas)
        close(None)

    yield run
    close(None)


def available(cluster, namespace, replicas):
    eventually(
        lambda: cluster.kube.get(DEPLOYMENTS, "web", namespace).get("status", {}),
        lambda status: status.get("availableReplicas") == replicas,
    )


@pytest.fixture
def protect(cluster, namespace):
    """Puts a disruption budget on the pods, and waits until its controller has counted them."""

    def create(name, pods=2, **spec):
        budget = {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"matchLabels": LABELS}, **spec},
        }
        cluster.kube.create(DISRUPTION_BUDGETS, budget)
        eventually(
            lambda: cluster.kube.get(DISRUPTION_BUDGETS, name, namespace).get("status", {}),
            lambda status: status.get("currentHealthy") == pods,
        )

    return create


def pods_on(cluster, node):
    found = cluster.kube.list(PODS, field_selector=f"spec.nodeName={node}")
    return [name_of(pod) for pod in found if is_evictable(pod)]


def test_every_pod_but_those_of_daemonsets_leaves_and_comes_back_elsewhere(
    cluster, migrate, told, namespace, node, deploy
):
    deploy(3)
    before = [name_of(pod) for pod in cluster.kube.list(PODS, namespace)]
    migrate(CordonNode(node), drain(node))
    assert pods_on(cluster, node) == []
    assert cluster.kube.list(PODS, "kube-system", field_selector=f"spec.nodeName={node}")
    available(cluster, namespace, 3)
    assert not set(before) & {name_of(pod) for pod in cluster.kube.list(PODS, namespace)}
    migrate(drain(node))
    assert told()[-3:] == ["change-started", "change-done", "change-held"]


def test_the_journal_says_which_pods_were_moved_and_what_was_waited_for(
    cluster, migrate, journal, namespace, node, deploy
):
    deploy(2)
    pods = sorted(f"{namespace}/{name_of(pod)}" for pod in cluster.kube.list(PODS, namespace))
    migrate(CordonNode(node), drain(node))
    records = read_journal(journal.path)
    (started,) = (
        one for one in records if one["event"] == "change-started" and one["change"] == "drain-nodes"
    )
    assert sorted(started["captured"]["pods"]) == pods
    assert any(one["event"] == "note" and one["text"].startswith("2 pods left") for one in records)


def test_a_budget_slows_the_drain_down_but_does_not_stop_it(
    cluster, migrate, namespace, node, deploy, protect
):
    deploy(3)
    protect("one-at-a-time", 3, maxUnavailable=1)
    migrate(CordonNode(node), drain(node))
    assert pods_on(cluster, node) == []


def test_a_budget_that_never_allows_it_is_named_with_the_pod_when_the_time_is_over(
    cluster, migrate, namespace, node, deploy, protect
):
    deploy(2)
    protect("never", maxUnavailable=0)
    migrate(CordonNode(node))
    with pytest.raises(ChangeError) as caught:
        migrate(drain(node, timeout=0.2))
    text = str(caught.value)
    assert f"{node} not empty after 0.2 s: 2 pods may not be evicted: pod {namespace}/web-" in text
    assert "never" in text
    assert "Scale the workload up or relax its budget, then run again" in text
    assert len(pods_on(cluster, node)) == 2


def test_a_pod_with_two_budgets_is_named_instead_of_being_waited_for_in_silence(
    cluster, migrate, namespace, node, deploy, protect
):
    deploy(1)
    protect("one", 1, maxUnavailable=1)
    protect("two", 1, maxUnavailable=1)
    migrate(CordonNode(node))
    with pytest.raises(
        ChangeError, match=r"1 pod may not be evicted: pod .*more than one PodDisruptionBudget"
    ):
        migrate(drain(node, timeout=0.2))


class Stuck:
    """An API server on which a pod never ends, as on a node whose kubelet is dead."""

    def __init__(self):
        self.evicted = []

    def find(self, resource, name):
        return {"spec": {"unschedulable": True}}

    def list(self, resource, **_):
        owner = {"kind": "ReplicaSet", "name": "web", "controller": True}
        metadata = {"name": "web-1", "namespace": "shop", "uid": "u1", "ownerReferences": [owner]}
        return [{"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}]

    def evict(self, name, namespace, *, uid):
        self.evicted.append(uid)


def test_a_pod_that_does_not_end_is_evicted_once_and_named(cluster, journal):
    stuck = Stuck()
    migrate = Migration(dataclasses.replace(cluster, kube=stuck), journal)
    with pytest.raises(ChangeError) as caught:
        migrate(drain("n", timeout=0.1))
    assert str(caught.value) == (
        "n not empty after 0.1 s: 1 pod is still terminating (shop/web-1); "
        "look at finalizers and grace periods"
    )
    assert stuck.evicted == ["u1"]


def test_a_pod_whose_name_another_has_taken_meanwhile_is_not_evicted_for_it(cluster, journal):
    """A StatefulSet's new pod has the name of the old one; the eviction is of the one that was seen."""

    class Replaced(Stuck):
        def list(self, resource, **_):
            return [] if self.evicted else super().list(resource)

        def evict(self, name, namespace, *, uid):
            super().evict(name, namespace, uid=uid)
            raise Conflict(
                Attempt("evict", f"pod {namespace}/{name}", "https://api"), "the UID differs", status=409
            )

    Migration(dataclasses.replace(cluster, kube=Replaced()), journal)(drain("n"))


def test_an_eviction_without_an_answer_is_asked_for_again(cluster, journal):
    """The connection may break after the API server has taken the request, or before."""

    class Flaky(Stuck):
        def list(self, resource, **_):
            return [] if len(self.evicted) == 2 else super().list(resource)

        def evict(self, name, namespace, *, uid):
            super().evict(name, namespace, uid=uid)
            if len(self.evicted) == 1:
                raise ApiTimeout(Attempt("evict", f"pod {namespace}/{name}", "https://api"), "no answer")

    flaky = Flaky()
    Migration(dataclasses.replace(cluster, kube=flaky), journal)(drain("n"))
    assert flaky.evicted == ["u1", "u1"]


def test_a_node_that_has_gone_meanwhile_is_no_obstacle(cluster, migrate, told):
    migrate(CordonNode("ip-of-a-node-that-was-replaced"), drain("ip-of-a-node-that-was-replaced"))
    assert told() == ["change-held", "change-held"]


def test_a_node_that_is_open_is_not_drained(cluster, migrate, namespace, node, deploy):
    deploy(1)
    with pytest.raises(
        ChangeRefusedError, match=f"node {node} is not cordoned, so evicted pods could come back"
    ):
        migrate(drain(node))
    assert len(pods_on(cluster, node)) == 1


def test_a_pod_that_nothing_would_bring_back_is_not_evicted(cluster, migrate, namespace, node):
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "registry.example/by-hand:1"}]}
    cluster.kube.create(PODS, {"metadata": {"name": "by-hand", "namespace": namespace}, "spec": spec})
    migrate(CordonNode(node))
    with pytest.raises(ChangeRefusedError, match=f"pod {namespace}/by-hand on node {node} has no controller"):
        migrate(drain(node))
    assert pods_on(cluster, node) == ["by-hand"]


def test_data_in_an_empty_dir_is_given_up_only_when_that_is_said(cluster, migrate, namespace, node, deploy):
    deploy(1, volumes=[{"name": "cache", "emptyDir": {}}])
    migrate(CordonNode(node))
    with pytest.raises(
        ChangeRefusedError, match=r"1 pod keeps data in emptyDir volumes .*set drain.delete_emptydir_data"
    ):
        migrate(drain(node))
    assert len(pods_on(cluster, node)) == 1
    migrate(drain(node, delete_emptydir_data=True))
    assert pods_on(cluster, node) == []


def test_undoing_a_drain_moves_nothing_back_and_is_told(cluster, migrate, told, namespace, node, deploy):
    deploy(1)
    migrate(CordonNode(node), drain(node))
    migrate.undo(drain(node), CordonNode(node))
    assert pods_on(cluster, node) == []
    assert told()[-2:] == ["undo-started", "change-undone"]


def test_a_drain_can_be_read_back_from_the_journal():
    change = DrainNodes(["a", "b"], timeout=30.0, delete_emptydir_data=True)
    assert change.describe() == "drain nodes a, b"
    assert change_from(change.kind, json.loads(json.dumps(change.parameters))) == change
