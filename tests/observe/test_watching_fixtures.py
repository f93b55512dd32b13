"""What the fixtures make of a scenario for the recorder and the rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from story import CONTEXT, Story, node

from pytest_cnimigrate.fixtures.watching import Rules, cloud_polls, context_of
from pytest_cnimigrate.observe.invariants import Ledger
from pytest_cnimigrate.observe.invariants.fences import NewNodeUntainted
from pytest_cnimigrate.providers.node_groups import NodeGroup
from pytest_cnimigrate.run.scenario import load_scenario

SCENARIO = Path(__file__).parents[2] / "scenarios" / "node_pool" / "scenario.yaml"


@dataclass
class Cloud:
    """Node groups as a provider tells of them."""

    groups: dict[str, NodeGroup] = field(default_factory=dict)
    addon: str | None = "ACTIVE"

    def selector(self, name):
        return f"eks.amazonaws.com/nodegroup={name}"

    def find(self, name):
        return self.groups.get(name)

    def addon_status(self, addon):
        return self.addon


@pytest.fixture
def scenario():
    return load_scenario(SCENARIO)


def test_the_rules_know_the_scenarios_nodes_and_cnis(scenario):
    context = context_of(scenario, Cloud(), speed=20)
    assert context.old_nodes == "eks.amazonaws.com/nodegroup=ng-1"
    assert context.new_nodes == "eks.amazonaws.com/nodegroup=ng-cilium"
    assert (context.fence_key, context.fence_value) == ("cni", "aws-cni")
    assert context.old_cni == "kube-system/aws-node"
    assert (context.old_group, context.new_group, context.batch) == ("ng-1", "ng-cilium", 1)
    assert context.speed == 20


def test_the_cloud_is_asked_for_both_groups_and_the_add_on(scenario):
    cloud = Cloud({"ng-1": NodeGroup("ng-1", "ACTIVE", 1, 3, 3)})
    groups, add_ons = cloud_polls(scenario, cloud, interval=1)
    (group,) = groups.read()
    assert (group["kind"], group["metadata"]["name"]) == ("NodeGroup", "ng-1")
    assert group["description"]["desired"] == 3
    assert [one["description"] for one in add_ons.read()] == [{"status": "ACTIVE"}]
    cloud.addon = None
    assert list(add_ons.read()) == []


def test_a_broken_rule_ends_waits_at_once_and_fails_one_test():
    told = []
    rules = Rules([NewNodeUntainted(CONTEXT, Ledger())], told.append)
    rules.expect_held()
    assert rules.broken() is None
    story = Story()
    story.judge = rules.judge
    story.comes(1, node("n", "ng-cilium"))
    assert "has joined without the taint" in rules.broken()
    with pytest.raises(AssertionError, match="has joined without the taint"):
        rules.expect_held()
    assert rules.broken() is None
    rules.expect_held()
    assert [violation.object for violation in told] == ["Node n"]
