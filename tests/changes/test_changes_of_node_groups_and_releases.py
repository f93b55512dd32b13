"""Node groups and Helm releases: made through the cloud's API and the chart, and undone."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
from embedded_rig import eventually

from pytest_cnimigrate.changes import (
    CreateNodeGroup,
    DeleteNodeGroup,
    LabelNodeGroup,
    ScaleNodeGroup,
    UpgradeRelease,
)
from pytest_cnimigrate.model.resources import CONFIG_MAPS, DAEMON_SETS, NODES, SERVICE_ACCOUNTS
from pytest_cnimigrate.providers.node_groups import NodeGroup
from pytest_cnimigrate.run.change import ChangeError, ChangeRefusedError, Migration, change_from

TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}
_numbers = itertools.count(1)


@pytest.fixture
def name(cluster):
    """A name for a node group; what has it afterwards is removed."""
    name = f"ng-test-{next(_numbers)}"
    yield name
    if cluster.node_groups.find(name) is not None:
        settle(cluster, name)
        if cluster.node_groups.find(name).status != "DELETING":
            cluster.node_groups.delete(name)
        eventually(lambda: cluster.node_groups.find(name), lambda group: group is None)


def settle(cluster, name):
    """The group as soon as nothing is under way."""
    busy = {"CREATING", "UPDATING"}
    return eventually(lambda: cluster.node_groups.find(name), lambda group: group.status not in busy)


def creation(name, **changes):
    fields = {
        "like": "ng-1",
        "instance_type": "m5.large",
        "maximum": 1,
        "taints": [TAINT],
        "labels": {"a": "b"},
    }
    return CreateNodeGroup(name, **fields | changes)


# --- node groups -------------------------------------------------------------------------------------------


def test_a_node_group_is_created_empty_and_tainted_and_removed_again(cluster, migrate, told, name):
    assert creation(name).describe() == (
        f"create node group {name} with 0 nodes, like ng-1, "
        "tainted node.cilium.io/agent-not-ready=true:NoExecute"
    )
    migrate(creation(name), creation(name))
    group = settle(cluster, name)
    like = cluster.node_groups.find("ng-1")
    assert (group.status, group.minimum, group.maximum, group.desired) == ("ACTIVE", 0, 1, 0)
    assert (group.taints, group.labels, group.subnets) == ((TAINT,), {"a": "b"}, like.subnets)
    assert told() == ["change-started", "change-done", "change-held"]
    migrate.undo(creation(name))
    eventually(lambda: cluster.node_groups.find(name), lambda group: group is None)


def test_a_group_of_that_name_that_is_going_is_not_taken_for_a_new_one(cluster, migrate, name):
    migrate(creation(name))
    settle(cluster, name)
    cluster.node_groups.delete(name)
    with pytest.raises(
        ChangeRefusedError, match="it is there already and DELETING; delete it, and wait until"
    ):
        migrate(creation(name))


def test_undoing_the_creation_does_not_take_nodes_away(cluster, migrate, name):
    migrate(creation(name))
    settle(cluster, name)
    migrate(ScaleNodeGroup(name, desired=1))
    settle(cluster, name)
    with pytest.raises(ChangeError, match=f"node group {name} still wants 1 nodes, on which pods may run"):
        migrate.undo(creation(name))
    assert cluster.node_groups.find(name).status == "ACTIVE"
    migrate.undo(ScaleNodeGroup(name, desired=1))
    settle(cluster, name)
    migrate.undo(creation(name))
    eventually(lambda: cluster.node_groups.find(name), lambda group: group is None)


def test_a_group_that_is_like_nobody_cannot_be_created(migrate, name):
    with pytest.raises(ChangeError, match="has no node group ng-9 to take role and subnets from"):
        migrate(creation(name, like="ng-9"))


def test_a_group_is_scaled_beyond_its_maximum_and_back(cluster, migrate, told, name):
    """eksctl makes a group with desiredCapacity 0 with a maximum of 1."""
    migrate(creation(name))
    settle(cluster, name)
    scale = ScaleNodeGroup(name, desired=2)
    migrate(scale)
    group = settle(cluster, name)
    migrate(scale)
    assert (group.minimum, group.maximum, group.desired) == (0, 2, 2)
    selector = cluster.node_groups.selector(name)
    nodes = eventually(
        lambda: cluster.kube.list(NODES, label_selector=selector), lambda found: len(found) == 2
    )
    assert all(TAINT.items() <= taint.items() for node in nodes for taint in node["spec"]["taints"][:1])
    migrate.undo(scale)
    group = settle(cluster, name)
    assert (group.minimum, group.maximum, group.desired) == (0, 1, 0)
    eventually(lambda: cluster.kube.list(NODES, label_selector=selector), lambda found: not found)
    assert told()[2:5] == ["change-started", "change-done", "change-held"]


def test_a_minimum_does_not_keep_a_group_from_going_to_0(cluster, migrate, name):
    migrate(creation(name))
    settle(cluster, name)
    cluster.node_groups.scale(name, minimum=1, maximum=1, desired=1)
    settle(cluster, name)
    migrate(ScaleNodeGroup(name, desired=0))
    group = settle(cluster, name)
    assert (group.minimum, group.maximum, group.desired) == (0, 1, 0)


def test_a_groups_labels_are_set_and_put_back(cluster, migrate, told, name):
    migrate(creation(name))
    settle(cluster, name)
    label = LabelNodeGroup(name, {"a": "c", "cni": "aws-cni"})
    migrate(label)
    assert settle(cluster, name).labels == {"a": "c", "cni": "aws-cni"}
    migrate(label)
    migrate.undo(label)
    assert settle(cluster, name).labels == {"a": "b"}
    assert told()[2:] == ["change-started", "change-done", "change-held", "undo-started", "change-undone"]


def test_a_group_that_wants_nodes_is_not_deleted(cluster, migrate):
    with pytest.raises(ChangeRefusedError, match="refused to delete node group ng-1: it still wants 2 nodes"):
        migrate(DeleteNodeGroup("ng-1"))
    assert cluster.node_groups.find("ng-1").status == "ACTIVE"


def test_an_empty_group_is_deleted_once_and_does_not_come_back(cluster, migrate, told, name):
    cluster.node_groups.create(spec(name))
    settle(cluster, name)
    migrate(DeleteNodeGroup(name), DeleteNodeGroup(name))
    assert told() == ["change-started", "change-done", "change-held"]
    eventually(lambda: cluster.node_groups.find(name), lambda group: group is None)
    with pytest.raises(ChangeError, match=f"a deleted node group cannot be brought back; create {name} anew"):
        migrate.undo(DeleteNodeGroup(name))


def spec(name):
    from pytest_cnimigrate.providers.node_groups import NodeGroupSpec

    return NodeGroupSpec(name, like="ng-1")


def test_a_group_that_is_still_at_work_is_waited_for(cluster, migrate, told, name):
    """EKS takes one update at a time; the second change comes right after the first."""
    migrate(creation(name))
    migrate(LabelNodeGroup(name, {"first": "1"}), LabelNodeGroup(name, {"second": "2"}))
    migrate(ScaleNodeGroup(name, desired=1), LabelNodeGroup(name, {"third": "3"}))
    labels = settle(cluster, name).labels
    assert {"first": "1", "second": "2", "third": "3"}.items() <= labels.items()
    assert told() == ["change-started", "change-done"] * 5


def test_a_group_that_stays_at_work_is_not_waited_for_for_ever(cluster, journal, monkeypatch):
    class Busy:
        def find(self, name):
            return NodeGroup(name, "UPDATING", minimum=0, maximum=1, desired=0)

    monkeypatch.setattr("pytest_cnimigrate.changes.node_groups.BUSY_SECONDS", 0.0)
    migrate = Migration(dataclasses.replace(cluster, node_groups=Busy()), journal)
    for change in (LabelNodeGroup("ng-9", {"a": "b"}), ScaleNodeGroup("ng-9", 1), DeleteNodeGroup("ng-9")):
        with pytest.raises(ChangeError, match=r"node group ng-9 to take another change .* ng-9 is UPDATING"):
            migrate(change)


@pytest.mark.parametrize("change", [ScaleNodeGroup("ng-9", desired=1), LabelNodeGroup("ng-9", {"a": "b"})])
def test_a_group_that_is_not_there_is_named_with_where_to_look(migrate, change):
    with pytest.raises(
        ChangeError, match=r"cluster dc-rig has no node group ng-9; check the names in scenario"
    ):
        migrate(change)


# --- Helm releases -----------------------------------------------------------------------------------------

VALUES = {
    "cluster": {"name": "dc-migrate"},
    "eni": {"enabled": True},
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "no-such-label", "operator": "Exists"}]}]
            }
        }
    },
    "operator": {"replicas": 0, "unmanagedPodWatcher": {"restart": False}},
    "serviceAccounts": {"cilium": {"name": "cilium"}},
}


def release(namespace, **values):
    return UpgradeRelease(
        "cilium", namespace, chart="cilium/cilium", version="1.18.4", values=VALUES | values
    )


def watcher(cluster, namespace):
    config = cluster.kube.get(CONFIG_MAPS, "cilium-config", namespace)
    return config["data"]["unmanaged-pod-watcher-interval"]


def test_a_release_is_installed_once_and_uninstalled_without_a_trace(cluster, migrate, told, namespace):
    migrate(release(namespace), release(namespace))
    assert cluster.helm.find("cilium", namespace).revision == 1
    assert cluster.kube.find(DAEMON_SETS, "cilium", namespace)
    assert told() == ["change-started", "change-done", "change-held"]
    migrate.undo(release(namespace))
    assert cluster.helm.find("cilium", namespace) is None
    assert cluster.kube.find(DAEMON_SETS, "cilium", namespace) is None
    assert [one["metadata"]["name"] for one in cluster.kube.list(SERVICE_ACCOUNTS, namespace)] == ["default"]


def test_an_upgrade_is_rolled_back_to_the_values_before(cluster, migrate, namespace):
    on = {"operator": {"replicas": 0, "unmanagedPodWatcher": {"restart": True}}}
    migrate(release(namespace))
    assert watcher(cluster, namespace) == "0"
    migrate(release(namespace, **on))
    assert watcher(cluster, namespace) == "15"
    assert cluster.helm.find("cilium", namespace).revision == 2
    migrate.undo(release(namespace, **on))
    assert watcher(cluster, namespace) == "0"
    found = cluster.helm.find("cilium", namespace)
    assert (found.revision, found.status, found.values) == (3, "deployed", VALUES)
    assert release(namespace).holds(cluster)


def test_a_release_that_somebody_has_uninstalled_need_not_be_undone(cluster, migrate, told, namespace):
    migrate(release(namespace))
    cluster.helm.uninstall("cilium", namespace)
    migrate.undo(release(namespace))
    assert told()[-1] == "change-undone"


def test_values_that_the_chart_refuses_are_told_in_its_words(cluster, migrate, namespace):
    with pytest.raises(
        ChangeError, match=r"could not install or upgrade Helm release .*/cilium .*tunnel was deprecated"
    ):
        migrate(release(namespace, tunnel="disabled"))
    assert cluster.helm.find("cilium", namespace) is None


@pytest.mark.parametrize(
    "change",
    [
        creation("ng-1"),
        LabelNodeGroup("ng-1", {"a": "b"}),
        ScaleNodeGroup("ng-1", 3),
        DeleteNodeGroup("ng-1"),
        release("x"),
    ],
)
def test_a_change_can_be_read_back_from_the_journal(change):
    assert change_from(change.kind, json.loads(json.dumps(change.parameters))) == change
