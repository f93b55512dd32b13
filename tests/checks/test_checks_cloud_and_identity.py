"""Node groups, identity, rights and policies: what is asked of the cloud and of the API server."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from pytest_cnimigrate.checks import identity, network_policies, node_groups, rights
from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.providers.node_groups import NodeGroup

TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}
GROUP = NodeGroup(
    "ng-1", "ACTIVE", minimum=0, maximum=3, desired=3, labels={"cni": "aws-cni"}, taints=(TAINT,)
)


class Cloud:
    """Node groups that are as the test says."""

    def __init__(self, group: NodeGroup | None = GROUP, **changes):
        self.group = group and dataclasses.replace(group, **changes)

    def find(self, name):
        return self.group

    def server(self):
        return "https://ABC.gr7.us-west-1.eks.amazonaws.com"

    def account(self):
        return "123456789012"


# --- node groups -------------------------------------------------------------------------------------------


def test_a_group_in_order():
    cloud = Cloud()
    assert [
        *node_groups.inactive(cloud, "ng-1"),
        *node_groups.failed(cloud, "ng-1"),
        *node_groups.wrong_size(cloud, "ng-1", 3),
        *node_groups.without_labels(cloud, "ng-1", {"cni": "aws-cni"}),
        *node_groups.without_taint(cloud, "ng-1", TAINT),
    ] == []
    assert node_groups.still_there(Cloud(None), "ng-1") == []


@pytest.mark.parametrize(
    "check",
    [
        node_groups.inactive,
        node_groups.failed,
        lambda cloud, name: node_groups.wrong_size(cloud, name, 3),
        lambda cloud, name: node_groups.without_labels(cloud, name, {"cni": "aws-cni"}),
        lambda cloud, name: node_groups.without_taint(cloud, name, TAINT),
    ],
)
def test_a_group_that_is_not_there_is_named(check):
    assert check(Cloud(None), "ng-9") == ["there is no node group ng-9"]


ISSUES = ("NodeCreationFailure: Instances failed to join", "InsufficientFreeAddresses: subnet-1")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "UPDATING"}, ["node group ng-1 is UPDATING"]),
        (
            {"status": "CREATE_FAILED", "issues": ISSUES[:1]},
            [f"node group ng-1 is CREATE_FAILED: {ISSUES[0]}"],
        ),
        ({"issues": ISSUES}, [f"node group ng-1 reports {issue}" for issue in ISSUES]),
    ],
)
def test_a_group_that_is_not_active_or_not_well_says_why(changes, words):
    assert node_groups.inactive(Cloud(**changes), "ng-1") == words


@pytest.mark.parametrize("status", ["CREATE_FAILED", "DELETE_FAILED", "DEGRADED"])
def test_waiting_for_a_group_that_has_failed_is_of_no_use(status):
    assert node_groups.failed(Cloud(status=status), "ng-1") == [
        f"node group ng-1 is {status}: no reason given"
    ]


@pytest.mark.parametrize("status", ["ACTIVE", "CREATING", "UPDATING"])
def test_waiting_for_a_group_that_is_busy_is_of_use_until_it_reports_an_issue(status):
    assert node_groups.failed(Cloud(status=status), "ng-1") == []
    assert ISSUES[1] in node_groups.failed(Cloud(status=status, issues=ISSUES), "ng-1")[0]


def test_a_group_of_another_size_than_wanted():
    assert node_groups.wrong_size(Cloud(desired=1), "ng-1", 3) == [
        "node group ng-1 wants 1 nodes instead of 3"
    ]
    assert node_groups.wrong_size(Cloud(), "ng-1", 5) == [
        "node group ng-1 wants 3 nodes instead of 5",
        "node group ng-1 may have 3 nodes at the most, not 5",
    ]


def test_a_label_that_replacement_nodes_would_lack():
    assert node_groups.without_labels(Cloud(labels={}), "ng-1", {"cni": "aws-cni"}) == [
        "node group ng-1 does not give cni=aws-cni to new nodes (it gives no such label)"
    ]
    assert (
        "(it gives other)"
        in node_groups.without_labels(Cloud(labels={"cni": "other"}), "ng-1", {"cni": "aws-cni"})[0]
    )


@pytest.mark.parametrize(
    ("taints", "given"),
    [((), "none"), (({**TAINT, "effect": "NoSchedule"},), "node.cilium.io/agent-not-ready=true:NoSchedule")],
)
def test_a_taint_that_new_nodes_would_lack(taints, given):
    assert node_groups.without_taint(Cloud(taints=taints), "ng-1", TAINT) == [
        "node group ng-1 does not taint new nodes with node.cilium.io/agent-not-ready=true:NoExecute; "
        f"it gives: {given}"
    ]


def test_a_group_that_has_not_gone_yet_says_what_holds_it():
    stuck = Cloud(status="DELETE_FAILED", issues=("NodeTerminationFailure: eni in use",))
    assert node_groups.still_there(stuck, "ng-1") == [
        "node group ng-1 is still there, DELETE_FAILED: NodeTerminationFailure: eni in use"
    ]


# --- identity ----------------------------------------------------------------------------------------------


def cluster(**changes):
    kube = SimpleNamespace(
        who_am_i=lambda: SimpleNamespace(name="ops", groups=("system:masters",)),
        server_version=lambda: SimpleNamespace(git_version="v1.33.4-eks-99bf7"),
    )
    facts = {
        "name": "dc-migrate",
        "provider": "eks",
        "server": "https://abc.gr7.us-west-1.eks.amazonaws.com/",
        "kube": kube,
        "node_groups": Cloud(),
    }
    return SimpleNamespace(**facts | changes)


@pytest.mark.parametrize("account", [None, "123456789012"])
def test_this_is_the_cluster_that_was_named(account):
    assert identity.differs(cluster(), name="dc-migrate", account=account) == []


@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        ({"name": "prod"}, {}, "the cluster is prod, the scenario names dc-migrate"),
        (
            {"server": "https://127.0.0.1:6443"},
            {},
            "we speak to https://127.0.0.1:6443, but cluster dc-migrate is served at "
            "https://ABC.gr7.us-west-1.eks.amazonaws.com",
        ),
        (
            {},
            {"account": "999999999999"},
            "the credentials are of AWS account 123456789012, the scenario names 999999999999",
        ),
    ],
)
def test_another_cluster_or_account_is_named(there, wanted, words):
    asked = {"name": "dc-migrate", "account": None} | wanted
    assert identity.differs(cluster(**there), **asked) == [words]


def test_the_facts_say_who_and_where():
    assert identity.facts(cluster()) == {
        "cluster": "dc-migrate",
        "provider": "eks",
        "server": "https://abc.gr7.us-west-1.eks.amazonaws.com/",
        "version": "v1.33.4-eks-99bf7",
        "account": "123456789012",
        "cloud server": "https://ABC.gr7.us-west-1.eks.amazonaws.com",
        "user": "ops",
        "groups": ["system:masters"],
    }


# --- rights ------------------------------------------------------------------------------------------------


class Reviews:
    def __init__(self, *denied):
        self.denied = denied
        self.asked = []

    def can_i(self, verb, resource, *, subresource=""):
        self.asked.append((verb, resource.plural, subresource))
        return (verb, resource.plural, subresource) not in self.denied


def test_all_rights_are_there_and_each_is_asked_for_once():
    reviews = Reviews()
    assert rights.missing(reviews, rights.NODE_POOL) == []
    assert len(reviews.asked) == len(set(reviews.asked))
    # What is easily forgotten: sub-resources are rights of their own.
    assert {("create", "pods", "eviction"), ("get", "pods", "proxy"), ("get", "pods", "exec")} <= set(
        reviews.asked
    )


def test_a_missing_right_is_named_as_rbac_names_it():
    wanted = (rights.Right("patch", NODES), rights.Right("create", PODS, "eviction"))
    found = rights.missing(Reviews(("create", "pods", "eviction")), wanted)
    assert found == ["no right to create pods/eviction; ask for it, or use a user who has it"]
    assert str(rights.NODE_POOL[3]) == "get daemonsets.apps"


# --- network policies --------------------------------------------------------------------------------------


def policy(name, namespace="shop"):
    return {"kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace}}


def test_policies_that_are_all_on_the_list_held_and_back():
    there = [policy("ledger-ingress")]
    assert network_policies.not_held(there, ["shop/ledger-ingress", "shop/other"]) == []
    assert network_policies.still_present([]) == []
    assert network_policies.missing(there, ["shop/ledger-ingress"]) == []


def test_a_policy_that_is_not_on_the_list_is_named_with_where_to_put_it():
    (problem,) = network_policies.not_held([policy("a"), policy("a", "other")], ["shop/a"])
    assert problem.startswith("NetworkPolicy other/a would be enforced by Cilium")
    assert "list it under network_policies.hold in scenario.yaml" in problem


def test_a_policy_that_has_not_been_held_or_is_not_back_is_named():
    assert network_policies.still_present([policy("a")]) == ["NetworkPolicy shop/a has not been held back"]
    assert network_policies.missing([policy("b")], ["shop/a", "shop/b"]) == [
        "NetworkPolicy shop/a is not back"
    ]


def test_a_policy_on_the_list_that_does_not_exist_is_named_before_anything_is_touched():
    assert network_policies.not_there([policy("a")], ["shop/a"]) == []
    (problem,) = network_policies.not_there([policy("a")], ["shop/a", "shop/typo"])
    assert "shop/typo" in problem
    assert "network_policies.hold" in problem
