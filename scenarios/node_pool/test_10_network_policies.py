"""Network policies: the ones that were held come back.

Why: now that every workload is Cilium's, each has an identity, and a policy means what it says
again.

Changes: the held NetworkPolicies are created anew from the journal.

Undo: hold them back again.
"""

import pytest

from pytest_cnimigrate.changes import HoldNetworkPolicy
from pytest_cnimigrate.checks import network_policies, workloads
from pytest_cnimigrate.model.resources import DEPLOYMENTS, NETWORK_POLICIES, STATEFUL_SETS


@pytest.mark.action
def test_put_the_network_policies_back(migrate, scenario):
    """Put the held NetworkPolicies back"""
    migrate.undo(*(HoldNetworkPolicy(name.namespace, name.name) for name in scenario.network_policies.hold))


def test_the_network_policies_are_back(cluster, scenario, expect):
    """Every held NetworkPolicy is there again"""
    expect(network_policies.missing(cluster.kube.list(NETWORK_POLICIES), scenario.network_policies.hold))


def test_what_they_allow_still_works(goldpinger, new_nodes):
    """Probes on the new nodes still reach every target, those behind a policy too"""
    goldpinger.expect_targets(on=new_nodes.names())


def test_every_workload_is_still_complete(cluster, scenario, eventually):
    """Every workload still has all its pods"""
    eventually(
        lambda: workloads.incomplete([*cluster.kube.list(DEPLOYMENTS), *cluster.kube.list(STATEFUL_SETS)]),
        within=scenario.timeouts.rollout,
    )
