"""Each rule: when it stays silent, and when it fires."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
from story import AGENTS, CONTEXT, TAINT, Story, agent, node, pod, workload

from pytest_cnimigrate.observe.invariants.batches import TooManyNodesOut
from pytest_cnimigrate.observe.invariants.budgets import WorkloadBelowBudget
from pytest_cnimigrate.observe.invariants.daemonset import OldCniChangedByOthers
from pytest_cnimigrate.observe.invariants.fences import NewNodeUntainted, OldNodeUnfenced
from pytest_cnimigrate.observe.invariants.ownership import NodeWithoutCni, PodWithoutAgent
from pytest_cnimigrate.observe.invariants.placement import NewCniOnFencedNode, OldCniOnNewNode

NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TestTwoCnisDoNotMeet:
    def test_each_on_its_own_nodes_is_fine(self):
        story = Story(OldCniOnNewNode, NewCniOnFencedNode)
        story.is_there(node("o"), node("n", "ng-cilium"))
        story.comes(1, agent("aws-node", "o"), agent("cilium", "n"))
        assert story.violations == []

    def test_a_pod_of_the_old_cni_on_a_new_node_is_told(self):
        story = Story(OldCniOnNewNode)
        story.is_there(node("n", "ng-cilium"))
        waiting = agent("aws-node", "n", ready=False)
        del waiting["spec"]["nodeName"]
        story.comes(1, waiting)
        assert story.violations == []
        story.changes(2, waiting, spec__nodeName="n")
        story.becomes_ready(3, waiting)
        assert story.violations == [("old-cni-on-new-node", "Pod kube-system/aws-node-n")]
        (violation,) = story.judge.violations
        assert violation.time.second == 2
        assert "pod kube-system/aws-node-n of the old CNI is on new node n" in str(violation)
        assert 'spec.nodeName: absent → "n"' in str(violation)

    def test_whichever_of_the_two_is_heard_of_first(self):
        story = Story(OldCniOnNewNode)
        story.comes(1, agent("aws-node", "n"))
        story.comes(2, node("n", "ng-cilium"))
        assert story.violations == [("old-cni-on-new-node", "Node n")]

    def test_an_agent_of_cilium_on_a_fenced_node_is_told(self):
        story = Story(NewCniOnFencedNode)
        story.is_there(node("o"))
        story.comes(1, agent("cilium", "o", ready=False))
        assert story.violations == [("new-cni-on-fenced-node", "Pod kube-system/cilium-o")]

    def test_a_node_that_is_fenced_under_ciliums_agent_is_told(self):
        story = Story(NewCniOnFencedNode)
        story.is_there(node("o", fenced=False), agent("cilium", "o"))
        story.changes(5, node("o"), metadata__labels={"group": "ng-1", "cni": "aws-cni"})
        assert story.violations == [("new-cni-on-fenced-node", "Node o")]

    def test_where_nodes_are_migrated_in_place_they_do_meet(self):
        story = Story(OldCniOnNewNode, context=replace(CONTEXT, strategy="in-place"))
        story.is_there(node("n", "ng-cilium"))
        story.comes(1, agent("aws-node", "n"))
        assert story.violations == []


class TestANodeThatTakesPodsHasACni:
    def test_a_new_node_opens_when_its_agent_is_ready(self):
        story = Story(NodeWithoutCni)
        new = node("n", "ng-cilium", taints=[TAINT, NOT_READY])
        story.comes(0, new)
        story.comes(10, cilium := agent("cilium", "n", ready=False))
        story.becomes_ready(20, cilium)
        story.changes(21, new, spec__taints=[])
        story.time_passes(600)
        assert story.violations == []

    def test_the_order_in_which_two_kinds_are_heard_of_means_nothing(self):
        story = Story(NodeWithoutCni)
        story.is_there(node("o"))
        story.comes(3, agent("aws-node", "o"))
        story.time_passes(600)
        assert story.violations == []

    def test_a_new_node_without_a_taint_and_an_agent_is_told(self):
        story = Story(NodeWithoutCni)
        story.comes(0, node("n", "ng-cilium"))
        story.time_passes(4)
        assert story.violations == []
        story.time_passes(6)
        story.time_passes(60)
        assert story.violations == [("node-without-cni", "Node n")]
        assert story.judge.violations[0].time.second == 5

    def test_a_restart_of_the_agent_is_no_loss(self):
        story = Story(NodeWithoutCni)
        story.is_there(node("o"), old := agent("aws-node", "o"))
        story.goes(10, old)
        story.comes(12, new := agent("aws-node", "o", ready=False, suffix="-2"))
        story.time_passes(300)
        story.becomes_ready(400, new)
        assert story.violations == []

    def test_an_old_node_that_the_old_cni_has_left_is_told_unless_it_is_cordoned(self):
        """Old nodes without the fence label lose aws-node when it is fenced."""
        story = Story(NodeWithoutCni)
        agents = agent("aws-node", "o"), agent("aws-node", "cordoned")
        story.is_there(node("o"), node("cordoned", unschedulable=True), *agents)
        story.goes(10, *agents)
        story.time_passes(39)
        assert story.violations == []
        story.time_passes(41)
        story.time_passes(60)
        assert [violation.sentence[:6] for violation in story.judge.violations] == ["node o"]

    def test_uncordoning_a_node_that_has_no_cni_is_told(self):
        story = Story(NodeWithoutCni)
        story.is_there(node("o", unschedulable=True))
        story.changes(100, node("o"), spec__unschedulable=None)
        story.time_passes(106)
        assert story.violations == [("node-without-cni", "Node o")]

    def test_during_a_gap_in_the_record_nothing_becomes_overdue(self):
        story = Story(NodeWithoutCni)
        story.comes(0, node("n", "ng-cilium"))
        story.is_interrupted(1, "Pod")
        story.time_passes(600)
        assert story.violations == []
        story.connects(601, "Pod")
        story.comes(601.5, agent("cilium", "n"))
        story.time_passes(700)
        assert story.violations == []


class TestPodsStartWhereAnAgentIsReady:
    def starts(self, story, second, name="web"):
        story.comes(second, one := pod(name, "n"))
        story.changes(second, one, status__podIP="10.0.0.7")

    def test_a_pod_that_starts_on_a_node_with_a_ready_agent_is_fine(self):
        story = Story(PodWithoutAgent)
        story.is_there(agent("cilium", "n"))
        self.starts(story, 10)
        story.time_passes(60)
        assert story.violations == []

    def test_a_pod_that_starts_before_the_agent_is_ready_is_told(self):
        story = Story(PodWithoutAgent)
        story.is_there(cilium := agent("cilium", "n", ready=False))
        self.starts(story, 10)
        story.becomes_ready(20, cilium)
        assert story.violations == [("pod-without-agent", "Pod shop/web")]
        assert "address 10.0.0.7" in story.judge.violations[0].sentence

    def test_reports_may_cross(self):
        """Kubelet reports its pods one by one: the agent was ready, its report came later."""
        story = Story(PodWithoutAgent)
        story.is_there(cilium := agent("cilium", "n", ready=False))
        self.starts(story, 10)
        story.becomes_ready(12, cilium)
        story.becomes_ready(20, cilium, ready=False)
        self.starts(story, 22, "late")
        story.time_passes(100)
        assert story.violations == []

    def test_a_pod_that_starts_after_the_agent_has_gone_is_told(self):
        story = Story(PodWithoutAgent)
        story.is_there(old := agent("aws-node", "n"))
        story.goes(10, old)
        self.starts(story, 30)
        story.time_passes(40)
        assert story.violations == [("pod-without-agent", "Pod shop/web")]

    def test_pods_on_the_hosts_network_and_those_of_before_do_not_count(self):
        story = Story(PodWithoutAgent)
        host = pod("proxy", "n", ip="192.168.0.1", ready=True)
        host["spec"]["hostNetwork"] = True
        story.is_there(pod("before", "n", ip="10.0.0.1", ready=True))
        story.comes(5, host)
        story.time_passes(60)
        assert story.violations == []


class TestNoMoreNodesOutThanTheBatchAllows:
    @pytest.fixture
    def story(self):
        story = Story(TooManyNodesOut)
        story.is_there(node("a"), node("b"), node("c"))
        return story

    def drains(self, story, second, name):
        evicted = pod(f"on-{name}", name, of=("ReplicaSet", "web"), ready=True)
        story.comes(second, evicted)
        story.is_deleted(second, evicted, "EvictionByEvictionAPI")
        return evicted

    def cordon(self, story, second, *names, ours=True):
        for name in names:
            if ours:
                story.we_change(second, "cordon-node", node=name)
            story.changes(second, node(name), spec__unschedulable=True)

    def test_the_run_may_cordon_the_whole_group_and_drain_one_by_one(self, story):
        self.cordon(story, 1, "a", "b", "c")
        for second, name in ((10, "a"), (20, "b"), (30, "c")):
            story.goes(second + 5, self.drains(story, second, name))
        assert story.violations == []

    def test_two_nodes_draining_at_once_are_told(self, story):
        self.cordon(story, 1, "a", "b")
        self.drains(story, 10, "a")
        self.drains(story, 11, "b")
        assert story.violations == [("too-many-nodes-out", "Pod shop/on-b")]
        assert "2 nodes are cordoned or draining at once (a, b), the batch is 1" in str(
            story.judge.violations[0]
        )

    def test_a_larger_batch_allows_more(self):
        story = Story(TooManyNodesOut, context=replace(CONTEXT, batch=2))
        story.is_there(node("a"), node("b"))
        self.cordon(story, 1, "a", "b")
        self.drains(story, 10, "a")
        self.drains(story, 11, "b")
        assert story.violations == []

    def test_a_node_that_somebody_else_cordons_meanwhile_counts(self, story):
        self.cordon(story, 1, "a")
        self.drains(story, 10, "a")
        self.cordon(story, 11, "c", ours=False)
        assert story.violations == [("too-many-nodes-out", "Node c")]

    def test_a_rolling_update_on_cordoned_nodes_is_no_drain(self, story):
        self.cordon(story, 1, "a", "b")
        for name in ("a", "b"):
            story.comes(2, one := pod(f"on-{name}", name))
            story.is_deleted(3, one)
        assert story.violations == []

    def test_nodes_of_a_group_that_the_run_takes_away_do_not_count(self, story):
        story.we_change(5, "scale-nodegroup", name="ng-1", desired=0, captured={"desired": 3})
        self.cordon(story, 6, "a", "b", "c", ours=False)
        for name in ("a", "b", "c"):
            self.drains(story, 7, name)
        assert story.violations == []

    def test_in_place_the_runs_own_cordons_count(self):
        story = Story(TooManyNodesOut, context=replace(CONTEXT, strategy="in-place"))
        story.is_there(node("a"), node("b"))
        self.cordon(story, 1, "a", "b")
        assert story.violations == [("too-many-nodes-out", "Node b")]

    def test_what_was_cordoned_before_does_not_count(self):
        story = Story(TooManyNodesOut)
        story.is_there(node("a", unschedulable=True), node("b", unschedulable=True), node("c"))
        self.cordon(story, 1, "c", ours=False)
        assert story.violations == []


class TestWorkloadsKeepTheirBudget:
    def budget(self, healthy, needed=2, expected=3):
        made = workload("PodDisruptionBudget", "web")
        made["status"] |= {"currentHealthy": healthy, "desiredHealthy": needed, "expectedPods": expected}
        return made

    def told(self, *healthy, **more):
        story = Story(WorkloadBelowBudget)
        story.is_there(self.budget(healthy[0]))
        for second, number in enumerate(healthy[1:], start=1):
            story.changes(second, self.budget(0), status=self.budget(number, **more)["status"])
        return story.violations

    def test_a_drain_within_the_budget_is_fine(self):
        assert self.told(3, 2, 3, 2, 3) == []

    def test_a_fall_below_it_is_told_once(self):
        broken = ("workload-below-budget", "PodDisruptionBudget shop/web")
        assert self.told(3, 2, 1, 0, 2) == [broken]
        assert self.told(3, 1, 3, 1) == [broken, broken]

    def test_a_workload_that_is_just_starting_has_not_fallen(self):
        assert self.told(0, 1, 2, 3) == []

    def test_that_more_is_demanded_is_no_fall(self):
        assert self.told(3, 3, needed=5, expected=6) == []


class TestTheOldCniIsOurs:
    CNI = workload("DaemonSet", "aws-node", namespace="kube-system", template={"spec": {}})
    NAMED: ClassVar = {"namespace": "kube-system", "name": "aws-node"}

    @pytest.fixture
    def story(self):
        story = Story(OldCniChangedByOthers)
        story.is_there(self.CNI)
        return story

    def test_our_own_changes_are_fine(self, story):
        story.we_change(10, "fence-daemonset", until=10.1, **self.NAMED)
        story.changes(10.2, self.CNI, spec__template={"spec": {"affinity": {}}})
        story.we_change(20, "delete-daemonset", **self.NAMED)
        story.goes(20.5, self.CNI)
        story.we_change(30, "delete-daemonset", undo=True, **self.NAMED)
        story.comes(30.1, self.CNI)
        assert story.violations == []

    def test_its_status_is_its_own_affair(self, story):
        story.changes(10, self.CNI, status__numberReady=3)
        assert story.violations == []

    @pytest.mark.parametrize("second", [5, 13])
    def test_a_change_by_anybody_else_is_told(self, story, second):
        """Before ours, or later than ours can have had an effect."""
        story.we_change(10, "fence-daemonset", **self.NAMED)
        story.changes(second, self.CNI, spec__template={"spec": {"nodeSelector": {"x": "y"}}})
        assert story.violations == [("old-cni-changed-by-others", "DaemonSet kube-system/aws-node")]
        assert "spec.template.spec.nodeSelector" in story.judge.violations[0].sentence

    def test_a_change_of_something_else_excuses_nothing(self, story):
        story.we_change(10, "restart-rollout", workload="Deployment", **self.NAMED)
        story.we_change(10, "upgrade-release", release="cilium", namespace="kube-system")
        story.changes(10.1, self.CNI, spec__template={})
        assert len(story.violations) == 1

    def test_its_removal_is_told(self, story):
        story.goes(10, self.CNI)
        assert story.violations == [("old-cni-changed-by-others", "DaemonSet kube-system/aws-node")]


class TestReplacementsAreFenced:
    def daemonset(self, *terms):
        required = {"nodeSelectorTerms": [{"matchExpressions": list(term)} for term in terms]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
        template = {"spec": {"affinity": affinity}}
        return workload("DaemonSet", "aws-node", namespace="kube-system", template=template)

    FENCE: ClassVar = {"key": "cni", "operator": "In", "values": ["aws-cni"]}
    LINUX: ClassVar = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}

    def fenced(self, *nodes):
        story = Story(OldNodeUnfenced, NewNodeUntainted)
        story.is_there(*nodes, self.daemonset([self.LINUX, self.FENCE], [self.FENCE]))
        return story

    def test_replacements_with_label_or_taint_are_fine(self):
        story = self.fenced(node("a"))
        story.comes(10, node("b"), node("n", "ng-cilium", taints=[TAINT]))
        assert story.violations == []

    def test_before_the_fence_stands_nobody_needs_the_label(self):
        story = Story(OldNodeUnfenced)
        story.is_there(self.daemonset([self.LINUX]))
        story.comes(10, node("a", fenced=False))
        assert story.violations == []

    def test_a_replacement_without_the_label_is_told(self):
        story = self.fenced(node("a"))
        story.comes(10, node("b", fenced=False))
        assert story.violations == [("old-node-unfenced", "Node b")]

    def test_a_node_that_loses_its_label_is_told_unless_we_took_it(self):
        for ours in (True, False):
            story = self.fenced(node("a"))
            if ours:
                story.we_change(10, "label-node", node="a", undo=True)
            story.changes(10.1, node("a"), metadata__labels={"group": "ng-1"})
            assert bool(story.violations) != ours

    def test_a_fence_that_shuts_an_unlabelled_node_out_is_told(self):
        story = Story(OldNodeUnfenced)
        story.is_there(node("a"), node("b", fenced=False), self.daemonset([self.LINUX]))
        story.changes(5, self.daemonset(), spec=self.daemonset([self.FENCE])["spec"])
        assert story.violations == [("old-node-unfenced", "DaemonSet kube-system/aws-node")]
        assert "old node b has no such label" in story.judge.violations[0].sentence

    def test_a_fence_in_one_of_two_terms_is_no_fence(self):
        """Terms are ORed."""
        story = Story(OldNodeUnfenced)
        story.is_there(node("b", fenced=False), self.daemonset([self.LINUX], [self.FENCE]))
        assert story.violations == []

    def test_a_new_node_that_is_born_without_the_taint_is_told(self):
        story = self.fenced()
        story.comes(10, node("n", "ng-cilium", taints=[NOT_READY]))
        assert story.violations == [("new-node-untainted", "Node n")]

    def test_a_new_node_that_was_there_before_may_have_lost_its_taint(self):
        story = self.fenced(node("n", "ng-cilium"))
        assert story.violations == []


def test_the_agents_of_these_stories_belong_to_their_daemonsets():
    assert agent("cilium", "n")["metadata"]["ownerReferences"][0]["name"] == AGENTS["cilium"][1]
