"""Helm values: what the chart of a version would not take, and what this migration cannot bear."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from builders import expression, terms

from pytest_cnimigrate.checks import cilium_values as values_of

SCENARIO = Path(__file__).parents[2] / "scenarios" / "node_pool" / "cilium-values.yaml"
TAINT_KEY = "node.cilium.io/agent-not-ready"


def test_the_scenarios_own_values_pass_every_check():
    values = yaml.safe_load(SCENARIO.read_text("utf-8"))
    assert [
        *values_of.outdated(values, "1.18.4"),
        *values_of.wrong_for_eni(values),
        *values_of.leaves_masquerading_open(values, "1.18.4"),
        *values_of.taint_key_differs(values, TAINT_KEY),
        *values_of.goes_to_old_nodes(values, "cni", "aws-cni"),
        *values_of.lets_watcher_run(values),
    ] == []


# --- keys by version ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "last_good", "first_bad", "advice"),
    [
        ({"tunnel": "disabled"}, "1.14.9", "1.15.0", "write routingMode: native (for `disabled`)"),
        ({"tunnel": "vxlan"}, "1.14.9", "1.15.0", "routingMode: tunnel with tunnelProtocol"),
        ({"kubeProxyReplacement": "strict"}, "1.15.3", "1.16.0", "takes true or false only"),
        ({"enableCnpStatusUpdates": True}, "1.14.0", "1.15.0", "leave it out"),
        ({"cluster": {"name": "Prod"}}, "1.16.5", "1.17.0", "at most 32 characters"),
        ({"cluster": {"name": "a" * 33}}, "1.16.5", "1.17.0", "at most 32 characters"),
        ({"eni": {"updateEC2AdapterLimitViaAPI": True}}, "1.17.9", "1.18.0", "ec2:DescribeInstanceTypes"),
        ({"enableCiliumEndpointSlice": True}, "1.17.9", "1.18.0", "ciliumEndpointSlice.enabled"),
        (
            {"ipam": {"operator": {"clusterPoolIPv4PodCIDR": "10.0.0.0/8"}}},
            "1.13.4",
            "1.14.0",
            "clusterPoolIPv4PodCIDRList",
        ),
    ],
)
def test_a_key_is_outdated_from_its_version_on_and_its_successor_is_named(
    values, last_good, first_bad, advice
):
    assert values_of.outdated(values, last_good) == []
    (problem,) = values_of.outdated(values, first_bad)
    assert advice in problem
    assert problem.endswith(f"this is {first_bad})")


@pytest.mark.parametrize("value", [True, False, "true", "false"])
def test_kube_proxy_replacement_is_true_or_false(value):
    assert values_of.outdated({"kubeProxyReplacement": value}, "1.18.0") == []


@pytest.mark.parametrize("name", ["a", "dc-migrate-us-west-1-eksctl-io", "a" * 32, "0-9"])
def test_cluster_names_that_are_good(name):
    assert values_of.outdated({"cluster": {"name": name}}, "1.18.0") == []


def test_the_seeds_values_of_2023_are_told_what_has_changed():
    seed = {"tunnel": "disabled", "ipam": {"mode": "eni"}, "eni": {"enabled": True}}
    assert [problem.partition(":")[0] for problem in values_of.outdated(seed, "1.18.4")] == ["tunnel"]
    assert values_of.leaves_masquerading_open(seed, "1.18.4") != []


# --- the watcher -------------------------------------------------------------------------------------------


def test_the_watcher_must_be_turned_off_in_so_many_words():
    off = {"operator": {"unmanagedPodWatcher": {"restart": False}}}
    assert values_of.lets_watcher_run(off) == []


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"operator": {"replicas": 1}},
        {"operator": None},
        {"operator": {"unmanagedPodWatcher": {"restart": True}}},
        # A text is true to Helm, whatever it says.
        {"operator": {"unmanagedPodWatcher": {"restart": "false"}}},
    ],
)
def test_a_watcher_that_would_run_is_named(values):
    assert values_of.lets_watcher_run(values)[0].startswith(
        "operator.unmanagedPodWatcher.restart: must be false"
    )


def test_switching_the_watcher_on_keeps_all_other_values_and_the_original():
    values = {
        "cluster": {"name": "a"},
        "operator": {"replicas": 1, "unmanagedPodWatcher": {"restart": False}},
    }
    after = values_of.with_watcher(values)
    assert after == {
        "cluster": {"name": "a"},
        "operator": {"replicas": 1, "unmanagedPodWatcher": {"restart": True}},
    }
    assert values_of.lets_watcher_run(values) == []


# --- keeping away from old nodes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"affinity": terms([expression("cni", "NotIn", "aws-cni")])},
        {"affinity": terms([expression("cni", "NotIn", "other", "aws-cni"), expression("os", "Exists")])},
        {"affinity": terms([expression("cni", "DoesNotExist")])},
        {"affinity": terms([expression("cni", "In", "cilium")])},
        {"affinity": terms([expression("cni", "NotIn", "aws-cni")], [])},
        {"nodeSelector": {"cni": "cilium"}},
    ],
)
def test_values_that_keep_the_agents_away_from_old_nodes(values):
    assert values_of.goes_to_old_nodes(values, "cni", "aws-cni") == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "nodeSelectorTerms: is missing"),
        ({"nodeSelector": {"cni": "aws-cni"}}, "nodeSelectorTerms: is missing"),
        ({"affinity": {"podAntiAffinity": {}}}, "nodeSelectorTerms: is missing"),
        (
            {"affinity": terms([expression("cni", "NotIn", "aws-cni")], [expression("os", "In", "linux")])},
            "nodeSelectorTerms.1: does not keep away from cni=aws-cni (terms are ORed); add cni NotIn",
        ),
        (
            {"affinity": terms([expression("cni", "NotIn", "other")])},
            "nodeSelectorTerms.0: does not keep away",
        ),
        (
            {"affinity": terms([expression("cni", "In", "aws-cni")])},
            "nodeSelectorTerms.0: does not keep away",
        ),
        ({"affinity": terms([expression("cni", "Exists")])}, "nodeSelectorTerms.0: does not keep away"),
        (
            {"affinity": terms(fields=[expression("metadata.name", "In", "old-1")])},
            "nodeSelectorTerms.0: does not keep away",
        ),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": {"cni": 1}}
                    }
                }
            },
            "nodeSelectorTerms: should be a list of terms",
        ),
    ],
)
def test_values_that_would_send_agents_to_old_nodes(values, words):
    (problem,) = values_of.goes_to_old_nodes(values, "cni", "aws-cni")
    assert words in problem


# --- the taint ---------------------------------------------------------------------------------------------


def test_the_taint_key_of_group_and_chart_must_be_one():
    other = "ignore-taint.cluster-autoscaler.kubernetes.io/cilium-agent-not-ready"
    assert values_of.taint_key_differs({}, TAINT_KEY) == []
    assert values_of.taint_key_differs({"agentNotReadyTaintKey": other}, other) == []
    (problem,) = values_of.taint_key_differs({"agentNotReadyTaintKey": other}, TAINT_KEY)
    assert problem.endswith("its taint would stay")
    assert values_of.taint_key_differs({}, other) != []


def test_an_operator_that_removes_no_taint_is_refused():
    (problem,) = values_of.taint_key_differs({"operator": {"removeNodeTaints": False}}, TAINT_KEY)
    assert problem.startswith("operator.removeNodeTaints: is false")


# --- ENI mode ----------------------------------------------------------------------------------------------

ENI = {"ipam": {"mode": "eni"}, "eni": {"enabled": True}, "routingMode": "native"}


@pytest.mark.parametrize(
    "values",
    [
        ENI,
        {"eni": {"enabled": True}},  # the chart derives the rest
        {"ipam": {"mode": "eni"}, "eni": {"enabled": True}, "tunnel": "disabled"},
        {"ipam": {"mode": "cluster-pool"}, "routingMode": "tunnel", "ipv6": {"enabled": True}},
        {},
    ],
)
def test_values_that_go_together(values):
    assert values_of.wrong_for_eni(values) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"eni": {}}, "eni.enabled"),
        ({"eni": {"enabled": "true"}}, "eni.enabled"),
        ({"ipam": {"mode": "cluster-pool"}}, "ipam.mode"),
        ({"routingMode": "tunnel"}, "routingMode"),
        ({"tunnel": "vxlan"}, "routingMode"),
        ({"ipv6": {"enabled": True}}, "ipv6.enabled"),
        ({"cni": {"chainingMode": "aws-cni"}}, "cni.chainingMode"),
    ],
)
def test_values_that_do_not_go_together_in_eni_mode(changes, field):
    assert [problem.partition(": ")[0] for problem in values_of.wrong_for_eni(ENI | changes)] == [field]


@pytest.mark.parametrize(
    ("values", "version"),
    [
        (ENI | {"enableIPv4Masquerade": True}, "1.18.0"),
        (ENI | {"enableIPv4Masquerade": False}, "1.18.0"),
        (ENI | {"upgradeCompatibility": "1.17"}, "1.18.0"),
        (ENI, "1.17.9"),
        ({"ipam": {"mode": "cluster-pool"}}, "1.18.0"),
    ],
)
def test_masquerading_is_said_or_has_no_new_default(values, version):
    assert values_of.leaves_masquerading_open(values, version) == []


@pytest.mark.parametrize("more", [{}, {"enableIPv4Masquerade": None}, {"upgradeCompatibility": "1.18"}])
def test_masquerading_that_is_left_open_is_named(more):
    (problem,) = values_of.leaves_masquerading_open(ENI | more, "1.18.0")
    assert problem.startswith("enableIPv4Masquerade: say true or false")


# --- the address family ------------------------------------------------------------------------------------

IPV4, IPV6 = {"spec": {"ipFamilies": ["IPv4"]}}, {"spec": {"ipFamilies": ["IPv6"]}}


def test_values_that_fit_the_address_family_of_the_cluster():
    eni = {"ipam": {"mode": "eni"}, "eni": {"enabled": True}}
    assert values_of.wrong_address_family(eni, IPV4) == []
    assert values_of.wrong_address_family(eni, {"spec": {}}) == []
    assert values_of.wrong_address_family({"ipam": {"mode": "cluster-pool"}}, IPV6) == []


def test_eni_mode_in_an_ipv6_cluster_is_refused():
    (problem,) = values_of.wrong_address_family({"ipam": {"mode": "eni"}}, IPV6)
    assert problem == "ipam.mode: ENI mode is IPv4 only, and this cluster is IPv6; take another IPAM mode"
