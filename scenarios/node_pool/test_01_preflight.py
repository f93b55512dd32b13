"""Preflight: can this migration go through, and is this the right cluster?

Why: whatever would stop the migration half way is cheaper to find now. Nothing is changed in this
phase, so it can be run at any time, days before the change window too.

Undo: nothing to undo.
"""

from pytest_cnimigrate.checks import (
    capacity,
    cilium_values,
    daemonsets,
    identity,
    network_policies,
    nodes,
    placement,
    rights,
    workloads,
)
from pytest_cnimigrate.model.resources import (
    DAEMON_SETS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    NODES,
    PODS,
    SERVICES,
)


def test_this_is_the_cluster_that_was_named(cluster, scenario, expect, evidence):
    """Cluster and account are the ones that the scenario names"""
    evidence("identity", identity.facts(cluster))
    expect(identity.differs(cluster, name=scenario.cluster_name, account=scenario.cluster.account))


def test_we_have_the_rights_that_the_run_needs(cluster, expect):
    """The rights that the run will need are there"""
    expect(rights.missing(cluster.kube, rights.NODE_POOL))


def test_the_old_nodes_are_there(old_nodes, scenario, expect):
    """The old group has nodes"""
    group = scenario.old_cni.node_group
    expect([] if old_nodes.names() else [f"node group {group} has no nodes: there is nothing to migrate"])


def test_every_node_is_of_one_of_the_two_groups(cluster, old_nodes, new_nodes, expect):
    """There are no nodes besides those of the two groups: the fence would leave them without a CNI"""
    expect(nodes.of_neither(cluster.kube.list(NODES), old_nodes.names(), new_nodes.names()))


def test_the_old_cni_is_rolled_out(cluster, scenario, eventually):
    """The old CNI's DaemonSet is there and rolled out"""
    name = scenario.old_cni.daemonset
    eventually(
        lambda: daemonsets.rollout_problems(cluster.kube.get(DAEMON_SETS, name.name, name.namespace)),
        within=scenario.timeouts.api,
    )


def test_the_old_cni_is_self_managed(cluster, scenario, expect):
    """The old CNI is not a managed add-on, whose controller would revert the fence"""
    expect(daemonsets.managed_addon(cluster.node_groups, scenario.old_cni.addon))


def test_there_is_no_second_cni(cluster, scenario, expect):
    """No other CNI is installed"""
    expect(daemonsets.other_cnis(cluster.kube.list(DAEMON_SETS), scenario.old_cni.daemonset))


def test_the_values_fit_this_version_of_cilium(cilium_helm_values, scenario, expect):
    """Cilium's values fit the version that will be installed"""
    expect(
        cilium_values.outdated(cilium_helm_values, scenario.cilium.version),
        cilium_values.wrong_for_eni(cilium_helm_values),
        cilium_values.leaves_masquerading_open(cilium_helm_values, scenario.cilium.version),
        cilium_values.taint_key_differs(cilium_helm_values, scenario.taint.key),
    )


def test_the_values_fit_this_cluster(cluster, cilium_helm_values, expect):
    """Cilium's values fit the address family of the cluster"""
    service = cluster.kube.get(SERVICES, "kubernetes", "default")
    expect(cilium_values.wrong_address_family(cilium_helm_values, service))


def test_the_values_keep_cilium_away_from_old_nodes(cilium_helm_values, scenario, expect):
    """Cilium's values keep its agents away from nodes with the fence label"""
    fence = scenario.old_cni.fence
    expect(cilium_values.goes_to_old_nodes(cilium_helm_values, fence.key, fence.value))


def test_the_values_turn_the_watcher_off(cilium_helm_values, expect):
    """Cilium's values turn off the watcher that restarts unmanaged pods"""
    expect(cilium_values.lets_watcher_run(cilium_helm_values))


def test_every_network_policy_will_be_held(cluster, scenario, expect, evidence):
    """Every NetworkPolicy is on the list of those to be held back"""
    policies = cluster.kube.list(NETWORK_POLICIES)
    evidence("network policies", policies)
    hold = scenario.network_policies.hold
    expect(network_policies.not_held(policies, hold), network_policies.not_there(policies, hold))


def test_every_pod_can_be_created_anew(cluster, old_nodes, expect):
    """Every pod that has to move has a controller that will create it anew"""
    expect(workloads.irreplaceable(capacity.pods_to_move(cluster.kube.list(PODS), old_nodes.names())))


def test_no_data_is_lost_unawares(cluster, old_nodes, scenario, expect):
    """No pod that has to move keeps data on its node, unless the scenario gives that up"""
    moving = capacity.pods_to_move(cluster.kube.list(PODS), old_nodes.names())
    expect(workloads.keeping_data(moving, allowed=scenario.drain.delete_emptydir_data))


def test_everything_may_run_on_the_new_nodes(cluster, old_nodes, scenario, expect):
    """No workload is pinned to the old nodes, by labels that the new ones will lack or a taint of theirs"""
    group, old = scenario.new_group, old_nodes.objects()
    key, _, name = cluster.node_groups.selector(group.name).partition("=")
    to_come = placement.nodes_to_come(
        old,
        labels=group.labels | {key: name},
        taints=[taint.as_object() for taint in scenario.other_taints],
        instance_type=group.instance_type,
    )
    expect(
        placement.cannot_follow(
            cluster.kube.list(PODS),
            cluster.kube.list(DAEMON_SETS),
            old,
            to_come,
            except_for=scenario.old_cni.daemonset,
        )
    )


def test_every_budget_allows_a_disruption(cluster, old_nodes, scenario, eventually):
    """Every disruption budget lets at least one pod go"""

    def blocking():
        moving = capacity.pods_to_move(cluster.kube.list(PODS), old_nodes.names())
        return workloads.blocking_budgets(cluster.kube.list(DISRUPTION_BUDGETS), moving)

    eventually(blocking, within=scenario.timeouts.api)


def test_the_new_group_has_room(cluster, old_nodes, scenario, expect):
    """The new nodes have room, and their subnets have addresses, for everything that has to move"""
    pods, names, size = cluster.kube.list(PODS), old_nodes.names(), scenario.new_nodes.size
    moving, daemons = capacity.pods_to_move(pods, names), capacity.pods_of_each_node(pods, names)
    room = cluster.node_groups.capacity(scenario.old_cni.node_group, scenario.new_group.instance_type)
    expect(
        capacity.too_small(moving, len(daemons), size, room),
        capacity.too_weak(moving, daemons, size, room),
    )
