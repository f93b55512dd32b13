"""Move the workloads: the old nodes are drained, a batch at a time.

Why: a pod changes its network by being created anew. Evictions honour disruption budgets, so each
workload stays as available as its owner has asked for; between batches every workload has to be
complete again.

Changes: pods are evicted from the old nodes, all but those of DaemonSets and static ones.

Undo: uncordon the old nodes and drain the new ones.
"""

import pytest

from pytest_cnimigrate.changes import DrainNodes
from pytest_cnimigrate.checks import capacity, cilium, workloads
from pytest_cnimigrate.model.resources import DEPLOYMENTS, JOBS, PODS, STATEFUL_SETS


@pytest.fixture
def incomplete_workloads(cluster):
    return lambda: workloads.incomplete([*cluster.kube.list(DEPLOYMENTS), *cluster.kube.list(STATEFUL_SETS)])


@pytest.mark.action
def test_drain_the_old_nodes(
    migrate, cluster, old_nodes, scenario, eventually, incomplete_workloads, remember
):
    """Drain the old nodes, and let every workload recover after each batch"""
    names, batch = old_nodes.names(), scenario.drain.nodes_at_once
    remember("pods to move", len(capacity.pods_to_move(cluster.kube.list(PODS), names)))
    for start in range(0, len(names), batch):
        migrate(
            DrainNodes(
                names[start : start + batch],
                timeout=scenario.timeouts.drain,
                delete_emptydir_data=scenario.drain.delete_emptydir_data,
            )
        )
        eventually(incomplete_workloads, within=scenario.timeouts.rollout)


def test_nothing_is_left_on_the_old_nodes(cluster, old_nodes, scenario, eventually):
    """Only pods of DaemonSets and static pods are left on the old nodes"""
    eventually(
        lambda: workloads.left_on(cluster.kube.list(PODS), old_nodes.names()), within=scenario.timeouts.api
    )


def test_every_workload_is_complete(scenario, eventually, incomplete_workloads):
    """Every workload has all its pods again"""
    eventually(incomplete_workloads, within=scenario.timeouts.rollout)


def test_no_pod_is_left_waiting(cluster, scenario, eventually, recall):
    """Every pod has found a node and a network, those of operators and Jobs too"""
    new = set(workloads.waiting(cluster.kube.list(PODS))) - set(recall("pods that waited before"))
    eventually(
        lambda: workloads.still_waiting(cluster.kube.list(PODS), new), within=scenario.timeouts.rollout
    )


def test_no_job_has_failed(cluster, expect, recall):
    """No Job has failed for having been moved"""
    before = recall("jobs that had failed before")
    expect(workloads.broken_jobs(cluster.kube.list(JOBS), before=before))


def test_every_moved_pod_is_managed(cluster, new_nodes, scenario, eventually):
    """Cilium manages every pod that has moved"""
    eventually(lambda: cilium.unmanaged_pods(cluster.kube, new_nodes.names()), within=scenario.timeouts.nodes)


def test_everybody_still_reaches_everybody(goldpinger, old_nodes, new_nodes):
    """Every probe reaches every probe after the move"""
    goldpinger.expect_full_mesh(on=[*old_nodes.names(), *new_nodes.names()], classes=4)


def test_names_and_services_are_still_reached(goldpinger, new_nodes):
    """Probes on the new nodes resolve names and reach the services that have moved"""
    goldpinger.expect_targets(on=new_nodes.names())
