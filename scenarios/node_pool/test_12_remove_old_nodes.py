"""Remove the old nodes.

Why: they are empty and have no CNI. With them goes the last reason to hold the watcher for
unmanaged pods back.

Changes: the old node group is scaled to 0 and deleted; Cilium's watcher is switched on and its
operator restarted, since it reads its configuration only when it starts.

Undo: there is none. Deleting the group is the point of no return.
"""

from datetime import UTC, datetime

import pytest

from pytest_cnimigrate.changes import DeleteNodeGroup, RestartRollout, ScaleNodeGroup, UpgradeRelease
from pytest_cnimigrate.checks import cilium, cilium_values, daemonsets, node_groups, nodes
from pytest_cnimigrate.model.resources import CONFIG_MAPS, DEPLOYMENTS


@pytest.mark.action
def test_scale_the_old_group_down(migrate, scenario):
    """Scale the old node group to 0"""
    migrate(ScaleNodeGroup(scenario.old_cni.node_group, desired=0))


def test_the_old_nodes_are_gone(old_nodes, scenario, eventually):
    """No old node is left"""
    eventually(
        lambda: nodes.wrong_number(old_nodes.objects(), 0, "old node group"), within=scenario.timeouts.nodes
    )


def test_the_old_group_is_active(cluster, scenario, eventually):
    """The old node group has finished scaling down"""
    group = scenario.old_cni.node_group
    eventually(lambda: node_groups.inactive(cluster.node_groups, group), within=scenario.timeouts.node_group)


@pytest.mark.action
def test_delete_the_old_group(migrate, scenario):
    """Delete the old node group"""
    migrate(DeleteNodeGroup(scenario.old_cni.node_group))


def test_the_old_group_is_gone(cluster, scenario, eventually):
    """The old node group is gone"""
    group = scenario.old_cni.node_group
    eventually(
        lambda: node_groups.still_there(cluster.node_groups, group), within=scenario.timeouts.node_group
    )


@pytest.mark.action
def test_switch_the_watcher_on(migrate, cilium_helm_values, scenario):
    """Switch Cilium's watcher for unmanaged pods on again"""
    release = scenario.cilium
    migrate(
        UpgradeRelease(
            release.release,
            release.namespace,
            chart=release.chart,
            version=release.version,
            values=cilium_values.with_watcher(cilium_helm_values),
        ),
        RestartRollout("Deployment", release.namespace, "cilium-operator", at=datetime.now(UTC).isoformat()),
    )


def test_the_operator_is_back(cluster, scenario, eventually):
    """Cilium's operator runs again"""
    namespace = scenario.cilium.namespace
    eventually(
        lambda: daemonsets.deployment_rollout_problems(
            cluster.kube.get(DEPLOYMENTS, "cilium-operator", namespace)
        ),
        within=scenario.timeouts.rollout,
    )


def test_the_watcher_is_on(cluster, scenario, expect):
    """The watcher for unmanaged pods is on in the configuration"""
    expect(cilium.watcher_off(cluster.kube.get(CONFIG_MAPS, "cilium-config", scenario.cilium.namespace)))


def test_everybody_who_is_left_reaches_everybody(goldpinger, new_nodes):
    """Every probe reaches every probe and every target on what remains"""
    goldpinger.expect_full_mesh(on=new_nodes.names())
    goldpinger.expect_targets()
