"""Shift the probe: the first workload moves over.

Why: the probe's Deployment can be restarted at no cost, so it goes first and shows that pods get
addresses, start and are reached on the new nodes while the old ones are closed.

Changes: the old nodes are cordoned; goldpinger's Deployment is restarted.

Undo: uncordon the old nodes.
"""

from datetime import UTC, datetime

import pytest

from pytest_cnimigrate.changes import CordonNode, RestartRollout
from pytest_cnimigrate.checks import cilium, daemonsets, nodes


@pytest.mark.action
def test_cordon_the_old_nodes(migrate, old_nodes):
    """Cordon the old nodes"""
    migrate(*(CordonNode(node) for node in old_nodes.names()))


def test_the_old_nodes_are_cordoned(old_nodes, expect):
    """No old node takes new pods"""
    expect(nodes.schedulable(old_nodes.objects()))


@pytest.mark.action
def test_restart_the_movable_probes(migrate, scenario):
    """Restart goldpinger's Deployment"""
    probe = scenario.goldpinger
    migrate(RestartRollout("Deployment", probe.namespace, probe.deployment, at=datetime.now(UTC).isoformat()))


def test_the_movable_probes_are_back(goldpinger, scenario, eventually):
    """goldpinger's Deployment has all its pods again"""
    eventually(
        lambda: daemonsets.deployment_rollout_problems(goldpinger.deployment()),
        within=scenario.timeouts.rollout,
    )


def test_the_movable_probes_are_on_new_nodes(goldpinger, old_nodes, scenario, eventually):
    """Every pod of goldpinger's Deployment is on a new node, and none is left terminating on an old one"""
    what = "goldpinger's Deployment"
    eventually(
        lambda: daemonsets.present_on(goldpinger.deployment_pods(), old_nodes.names(), what),
        within=scenario.timeouts.rollout,
    )


def test_cilium_manages_the_probes(cluster, new_nodes, scenario, eventually):
    """Cilium manages the probes on the new nodes"""
    eventually(lambda: cilium.unmanaged_pods(cluster.kube, new_nodes.names()), within=scenario.timeouts.nodes)


def test_everybody_still_reaches_everybody(goldpinger, old_nodes, new_nodes):
    """Every probe reaches every probe, by results newer than the restart"""
    goldpinger.expect_full_mesh(on=[*old_nodes.names(), *new_nodes.names()], classes=4)
