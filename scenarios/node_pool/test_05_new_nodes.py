"""New nodes: they come up without a CNI, and nothing starts on them.

Why: Cilium is to find them untouched. The old CNI is fenced out, so their kubelet has no CNI
configuration and reports NotReady, and the taint keeps pods away even once it does not.

Changes: the new node group is scaled up, its maximum raised if need be.

Undo: scale the new node group back to 0.
"""

import pytest

from pytest_cnimigrate.changes import ScaleNodeGroup
from pytest_cnimigrate.checks import daemonsets, node_groups, nodes, workloads
from pytest_cnimigrate.model.resources import DAEMON_SETS, PODS


@pytest.mark.action
def test_scale_up_the_new_group(migrate, scenario):
    """Scale the new node group up"""
    migrate(ScaleNodeGroup(scenario.new_nodes.node_group, desired=scenario.new_nodes.size))


def test_the_new_nodes_register(cluster, new_nodes, scenario, eventually):
    """The new nodes register"""
    group = scenario.new_nodes.node_group
    eventually(
        lambda: nodes.wrong_number(new_nodes.objects(), scenario.new_nodes.size, f"node group {group}"),
        hopeless=lambda: node_groups.failed(cluster.node_groups, group),
        within=scenario.timeouts.nodes,
    )


def test_the_new_nodes_wait_for_a_cni(new_nodes, scenario, eventually):
    """The new nodes are NotReady, for want of a CNI and nothing else"""
    eventually(lambda: nodes.not_waiting_for_a_cni(new_nodes.objects()), within=scenario.timeouts.api)


def test_the_new_nodes_are_tainted(new_nodes, scenario, expect):
    """The new nodes carry the taint, with the right key and effect"""
    expect(nodes.without_taint(new_nodes.objects(), scenario.taint.as_object()))


def test_the_new_nodes_are_not_fenced(new_nodes, scenario, expect):
    """The new nodes do not carry the label of the old CNI"""
    expect(nodes.with_labels(new_nodes.objects(), scenario.old_cni.fence.labels))


def test_the_old_cni_stays_away(cluster, old_nodes, new_nodes, scenario, eventually, expect):
    """The old CNI has no pod on the new nodes and does not want one"""
    name = scenario.old_cni.daemonset
    eventually(
        lambda: daemonsets.rollout_problems(
            cluster.kube.get(DAEMON_SETS, name.name, name.namespace), desired=len(old_nodes.names())
        ),
        within=scenario.timeouts.api,
    )
    pods = cluster.kube.list(PODS, name.namespace, label_selector=scenario.old_cni.pod_selector)
    expect(daemonsets.present_on(pods, new_nodes.names(), "the old CNI"))


def test_only_host_network_pods_run_there(cluster, new_nodes, expect):
    """Nothing runs on the new nodes but pods on the host's network"""
    expect(workloads.running_with_pod_network(cluster.kube.list(PODS), new_nodes.names()))


def test_the_old_side_still_reaches_itself(goldpinger, old_nodes):
    """On the old side every probe still reaches every probe"""
    goldpinger.expect_full_mesh(on=old_nodes.names())
