"""Install Cilium: on the new nodes, and nowhere else.

Why: in ENI mode Cilium gives pods addresses of the VPC, as the old CNI does, so that both sides
reach each other without any overlay. The unmanaged-pod watcher is off: it would restart pods that
are still the old CNI's. NetworkPolicies are held back first: Cilium would enforce them at once, and
pods of the other CNI have no identity for it, so that what a policy allows by pod selector would be
dropped between the sides.

Changes: the NetworkPolicies named in the scenario are taken away (their manifests stay in the
journal); the Helm release is installed.

Undo: uninstall the release, put the NetworkPolicies back.
"""

import pytest

from pytest_cnimigrate.changes import HoldNetworkPolicy, UpgradeRelease
from pytest_cnimigrate.checks import affinity, cilium, daemonsets, network_policies
from pytest_cnimigrate.model.resources import CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, NETWORK_POLICIES, PODS


@pytest.mark.action
def test_hold_network_policies_back(migrate, scenario):
    """Take the NetworkPolicies away until everything has moved"""
    migrate(*(HoldNetworkPolicy(name.namespace, name.name) for name in scenario.network_policies.hold))


def test_no_network_policy_is_left(cluster, expect):
    """There is no NetworkPolicy that Cilium could enforce half way"""
    expect(network_policies.still_present(cluster.kube.list(NETWORK_POLICIES)))


@pytest.mark.action
def test_install_the_release(migrate, cluster, cilium_helm_values, scenario, remember):
    """Install Cilium's Helm release"""
    name, release = scenario.old_cni.daemonset, scenario.cilium
    old_cni = cluster.kube.get(DAEMON_SETS, name.name, name.namespace)
    remember("generation of the old CNI before Cilium", old_cni["metadata"]["generation"])
    migrate(
        UpgradeRelease(
            release.release,
            release.namespace,
            chart=release.chart,
            version=release.version,
            values=cilium_helm_values,
        )
    )


def test_agents_run_on_exactly_the_new_nodes(cluster, new_nodes, scenario, eventually):
    """A ready Cilium agent runs on every new node, and on no other"""

    def misplaced():
        agents = cluster.kube.list(PODS, scenario.cilium.namespace, label_selector=cilium.AGENT_SELECTOR)
        return daemonsets.placement_problems(agents, new_nodes.names(), "Cilium")

    eventually(misplaced, within=scenario.timeouts.rollout)


def test_the_agents_are_rolled_out(cluster, new_nodes, scenario, eventually):
    """Cilium's DaemonSet wants as many pods as there are new nodes, and has them"""
    namespace = scenario.cilium.namespace
    eventually(
        lambda: daemonsets.rollout_problems(
            cluster.kube.get(DAEMON_SETS, "cilium", namespace), desired=len(new_nodes.names())
        ),
        within=scenario.timeouts.rollout,
    )


def test_the_operator_is_available(cluster, scenario, eventually):
    """Cilium's operator is available"""
    namespace = scenario.cilium.namespace
    eventually(
        lambda: daemonsets.deployment_rollout_problems(
            cluster.kube.get(DEPLOYMENTS, "cilium-operator", namespace)
        ),
        within=scenario.timeouts.rollout,
    )


def test_the_watcher_is_off_in_the_running_configuration(cluster, scenario, expect, evidence):
    """The watcher for unmanaged pods is off in the configuration that the operator runs with"""
    config = cluster.kube.get(CONFIG_MAPS, "cilium-config", scenario.cilium.namespace)
    evidence("cilium-config", config.get("data"))
    expect(cilium.watcher_on(config))


def test_the_operator_will_remove_our_taint(cluster, scenario, expect):
    """The operator is configured to remove the taint that the new group gives"""
    config = cluster.kube.get(CONFIG_MAPS, "cilium-config", scenario.cilium.namespace)
    expect(cilium.taint_key_differs(config, scenario.taint.key))


def test_the_old_cni_was_left_alone(cluster, scenario, recall, expect):
    """The install has not touched the old CNI's DaemonSet"""
    name, fence = scenario.old_cni.daemonset, scenario.old_cni.fence
    daemonset = cluster.kube.get(DAEMON_SETS, name.name, name.namespace)
    expect(
        daemonsets.changed_since(daemonset, recall("generation of the old CNI before Cilium")),
        affinity.missing_requirement(daemonset, fence.key, fence.value),
    )


def test_the_old_cni_still_serves_the_old_nodes(cluster, old_nodes, scenario, eventually):
    """The old CNI has all its pods on the old nodes"""
    name = scenario.old_cni.daemonset
    eventually(
        lambda: daemonsets.rollout_problems(
            cluster.kube.get(DAEMON_SETS, name.name, name.namespace), desired=len(old_nodes.names())
        ),
        within=scenario.timeouts.api,
    )
