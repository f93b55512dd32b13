"""Labels, cordons and restarts: made once, undone exactly."""

from __future__ import annotations

import json

import pytest

from pytest_cnimigrate.changes import CordonNode, LabelNode, RestartRollout
from pytest_cnimigrate.model.objects import labels_of
from pytest_cnimigrate.model.resources import DAEMON_SETS, DEPLOYMENTS, NODES, STATEFUL_SETS
from pytest_cnimigrate.run.change import ChangeError, change_from


def labels(cluster, node):
    return labels_of(cluster.kube.get(NODES, node))


def test_a_label_is_set_once_and_taken_off_again(cluster, migrate, told, node):
    before = labels(cluster, node)
    change = LabelNode(node, {"cni": "aws-cni"})
    migrate(change, change)
    assert labels(cluster, node) == before | {"cni": "aws-cni"}
    migrate.undo(change)
    assert labels(cluster, node) == before
    assert told() == ["change-started", "change-done", "change-held", "undo-started", "change-undone"]


def test_a_label_that_said_something_else_says_it_again(cluster, migrate, node):
    migrate(LabelNode(node, {"cni": "other"}))
    migrate(LabelNode(node, {"cni": "aws-cni", "more": "x"}))
    migrate.undo(LabelNode(node, {"cni": "aws-cni", "more": "x"}))
    assert labels(cluster, node)["cni"] == "other"
    assert "more" not in labels(cluster, node)


def test_a_label_is_taken_away_and_put_back(cluster, migrate, node):
    migrate(LabelNode(node, {"cni": "aws-cni"}))
    removal = LabelNode(node, {"cni": None})
    assert removal.describe() == f"label node {node} with cni-"
    migrate(removal)
    assert "cni" not in labels(cluster, node)
    migrate.undo(removal)
    assert labels(cluster, node)["cni"] == "aws-cni"


def test_a_label_that_was_there_before_stays_when_the_change_is_undone(cluster, migrate, node):
    cluster.kube.patch(NODES, node, {"metadata": {"labels": {"cni": "aws-cni"}}})
    migrate(LabelNode(node, {"cni": "aws-cni"}))
    migrate.undo(LabelNode(node, {"cni": "aws-cni"}))
    assert labels(cluster, node)["cni"] == "aws-cni"


def test_a_node_that_is_not_there_is_named(migrate):
    with pytest.raises(ChangeError, match="could not label node gone with cni=aws-cni: cannot get node gone"):
        migrate(LabelNode("gone", {"cni": "aws-cni"}))


def test_a_node_is_cordoned_once_and_uncordoned_again(cluster, migrate, told, node):
    migrate(CordonNode(node), CordonNode(node))
    assert cluster.kube.get(NODES, node)["spec"]["unschedulable"] is True
    migrate.undo(CordonNode(node))
    assert not cluster.kube.get(NODES, node)["spec"].get("unschedulable")
    assert told()[:3] == ["change-started", "change-done", "change-held"]


def test_a_node_that_somebody_else_had_cordoned_stays_so(cluster, migrate, node):
    cluster.kube.patch(NODES, node, {"spec": {"unschedulable": True}})
    migrate(CordonNode(node))
    migrate.undo(CordonNode(node))
    assert cluster.kube.get(NODES, node)["spec"]["unschedulable"] is True


def workload(kind, namespace):
    labels = {"app": "web"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels, "annotations": {"kept": "yes"}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]},
        },
    }
    if kind == "StatefulSet":
        spec["serviceName"] = "web"
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": namespace},
        "spec": spec,
    }


@pytest.mark.parametrize("resource", [DAEMON_SETS, DEPLOYMENTS, STATEFUL_SETS])
def test_a_workload_is_restarted_once_for_each_time_that_is_given(
    cluster, migrate, told, namespace, resource
):
    cluster.kube.create(resource, workload(resource.kind, namespace))
    first = RestartRollout(resource.kind, namespace, "web", at="2026-11-22T20:00:00Z")
    migrate(first, first)
    assert told() == ["change-started", "change-done", "change-held"]
    template = cluster.kube.get(resource, "web", namespace)["spec"]["template"]
    assert template["metadata"]["annotations"] == {
        "kept": "yes",
        "kubectl.kubernetes.io/restartedAt": "2026-11-22T20:00:00Z",
    }
    generation = cluster.kube.get(resource, "web", namespace)["metadata"]["generation"]
    migrate(RestartRollout(resource.kind, namespace, "web", at="2026-11-22T21:00:00Z"))
    assert cluster.kube.get(resource, "web", namespace)["metadata"]["generation"] == generation + 1


def test_undoing_a_restart_changes_nothing_and_is_told(cluster, migrate, told, namespace):
    cluster.kube.create(DEPLOYMENTS, workload("Deployment", namespace))
    change = RestartRollout("Deployment", namespace, "web", at="2026-11-22T20:00:00Z")
    migrate(change)
    before = cluster.kube.get(DEPLOYMENTS, "web", namespace)["spec"]
    migrate.undo(change)
    assert cluster.kube.get(DEPLOYMENTS, "web", namespace)["spec"] == before
    assert told()[-1] == "change-undone"


@pytest.mark.parametrize(
    "change",
    [
        LabelNode("n", {"a": "b", "c": None}),
        CordonNode("n"),
        RestartRollout("Deployment", "default", "web", at="2026-11-22T20:00:00Z"),
    ],
)
def test_a_change_can_be_read_back_from_the_journal(change):
    assert change_from(change.kind, json.loads(json.dumps(change.parameters))) == change
