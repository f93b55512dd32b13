"""Node groups: the old one keeps its replacements, the new one is there and still empty.

Why: a node that replaces one of the old group must not be taken for a new one, so the group
carries the fence label. A node of the new group must not take pods before Cilium is ready, so the
group carries the taint; EKS gives both to every node that it starts.

Changes: a label on the old node group; the new node group, with 0 nodes.

Undo: delete the new node group, take the label off the old one. No pod has noticed anything.
"""

import pytest

from pytest_cnimigrate.changes import CreateNodeGroup, LabelNodeGroup
from pytest_cnimigrate.checks import node_groups, nodes


@pytest.mark.action
def test_label_the_old_group(migrate, scenario):
    """Label the old node group, so that nodes which replace others are fenced from the start"""
    migrate(LabelNodeGroup(scenario.old_cni.node_group, scenario.old_cni.fence.labels))


@pytest.mark.action
def test_create_the_new_group(migrate, scenario):
    """Create the new node group with no nodes and its taint"""
    group = scenario.new_group
    migrate(
        CreateNodeGroup(
            group.name,
            like=scenario.old_cni.node_group,
            instance_type=group.instance_type,
            maximum=group.maximum_size,
            taints=[taint.as_object() for taint in group.taints],
            labels=group.labels,
        )
    )


def test_the_old_group_is_active(cluster, scenario, eventually):
    """The old node group is active"""
    group = scenario.old_cni.node_group
    eventually(lambda: node_groups.inactive(cluster.node_groups, group), within=scenario.timeouts.node_group)


def test_the_old_nodes_are_ready(old_nodes, scenario, eventually):
    """The nodes of the old group are Ready"""
    eventually(lambda: nodes.not_ready(old_nodes.objects()), within=scenario.timeouts.nodes)


def test_replacement_nodes_will_be_fenced(cluster, scenario, expect):
    """The old node group gives the fence label to the nodes that it starts"""
    labels = scenario.old_cni.fence.labels
    expect(node_groups.without_labels(cluster.node_groups, scenario.old_cni.node_group, labels))


def test_the_new_group_is_active(cluster, scenario, eventually):
    """The new node group is active"""
    group = scenario.new_nodes.node_group
    eventually(lambda: node_groups.inactive(cluster.node_groups, group), within=scenario.timeouts.node_group)


def test_the_new_group_is_empty(cluster, new_nodes, scenario, expect):
    """The new node group has no nodes yet"""
    expect(
        node_groups.wrong_size(cluster.node_groups, scenario.new_nodes.node_group, 0),
        nodes.wrong_number(new_nodes.objects(), 0, "new node group"),
    )


def test_the_new_group_gives_the_taint(cluster, scenario, expect):
    """The new node group taints the nodes that it starts until their agent is ready"""
    taint = scenario.taint.as_object()
    expect(node_groups.without_taint(cluster.node_groups, scenario.new_nodes.node_group, taint))
