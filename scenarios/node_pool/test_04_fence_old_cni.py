"""Fence the old CNI: keep aws-node off every node that does not exist yet.

Why: aws-node tolerates every taint, so only its node affinity can keep it off the new nodes. If it
came there, two CNIs would manage one node's interfaces and routes. The terms of a required node
affinity are ORed, so the expression goes into every one of them.

Changes: the fence label on every node of the old group; one expression in each affinity term of the
DaemonSet, which restarts its pods one after the other; goldpinger's Deployment is restarted to see
that new pods still get addresses.

Undo: put the DaemonSet's affinity back (its pods restart once more), take the labels off.
"""

from datetime import UTC, datetime

import pytest

from pytest_cnimigrate.changes import FenceDaemonSet, LabelNode, LabelNodeGroup, RestartRollout
from pytest_cnimigrate.checks import affinity, daemonsets, node_groups, nodes
from pytest_cnimigrate.model.resources import DAEMON_SETS


@pytest.mark.action
def test_label_the_old_nodes(migrate, old_nodes, scenario):
    """Label the old nodes, and make sure of their group's label"""
    labels = scenario.old_cni.fence.labels
    migrate(LabelNodeGroup(scenario.old_cni.node_group, labels))
    migrate(*(LabelNode(node, labels) for node in old_nodes.names()))


def test_every_old_node_is_labelled(cluster, old_nodes, scenario, expect, eventually):
    """Every old node carries the fence label, and so does their group"""
    group, labels = scenario.old_cni.node_group, scenario.old_cni.fence.labels
    expect(nodes.without_labels(old_nodes.objects(), labels))
    eventually(
        lambda: node_groups.without_labels(cluster.node_groups, group, labels),
        within=scenario.timeouts.node_group,
    )


@pytest.mark.action
def test_fence_the_daemonset(migrate, scenario):
    """Require the fence label in every affinity term of the old CNI's DaemonSet"""
    name, fence = scenario.old_cni.daemonset, scenario.old_cni.fence
    migrate(FenceDaemonSet(name.namespace, name.name, fence.key, fence.value))


def test_every_term_requires_the_label(cluster, scenario, expect):
    """Every affinity term of the old CNI's DaemonSet requires the fence label"""
    name, fence = scenario.old_cni.daemonset, scenario.old_cni.fence
    daemonset = cluster.kube.get(DAEMON_SETS, name.name, name.namespace)
    expect(affinity.missing_requirement(daemonset, fence.key, fence.value))


def test_the_old_cni_is_rolled_out_on_the_old_nodes(cluster, old_nodes, scenario, eventually):
    """The old CNI has been rolled out anew, on the old nodes and nowhere else"""
    name = scenario.old_cni.daemonset
    eventually(
        lambda: daemonsets.rollout_problems(
            cluster.kube.get(DAEMON_SETS, name.name, name.namespace), desired=len(old_nodes.names())
        ),
        within=scenario.timeouts.rollout,
    )


@pytest.mark.action
def test_restart_the_movable_probes(migrate, scenario):
    """Restart goldpinger's Deployment: can new pods still start here?"""
    probe = scenario.goldpinger
    migrate(RestartRollout("Deployment", probe.namespace, probe.deployment, at=datetime.now(UTC).isoformat()))


def test_the_movable_probes_are_back(goldpinger, scenario, eventually):
    """goldpinger's Deployment has all its pods again"""
    eventually(
        lambda: daemonsets.deployment_rollout_problems(goldpinger.deployment()),
        within=scenario.timeouts.rollout,
    )


def test_everybody_still_reaches_everybody(goldpinger, old_nodes):
    """Every probe reaches every probe, by results newer than the restart"""
    goldpinger.expect_full_mesh(on=old_nodes.names())
