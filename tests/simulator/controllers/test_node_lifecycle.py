"""Nodes that fall ill, fall silent or vanish, and what becomes of their pods."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from straw_cluster import Cluster, bare_pod, node_of, workload

from pytest_cnimigrate.model.objects import Object, condition, is_pod_ready, name_of
from pytest_cnimigrate.model.resources import DEPLOYMENTS, NODES, PODS, REPLICA_SETS
from pytest_cnimigrate.simulator.controllers.node_taints import ZoneState, with_taints, zone_states
from pytest_cnimigrate.simulator.controllers.taint_eviction import tolerated_seconds

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
AGENT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}


def node(name: str, ready: str, zone: str = "a") -> Object:
    labels = {"topology.kubernetes.io/zone": zone}
    conditions = [{"type": "Ready", "status": ready}]
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"conditions": conditions}}


async def test_a_node_without_a_cni_is_tainted_and_freed_in_the_recorded_order(cluster: Cluster) -> None:
    await cluster.add_node("old")
    await cluster.add_node("new", ready=False, taints=[{**AGENT, "effect": "NoSchedule"}])
    agent = "node.cilium.io/agent-not-ready:NoSchedule"
    await cluster.until(
        lambda: cluster.taint_keys("new") == [agent, f"{NOT_READY}:NoSchedule", f"{NOT_READY}:NoExecute"],
        "both taints",
    )
    seen: list[list[str]] = []

    def look(old: Object | None, new: Object | None) -> None:
        if new is not None and name_of(new) == "new":
            taints = new["spec"].get("taints") or []
            seen.append([f"{t['key']}:{t['effect']}" for t in taints if t["key"] == NOT_READY])

    cluster.informers.of(NODES).add_handler(look)
    clock = asyncio.get_running_loop().time
    ready_at = clock()
    await cluster.set_node_ready("new", True)
    await cluster.until(lambda: cluster.taint_keys("new") == [agent], "the controller's taints gone")
    assert clock() - ready_at >= cluster.pace.wall(0.5)
    steps = [step for index, step in enumerate(seen) if index == 0 or step != seen[index - 1]]
    assert steps[-2:] == [[f"{NOT_READY}:NoExecute"], []]


async def test_cordon_and_uncordon_set_the_taint_at_once(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.patch(NODES, "node-0", {"spec": {"unschedulable": True}})
    cordoned = "node.kubernetes.io/unschedulable:NoSchedule"
    await cluster.until(lambda: cluster.taint_keys("node-0") == [cordoned], "the taint")
    assert "timeAdded" in cluster.get(NODES, "node-0")["spec"]["taints"][0]
    await cluster.patch(NODES, "node-0", {"spec": {"unschedulable": None}})
    await cluster.until(lambda: not cluster.taint_keys("node-0"), "no taint")


async def test_a_cluster_without_any_cni_keeps_its_pods(cluster: Cluster) -> None:
    """As recorded: while no node is Ready nobody gets a NoExecute taint."""
    for name in ("a", "b"):
        await cluster.add_node(name, ready=False)
    await cluster.until(lambda: len(cluster.events("RegisteredNode")) == 2, "both registered")
    await cluster.pace.sleep(10)
    await cluster.settled()
    assert cluster.taint_keys("a") == [f"{NOT_READY}:NoSchedule"]
    assert sorted(cluster.events("RegisteredNode")) == [
        f"Node {name} event: Registered Node {name} in Controller" for name in ("a", "b")
    ]


async def test_a_silent_node_turns_unknown_and_its_pods_are_taken_out_of_service(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await cluster.create(PODS, bare_pod("web", nodeSelector={"kubernetes.io/hostname": "node-1"}))
    await cluster.until(lambda: is_pod_ready(cluster.get(PODS, "web")), "the pod")
    cluster.kubelet.silent.add("node-1")
    taints = [f"{UNREACHABLE}:NoSchedule", f"{UNREACHABLE}:NoExecute"]
    await cluster.until(lambda: cluster.taint_keys("node-1") == taints, "unreachable")
    ready = condition(cluster.get(NODES, "node-1"), "Ready") or {}
    assert (ready["status"], ready["reason"], ready["message"]) == (
        "Unknown",
        "NodeStatusUnknown",
        "Kubelet stopped posting node status.",
    )
    # As recorded: still Running, containers still ready, only the pod is not.
    pod = cluster.get(PODS, "web")
    assert pod["status"]["phase"] == "Running"
    assert not is_pod_ready(pod)
    await cluster.until(lambda: cluster.events("NodeNotReady"), "the events")
    assert set(cluster.events("NodeNotReady")) == {
        "Node is not ready",
        "Node node-1 status is now: NodeNotReady",
    }
    assert not cluster.taint_keys("node-0")


async def test_a_node_that_never_reports_is_noticed(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    cluster.kubelet.silent.add("mute")
    body = {"metadata": {"name": "mute"}, "spec": {}}
    await cluster.create(NODES, body)
    await cluster.until(lambda: condition(cluster.get(NODES, "mute"), "Ready"), "a condition")
    assert (condition(cluster.get(NODES, "mute"), "Ready") or {})["reason"] == "NodeStatusNeverUpdated"


async def test_no_execute_evicts_at_once_what_does_not_tolerate_it(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    pinned = {"nodeSelector": {"kubernetes.io/hostname": "node-0"}}
    tolerant = [{"key": AGENT["key"], "operator": "Exists"}]
    await cluster.create(PODS, bare_pod("goes", **pinned))
    await cluster.create(PODS, bare_pod("stays", tolerations=tolerant, **pinned))
    for name in ("goes", "stays"):
        await cluster.until(lambda n=name: is_pod_ready(cluster.get(PODS, n)), name)
    targets: list[Object | None] = []
    cluster.pods.add_handler(
        lambda old, new: targets.append(condition(new, "DisruptionTarget")) if new is not None else None
    )
    await cluster.taint("node-0", AGENT)
    await cluster.until(lambda: not cluster.exists(PODS, "goes"), "the pod evicted")
    target = next(each for each in targets if each is not None)
    assert target["reason"] == "DeletionByTaintManager"
    await cluster.until(
        lambda: cluster.events("TaintManagerEviction") == ["Marking for deletion Pod default/goes"],
        "the event",
    )
    assert cluster.exists(PODS, "stays")


async def test_toleration_seconds_give_a_pod_time_and_an_early_end_of_the_taint_saves_it(
    cluster: Cluster,
) -> None:
    await cluster.add_nodes(1)
    for name, seconds in (("short", 20), ("long", 3000)):
        patience = {"key": AGENT["key"], "effect": "NoExecute", "tolerationSeconds": seconds}
        await cluster.create(PODS, bare_pod(name, tolerations=[{**patience, "operator": "Exists"}]))
        await cluster.until(lambda n=name: is_pod_ready(cluster.get(PODS, n)), name)
    await cluster.taint("node-0", AGENT)
    await cluster.settled()
    assert cluster.exists(PODS, "short")
    await cluster.until(lambda: not cluster.exists(PODS, "short"), "its time over")
    await cluster.patch(NODES, "node-0", {"spec": {"taints": None}})
    await cluster.until(
        lambda: "Cancelling deletion of Pod default/long" in cluster.events("TaintManagerEviction"), "saved"
    )


async def test_pods_of_a_deleted_node_are_failed_and_removed_and_their_replicas_come_back(
    cluster: Cluster,
) -> None:
    await cluster.add_nodes(2)
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=4))
    await cluster.until(lambda: len(cluster.ready("web")) == 4, "four replicas")
    ended: list[tuple[str, str]] = []

    def look(old: Object | None, new: Object | None) -> None:
        target = condition(new, "DisruptionTarget") if new is not None else None
        if new is not None and target is not None:
            ended.append((new["status"]["phase"], target["reason"]))

    cluster.pods.add_handler(look)
    cluster.kubelet.silent.add("node-1")
    await cluster.api.delete(NODES, "node-1")
    await cluster.until(
        lambda: len(cluster.ready("web")) == 4 and {node_of(pod) for pod in cluster.all(PODS)} == {"node-0"},
        "all on the node that is left",
    )
    assert set(ended) == {("Failed", "DeletionByPodGC")}
    await cluster.until(
        lambda: cluster.events("RemovingNode") == ["Node node-1 event: Removing Node node-1 from Controller"],
        "the event",
    )
    assert len(cluster.all(REPLICA_SETS)) == 1


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["True", "False"], ZoneState.NORMAL),
        (["True", "True", "True", "False", "False", "False"], ZoneState.NORMAL),
        (["True", "False", "False", "Unknown"], ZoneState.PARTIAL),
        (["False", "Unknown"], ZoneState.FULL),
    ],
)
def test_a_zone_is_judged_by_how_many_nodes_are_ill(states: list[str], expected: ZoneState) -> None:
    nodes = [node(f"n{index}", ready) for index, ready in enumerate(states)]
    assert list(zone_states(nodes).values()) == [expected]


foreign = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["a", "b", "node.cilium.io/agent-not-ready"]),
            "effect": st.just("NoSchedule"),
        }
    ),
    max_size=3,
)


@given(taints=foreign, keys=st.sets(st.sampled_from([NOT_READY, UNREACHABLE])))
def test_the_controller_never_touches_other_peoples_taints(taints: list[Object], keys: set[str]) -> None:
    own = [{"key": NOT_READY, "effect": "NoSchedule"}, {"key": NOT_READY, "effect": "NoExecute"}]
    result = with_taints([*taints, *own], "NoSchedule", keys)
    assert result[: len(taints)] == taints
    assert {t["key"] for t in result[len(taints) :] if t["effect"] == "NoSchedule"} == keys
    assert [t for t in result if t["effect"] == "NoExecute"] == own[1:]


def test_the_least_patience_among_several_taints_counts() -> None:
    taints = [{"key": "a", "effect": "NoExecute"}, {"key": "b", "effect": "NoExecute"}]
    ever = {"key": "a", "operator": "Exists"}
    while_ = {"key": "b", "operator": "Exists", "tolerationSeconds": 30}
    assert tolerated_seconds(taints, [ever, while_]) == 30
    assert tolerated_seconds(taints[:1], [ever]) is None
    assert tolerated_seconds(taints, [ever]) == 0
    assert tolerated_seconds([], []) is None
