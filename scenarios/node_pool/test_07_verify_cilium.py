"""Verify Cilium: its nodes are ready and its own, and both sides reach each other.

Why: from here on workloads go there. A node's conditions alone do not tell: CiliumIsUp says that an
agent was ready once. So each agent is asked whether it owns its node's CNI configuration, each
CiliumNode is looked at, and the probe judges every direction by itself: old to old, old to new, new
to old, new to new, and the way out.

Changes: nothing.

Undo: nothing to undo.
"""

from pytest_cnimigrate.checks import cilium, daemonsets, node_groups, nodes
from pytest_cnimigrate.model.resources import CILIUM_NODES, PODS


def test_the_new_nodes_are_ready(new_nodes, scenario, eventually):
    """The new nodes are Ready"""
    eventually(lambda: nodes.not_ready(new_nodes.objects()), within=scenario.timeouts.nodes)


def test_the_taint_is_off_the_nodes(new_nodes, scenario, eventually):
    """The operator has taken the taint off the new nodes"""
    eventually(
        lambda: nodes.with_taint_key(new_nodes.objects(), scenario.taint.key), within=scenario.timeouts.nodes
    )


def test_the_taint_is_still_on_the_group(cluster, scenario, expect):
    """The new group still gives the taint to nodes that it starts"""
    taint = scenario.taint.as_object()
    expect(node_groups.without_taint(cluster.node_groups, scenario.new_nodes.node_group, taint))


def test_cilium_says_that_it_is_up(new_nodes, scenario, eventually):
    """The new nodes have NetworkUnavailable=False, because CiliumIsUp"""
    eventually(lambda: nodes.without_cilium_condition(new_nodes.objects()), within=scenario.timeouts.nodes)


def test_the_agents_own_the_cni_configuration(cluster, scenario, eventually):
    """Every agent says that it has written its node's CNI configuration"""

    def not_owning():
        agents = cluster.kube.list(PODS, scenario.cilium.namespace, label_selector=cilium.AGENT_SELECTOR)
        return cilium.agent_not_owning_cni(cluster.kube, agents)

    eventually(not_owning, within=scenario.timeouts.api)


def test_every_new_node_has_its_ciliumnode(cluster, new_nodes, old_nodes, scenario, eventually, evidence):
    """Every new node has a CiliumNode with addresses and no error, and no old node has one"""
    eventually(
        lambda: cilium.node_objects_wrong(
            cluster.kube.list(CILIUM_NODES), new_nodes.objects(), absent_from=old_nodes.names()
        ),
        within=scenario.timeouts.nodes,
    )
    evidence("ciliumnodes", cluster.kube.list(CILIUM_NODES))


def test_a_probe_runs_on_every_new_node(goldpinger, new_nodes, old_nodes, scenario, eventually):
    """goldpinger's DaemonSet has a ready pod on every new node too"""
    everywhere = [*old_nodes.names(), *new_nodes.names()]
    eventually(
        lambda: daemonsets.placement_problems(goldpinger.daemonset_pods(), everywhere, "goldpinger"),
        within=scenario.timeouts.rollout,
    )


def test_everybody_reaches_everybody_across_both_cnis(goldpinger, old_nodes, new_nodes):
    """Every probe reaches every probe: old→old, old→new, new→old and new→new"""
    goldpinger.expect_full_mesh(on=[*old_nodes.names(), *new_nodes.names()], classes=4)


def test_the_way_out_works_from_the_new_nodes(goldpinger, new_nodes):
    """Probes on the new nodes resolve names and reach services and the outside"""
    goldpinger.expect_targets(on=new_nodes.names())


def test_every_pod_on_the_new_nodes_is_managed(cluster, new_nodes, scenario, eventually):
    """Cilium manages every pod that runs on the new nodes"""
    eventually(lambda: cilium.unmanaged_pods(cluster.kube, new_nodes.names()), within=scenario.timeouts.nodes)
