"""Final: the cluster is Cilium's, and nothing of the migration is left behind.

Why: this is what the change was for, in one place, for whoever signs it off.

Changes: nothing.

Undo: nothing to undo.
"""

from pytest_cnimigrate.checks import cilium, daemonsets, nodes, workloads
from pytest_cnimigrate.model.resources import (
    CILIUM_NODES,
    DAEMON_SETS,
    DEPLOYMENTS,
    NODES,
    PODS,
    STATEFUL_SETS,
)


def test_every_node_is_ciliums(cluster, scenario, eventually):
    """Every node of the cluster is Ready, Cilium's, and says so itself"""

    def not_ciliums():
        present = cluster.kube.list(NODES)
        agents = cluster.kube.list(PODS, scenario.cilium.namespace, label_selector=cilium.AGENT_SELECTOR)
        names = [node["metadata"]["name"] for node in present]
        return [
            *nodes.not_ready(present),
            *nodes.without_cilium_condition(present),
            *daemonsets.placement_problems(agents, names, "Cilium"),
            *cilium.node_objects_wrong(cluster.kube.list(CILIUM_NODES), present),
            *cilium.agent_not_owning_cni(cluster.kube, agents),
        ]

    eventually(not_ciliums, within=scenario.timeouts.api)


def test_every_pod_is_managed(cluster, scenario, eventually):
    """Cilium manages every pod of the cluster"""

    def unmanaged():
        names = [node["metadata"]["name"] for node in cluster.kube.list(NODES)]
        return cilium.unmanaged_pods(cluster.kube, names)

    eventually(unmanaged, within=scenario.timeouts.api)


def test_no_cordon_label_or_taint_is_left(cluster, scenario, expect):
    """No cordon, no label and no taint of the migration is left on any node"""
    present = cluster.kube.list(NODES)
    expect(
        nodes.cordoned(present),
        nodes.unexpected_taints(present, allowed=[taint.as_object() for taint in scenario.other_taints]),
        nodes.with_labels(present, scenario.old_cni.fence.labels),
    )


def test_the_old_cni_is_gone(cluster, scenario, expect):
    """Nothing of the old CNI runs any more"""
    name, selector = scenario.old_cni.daemonset, scenario.old_cni.pod_selector
    expect(
        daemonsets.remaining(
            cluster.kube.find(DAEMON_SETS, name.name, name.namespace),
            cluster.kube.list(PODS, name.namespace, label_selector=selector),
        )
    )


def test_every_workload_is_complete(cluster, scenario, eventually, evidence):
    """Every workload has all its pods, and every DaemonSet has one on each node that it wants"""

    def incomplete():
        movable = [*cluster.kube.list(DEPLOYMENTS), *cluster.kube.list(STATEFUL_SETS)]
        return workloads.incomplete(movable) + daemonsets.short_of_pods(cluster.kube.list(DAEMON_SETS))

    eventually(incomplete, within=scenario.timeouts.rollout)
    present = [*cluster.kube.list(DEPLOYMENTS), *cluster.kube.list(STATEFUL_SETS)]
    evidence("workloads after", workloads.replica_counts(present))


def test_everybody_reaches_everybody(goldpinger, new_nodes):
    """Every probe reaches every probe and every target"""
    goldpinger.expect_full_mesh(on=new_nodes.names())
    goldpinger.expect_targets()


def test_leave_the_numbers(reachability, measure, recall):
    """What it cost: pods moved, and pair-seconds lost from the baseline to now"""
    measure("pods moved", recall("pods to move"), "pods")
    lost = reachability.stop()
    measure("time observed", round(lost.seconds, 1), "s")
    for pairs, seconds in lost.pair_seconds.items():
        measure("reachability lost", round(seconds, 3), "pair-seconds", **{"class": pairs})
    measure("unanswered by pods on their way out", round(lost.vanished, 3), "s")
    assert lost.samples, "reachability was never sampled, so nothing is known of what was lost"
