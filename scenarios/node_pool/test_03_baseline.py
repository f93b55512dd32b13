"""Baseline: the probe is up, and everybody reaches everybody.

Why: what does not work before the migration cannot be blamed on it, and what is measured later is
measured against this. goldpinger runs on every node (DaemonSet) and as a workload that can be moved
(Deployment); each of its pods pings each other one every few seconds.

Changes: goldpinger's objects are applied.

Undo: delete goldpinger's objects.
"""

import pytest

from pytest_cnimigrate.changes import ApplyObject
from pytest_cnimigrate.checks import daemonsets, workloads
from pytest_cnimigrate.model.resources import DAEMON_SETS, DEPLOYMENTS, JOBS, PODS, STATEFUL_SETS


@pytest.mark.action
def test_deploy_the_probe(migrate, goldpinger_manifests):
    """Apply goldpinger: service account, role, service, DaemonSet and Deployment"""
    migrate(*(ApplyObject(manifest) for manifest in goldpinger_manifests))


def test_a_probe_runs_on_every_node(goldpinger, old_nodes, scenario, eventually):
    """goldpinger's DaemonSet has a ready pod on every node"""
    eventually(
        lambda: daemonsets.rollout_problems(goldpinger.daemonset(), desired=len(old_nodes.names())),
        within=scenario.timeouts.rollout,
    )


def test_the_movable_probes_run(goldpinger, scenario, eventually):
    """goldpinger's Deployment has all its pods"""
    eventually(
        lambda: daemonsets.deployment_rollout_problems(goldpinger.deployment()),
        within=scenario.timeouts.rollout,
    )


def test_everybody_reaches_everybody(goldpinger, old_nodes, reachability):
    """Every probe reaches every probe: all pods there, every ordered pair fresh and OK"""
    goldpinger.expect_full_mesh(on=old_nodes.names())
    reachability.start()


def test_names_services_and_the_outside_are_reached(goldpinger):
    """Every probe resolves names and reaches its TCP and HTTP targets"""
    goldpinger.expect_targets()


def test_every_workload_is_complete(cluster, scenario, eventually, evidence, remember):
    """Every workload has all its pods before anything is touched"""

    def incomplete():
        movable = [*cluster.kube.list(DEPLOYMENTS), *cluster.kube.list(STATEFUL_SETS)]
        return workloads.incomplete(movable) + daemonsets.short_of_pods(cluster.kube.list(DAEMON_SETS))

    eventually(incomplete, within=scenario.timeouts.rollout)
    present = [*cluster.kube.list(DEPLOYMENTS), *cluster.kube.list(STATEFUL_SETS)]
    evidence("workloads before", workloads.replica_counts(present))
    remember("jobs that had failed before", sorted(workloads.failed_jobs(cluster.kube.list(JOBS))))
    remember("pods that waited before", workloads.waiting(cluster.kube.list(PODS)))
