"""Remove the old CNI.

Why: nothing depends on it any more. Deleting it earlier would leave nodes on which no pod can
start; so the deletion is refused while a pod on an old node still has its address from it.

Changes: the old CNI's DaemonSet is deleted; its manifest stays in the journal.

Undo: create the DaemonSet anew from the journal.
"""

import pytest

from pytest_cnimigrate.changes import DeleteDaemonSet
from pytest_cnimigrate.checks import daemonsets, nodes, workloads
from pytest_cnimigrate.model.resources import DAEMON_SETS, DEPLOYMENTS, PODS, STATEFUL_SETS


@pytest.mark.action
def test_delete_the_old_cni(migrate, cluster, scenario):
    """Delete the old CNI's DaemonSet"""
    name = scenario.old_cni.daemonset
    selector = cluster.node_groups.selector(scenario.old_cni.node_group)
    migrate(DeleteDaemonSet(name.namespace, name.name, nodes=selector))


def test_the_old_cni_is_gone(cluster, scenario, eventually):
    """The old CNI's DaemonSet and its pods are gone"""
    name, selector = scenario.old_cni.daemonset, scenario.old_cni.pod_selector

    def remaining():
        return daemonsets.remaining(
            cluster.kube.find(DAEMON_SETS, name.name, name.namespace),
            cluster.kube.list(PODS, name.namespace, label_selector=selector),
        )

    eventually(remaining, within=scenario.timeouts.rollout)


def test_the_new_nodes_do_not_notice(new_nodes, scenario, eventually):
    """The new nodes are still Ready"""
    eventually(lambda: nodes.not_ready(new_nodes.objects()), within=scenario.timeouts.api)


def test_the_workloads_do_not_notice(cluster, scenario, eventually):
    """Every workload still has all its pods"""
    eventually(
        lambda: workloads.incomplete([*cluster.kube.list(DEPLOYMENTS), *cluster.kube.list(STATEFUL_SETS)]),
        within=scenario.timeouts.api,
    )


def test_the_new_side_still_reaches_itself(goldpinger, new_nodes):
    """On the new side every probe still reaches every probe and every target"""
    goldpinger.expect_full_mesh(on=new_nodes.names(), among=new_nodes.names())
    goldpinger.expect_targets(on=new_nodes.names())
