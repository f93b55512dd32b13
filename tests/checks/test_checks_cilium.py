"""Cilium: agents that own their node, objects with addresses, pods that are managed."""

from __future__ import annotations

import json

import pytest
from builders import config_map, eni_node, node, pod

from pytest_cnimigrate.checks import cilium
from pytest_cnimigrate.kube.errors import Attempt, PodUnreachable
from pytest_cnimigrate.kube.executing import ExecResult

WROTE = "successfully wrote CNI configuration file to /host/etc/cni/net.d/05-cilium.conflist"


class Agents:
    """Stands in for the reader: each agent answers `cilium-dbg status -o json` with what the test says."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def exec(self, name, namespace, command, *, container=""):
        self.asked.append((name, namespace, tuple(command), container))
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


def says(state, message=WROTE):
    return ExecResult(0, json.dumps({"cluster": {}, "cni-file": {"state": state, "msg": message}}), "")


def agent(name, on="new-1", **changes):
    return pod(name, on, namespace="kube-system", owner="DaemonSet", host_network=True, **changes)


@pytest.mark.parametrize("state", ["Ok", "ok"])
def test_an_agent_that_wrote_the_cni_file_owns_its_node(state):
    agents = Agents(a=says(state))
    assert cilium.agent_not_owning_cni(agents, [agent("a")]) == []
    assert agents.asked == [("a", "kube-system", ("cilium-dbg", "status", "-o", "json"), "cilium-agent")]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            says("Disabled", "CNI configuration management disabled"),
            "cni-file is Disabled (CNI configuration",
        ),
        (says("Failure", "open /host: read-only"), "cni-file is Failure (open /host: read-only)"),
        (says("Ok", "wrote /host/etc/cni/net.d/10-aws.conflist"), "does not own the CNI configuration"),
        (ExecResult(0, '{"cluster": {}}', ""), "cni-file is absent"),
        (ExecResult(1, "", "connection refused\n"), "agent a does not answer: connection refused"),
        (ExecResult(0, "level=warning", ""), "is not its status in JSON"),
        (ExecResult(0, "[]", ""), "is not its status in JSON"),
        (
            PodUnreachable(Attempt("exec in", "pod kube-system/a", "https://x"), "no route to host"),
            "agent a cannot be asked: cannot exec in pod kube-system/a",
        ),
    ],
)
def test_an_agent_that_does_not_own_its_node_is_named_with_what_it_says(answer, words):
    (problem,) = cilium.agent_not_owning_cni(
        Agents(a=answer, b=says("Ok")), [agent("a"), agent("b", "new-2")]
    )
    assert problem.startswith("node new-1: ")
    assert words in problem


def test_agents_that_are_gone_or_going_are_not_asked():
    agents = [
        agent("a"),
        agent("old", terminating=True),
        agent("refused", phase="Failed", reason="TaintToleration"),
    ]
    assert cilium.agent_not_owning_cni(Agents(a=says("Ok")), agents) == []


def test_nobody_to_ask_is_no_proof():
    assert "no Cilium agent" in cilium.agent_not_owning_cni(Agents(), [])[0]
    assert "no Cilium agent" in cilium.agent_not_owning_cni(Agents(), [agent("old", terminating=True)])[0]


# --- CiliumNodes -------------------------------------------------------------------------------------------

A, B = node("new-1", instance="i-1"), node("new-2", instance="i-2")


def test_every_node_has_its_ciliumnode():
    objects = [eni_node("new-1"), eni_node("new-2", instance="i-2")]
    assert cilium.node_objects_wrong(objects, [A, B], absent_from=["old-1"]) == []


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([], "node new-1 has no CiliumNode"),
        (
            [eni_node("new-1", error="UnauthorizedOperation: ec2:CreateNetworkInterface")],
            "operator reports: Unauth",
        ),
        ([eni_node("new-1", pool=0, used=0)], "has neither addresses nor pod ranges yet"),
        ([eni_node("new-1", pool=8, used=8)], "all of its 8 addresses are in use"),
        ([eni_node("new-1", instance="")], "instance-id is empty, the node is instance i-1"),
        ([eni_node("new-1", instance="i-9")], "instance-id is i-9, the node is instance i-1"),
        (
            [eni_node("new-1"), eni_node("old-1")],
            "node old-1 has a CiliumNode although the old CNI serves it",
        ),
        ([eni_node("new-1"), eni_node("gone")], "CiliumNode gone is of no node that Cilium serves"),
    ],
)
def test_what_is_wrong_with_a_ciliumnode_is_said(objects, words):
    (problem,) = cilium.node_objects_wrong(objects, [A], absent_from=["old-1"])
    assert words in problem


def test_without_nodes_there_is_nothing_that_cilium_serves():
    assert cilium.node_objects_wrong([], []) == ["there is no node that Cilium serves"]


def test_a_recorded_ciliumnode_with_pod_ranges(recording):
    objects = json.loads(recording("cilium/70-final-A-ciliumnodes.json"))["items"]
    assert cilium.node_objects_wrong(objects, [node("real-worker3")], absent_from=["real-worker"]) == []


def test_a_recorded_ciliumnode_is_no_good_until_the_operator_has_given_it_a_range(recording):
    """Cluster-pool mode: it appears without podCIDRs, which follow 12 ms later."""
    changes = [json.loads(line) for line in recording("cilium/81-watch-ciliumnodes.jsonl").splitlines()]
    states = [change["object"] for change in changes if change["object"]["metadata"]["name"] == "real-worker"]
    found = [cilium.node_objects_wrong([state], [node("real-worker")]) for state in states]
    assert found[0] == ["CiliumNode real-worker has neither addresses nor pod ranges yet"]
    assert found[1:] == [[]] * (len(states) - 1)


# --- managed pods ------------------------------------------------------------------------------------------


def endpoint(name, state="ready"):
    status = {} if state is None else {"status": {"state": state}}
    return {"kind": "CiliumEndpoint", "metadata": {"name": name, "namespace": "shop"}, **status}


def test_managed_pods():
    assert cilium.unmanaged([pod("web", "new-1")], [endpoint("web")], ["new-1"]) == []


@pytest.mark.parametrize(
    "other",
    [
        pod("x", "old-1"),
        pod("x", "new-1", host_network=True),
        pod("x", "new-1", phase="Succeeded", owner="Job"),
        pod("x", "new-1", phase="Failed", reason="TaintToleration"),
        pod("x", "new-1", phase="Pending"),
        pod("x", "new-1", terminating=True),
        pod("x"),
    ],
    ids=[
        "old node",
        "host network",
        "completed Job",
        "refused",
        "not running yet",
        "terminating",
        "unscheduled",
    ],
)
def test_pods_that_nobody_has_to_manage(other):
    assert cilium.unmanaged([other], [], ["new-1"]) == []


@pytest.mark.parametrize(
    ("endpoints", "words"),
    [
        ([], "pod shop/web on node new-1 is not managed by Cilium (no CiliumEndpoint)"),
        ([endpoint("other")], "is not managed by Cilium"),
        ([endpoint("web", "waiting-for-identity")], "its CiliumEndpoint is waiting-for-identity"),
        ([endpoint("web", None)], "its CiliumEndpoint is without a state"),
    ],
)
def test_a_pod_that_cilium_does_not_manage_is_named(endpoints, words):
    (problem,) = cilium.unmanaged([pod("web", "new-1")], endpoints, ["new-1"])
    assert words in problem


def test_the_endpoint_of_the_pod_before_it_is_not_the_pods():
    """A StatefulSet's new pod has the old one's name; the old one's endpoint may still be listed."""
    own, former = endpoint("db-0"), endpoint("db-0")
    own["metadata"]["ownerReferences"] = [{"kind": "Pod", "name": "db-0", "uid": "uid-shop-db-0"}]
    former["metadata"]["ownerReferences"] = [{"kind": "Pod", "name": "db-0", "uid": "uid-of-yesterday"}]
    assert cilium.unmanaged([pod("db-0", "new-1")], [own], ["new-1"]) == []
    (problem,) = cilium.unmanaged([pod("db-0", "new-1")], [former], ["new-1"])
    assert "the CiliumEndpoint of its name is of another pod" in problem


def test_an_endpoint_of_another_namespace_is_not_the_pods():
    foreign = endpoint("web")
    foreign["metadata"]["namespace"] = "other"
    assert cilium.unmanaged([pod("web", "new-1")], [foreign], ["new-1"]) != []


# --- the operator's configuration --------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["0", "0s"])
def test_the_watcher_is_off(interval):
    config = config_map(unmanaged_pod_watcher_interval=interval)
    assert cilium.watcher_on(config) == []
    (problem,) = cilium.watcher_off(config)
    assert "set operator.unmanagedPodWatcher.restart=true" in problem


@pytest.mark.parametrize("config", [config_map(unmanaged_pod_watcher_interval="15"), config_map()])
def test_the_watcher_is_on_also_when_nothing_is_said(config):
    """The operator's own default is 15 s."""
    (problem,) = cilium.watcher_on(config)
    assert "ConfigMap kube-system/cilium-config" in problem
    assert "set operator.unmanagedPodWatcher.restart=false" in problem
    assert cilium.watcher_off(config) == []


def test_the_operator_removes_the_taint_that_the_group_gives():
    ours = "node.cilium.io/agent-not-ready"
    assert cilium.taint_key_differs(config_map(), ours) == []
    assert cilium.taint_key_differs(config_map(agent_not_ready_taint_key=ours), ours) == []


def test_another_taint_key_than_the_groups_is_named():
    theirs = config_map(agent_not_ready_taint_key="ignore-taint.cluster-autoscaler.kubernetes.io/cilium")
    (problem,) = cilium.taint_key_differs(theirs, "node.cilium.io/agent-not-ready")
    assert "the operator would never remove it" in problem


def test_a_recorded_configuration(recording):
    config = json.loads(recording("cilium/70-final-A-cilium-config.json"))
    assert cilium.watcher_on(config) == []
    assert cilium.watcher_off(config) != []
    assert cilium.taint_key_differs(config, "node.cilium.io/agent-not-ready") == []
