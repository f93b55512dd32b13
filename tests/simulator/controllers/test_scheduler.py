"""Pods go where they may, and where they may not the scheduler says why in kube's words."""

from __future__ import annotations

from collections import Counter

from straw_cluster import Cluster, bare_pod, node_of, template, workload

from pytest_cnimigrate.model.objects import Object, condition, is_pod_ready, name_of
from pytest_cnimigrate.model.resources import DEPLOYMENTS, NODES, PODS

TAIL = "no new claims to deallocate, preemption: 0/{0} nodes are available: {1}."


async def message(cluster: Cluster, name: str) -> str:
    """Why the pod is pending."""

    def scheduled() -> Object:
        return condition(cluster.get(PODS, name), "PodScheduled") or {}

    await cluster.until(lambda: scheduled().get("status") == "False", f"{name} refused")
    assert scheduled()["reason"] == "Unschedulable"
    text: str = scheduled()["message"]
    await cluster.until(lambda: text in cluster.events("FailedScheduling"), "the event")
    return text


async def placed(cluster: Cluster, name: str) -> str:
    await cluster.until(lambda: is_pod_ready(cluster.get(PODS, name)), f"{name} running")
    return node_of(cluster.get(PODS, name))


def affinity(kind: str, app: str, key: str = "kubernetes.io/hostname") -> Object:
    term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


async def test_untolerated_taints_keep_pods_pending_until_the_taint_goes(cluster: Cluster) -> None:
    taint = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoSchedule"}
    await cluster.add_node("new", taints=[taint])
    await cluster.create(PODS, bare_pod("web"))
    # Word for word as recorded.
    assert await message(cluster, "web") == (
        "0/1 nodes are available: 1 node(s) had untolerated taint(s). "
        + TAIL.format(1, "1 Preemption is not helpful for scheduling")
    )
    await cluster.patch(NODES, "new", {"spec": {"taints": None}})
    assert await placed(cluster, "web") == "new"
    await cluster.until(
        lambda: cluster.events("Scheduled") == ["Successfully assigned default/web to new"], "the event"
    )


async def test_without_nodes_the_scheduler_says_so_and_waits_for_one(cluster: Cluster) -> None:
    await cluster.create(PODS, bare_pod("web"))
    assert await message(cluster, "web") == "no nodes available to schedule pods"
    await cluster.add_node("first")
    assert await placed(cluster, "web") == "first"


async def test_each_reason_is_counted(cluster: Cluster) -> None:
    await cluster.add_node("cordoned")
    await cluster.patch(NODES, "cordoned", {"spec": {"unschedulable": True}})
    await cluster.add_node("elsewhere", labels={"zone": "b"})
    await cluster.add_node("small", labels={"zone": "a"}, cpu="1")
    body = bare_pod("web", nodeSelector={"zone": "a"}, requests={"cpu": "1500m"})
    await cluster.create(PODS, body)
    assert await message(cluster, "web") == (
        "0/3 nodes are available: 1 Insufficient cpu, "
        "1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable. "
        + TAIL.format(3, "3 Preemption is not helpful for scheduling")
    )


async def test_requests_and_pod_slots_are_respected_and_freed(cluster: Cluster) -> None:
    await cluster.add_node("node", cpu="2", pods=2)
    await cluster.create(PODS, bare_pod("a", requests={"cpu": "1500m"}))
    await placed(cluster, "a")
    await cluster.create(PODS, bare_pod("b", requests={"cpu": "600m"}))
    assert (await message(cluster, "b")).startswith("0/1 nodes are available: 1 Insufficient cpu. ")
    assert "1 No preemption victims found for incoming pod." in await message(cluster, "b")
    await cluster.create(PODS, bare_pod("c", requests={"cpu": "100m"}))
    await placed(cluster, "c")
    await cluster.create(PODS, bare_pod("d"))
    assert "1 Too many pods." in await message(cluster, "d")
    await cluster.api.delete(PODS, "a", "default")
    assert await placed(cluster, "b") == "node"


async def test_host_ports_do_not_collide(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    ports = [{"containerPort": 8080, "hostPort": 8080}]
    await cluster.create(PODS, bare_pod("a", ports=ports))
    await placed(cluster, "a")
    await cluster.create(PODS, bare_pod("b", ports=ports))
    assert "1 node(s) didn't have free ports for the requested pod ports." in await message(cluster, "b")


async def test_required_anti_affinity_holds_both_ways(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    apart = affinity("podAntiAffinity", "operator")
    for name in ("a", "b"):
        await cluster.create(PODS, bare_pod(name, labels={"app": "operator"}, affinity=apart))
    assert {await placed(cluster, "a"), await placed(cluster, "b")} == {"node-0", "node-1"}
    await cluster.create(PODS, bare_pod("c", labels={"app": "operator"}, affinity=apart))
    assert "2 node(s) didn't match pod anti-affinity rules." in await message(cluster, "c")
    # Without a rule of its own: those that are there refuse it.
    await cluster.create(PODS, bare_pod("d", labels={"app": "operator"}))
    assert "2 node(s) didn't satisfy existing pods anti-affinity rules." in await message(cluster, "d")
    await cluster.api.delete(PODS, "a", "default")
    await cluster.until(
        lambda: sum(is_pod_ready(cluster.get(PODS, name)) for name in ("c", "d")) == 1, "one of them placed"
    )


async def test_affinity_follows_the_company_it_seeks(cluster: Cluster) -> None:
    await cluster.add_nodes(3)
    with_agent = affinity("podAffinity", "agent")
    await cluster.create(PODS, bare_pod("envoy", affinity=with_agent))
    assert "3 node(s) didn't match pod affinity rules." in await message(cluster, "envoy")
    await cluster.create(PODS, bare_pod("agent"))
    assert await placed(cluster, "envoy") == await placed(cluster, "agent")


async def test_the_first_pod_of_a_group_that_wants_to_be_together_finds_a_place(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    body = workload(
        DEPLOYMENTS, "web", replicas=3, pod=template("web", affinity=affinity("podAffinity", "web"))
    )
    await cluster.create(DEPLOYMENTS, body)
    await cluster.until(lambda: len(cluster.ready("web")) == 3, "all three")
    assert len({node_of(pod) for pod in cluster.running("web")}) == 1


async def test_spread_constraints_bound_the_skew_between_zones(cluster: Cluster) -> None:
    for name, zone in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        await cluster.add_node(name, labels={"zone": zone})
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    pod = template("web", topologySpreadConstraints=[constraint])
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=5, pod=pod))
    await cluster.until(lambda: len(cluster.ready("web")) == 5, "all five")
    zones = Counter(node_of(pod)[0] for pod in cluster.running("web"))
    assert abs(zones["a"] - zones["b"]) == 1
    await cluster.patch(NODES, "b1", {"spec": {"unschedulable": True}})
    await cluster.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 8}})
    words = "node(s) didn't match pod topology spread constraints"
    await cluster.until(
        lambda: any(words in text for text in cluster.events("FailedScheduling")), "refused for the skew"
    )


async def test_replicas_are_spread_over_nodes_without_being_told(cluster: Cluster) -> None:
    await cluster.add_nodes(4)
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=8))
    await cluster.until(lambda: len(cluster.ready("web")) == 8, "all eight")
    assert set(Counter(node_of(pod) for pod in cluster.running("web")).values()) == {2}


async def test_preferences_decide_among_nodes_that_would_do(cluster: Cluster) -> None:
    await cluster.add_node("avoided", taints=[{"key": "old", "effect": "PreferNoSchedule"}])
    await cluster.add_node("plain")
    await cluster.add_node("wished", labels={"cni": "cilium"})
    expression = {"key": "cni", "operator": "In", "values": ["cilium"]}
    wish = [{"weight": 100, "preference": {"matchExpressions": [expression]}}]
    rule = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wish}}
    await cluster.create(PODS, bare_pod("picky", affinity=rule))
    assert await placed(cluster, "picky") == "wished"
    await cluster.create(PODS, bare_pod("easy", nodeSelector={"kubernetes.io/hostname": "avoided"}))
    assert await placed(cluster, "easy") == "avoided"


async def test_pods_of_other_schedulers_and_gated_pods_are_left_alone(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(PODS, bare_pod("other", schedulerName="mine"))
    await cluster.create(PODS, bare_pod("gated", schedulingGates=[{"name": "wait"}]))
    await cluster.create(PODS, bare_pod("plain"))
    await placed(cluster, "plain")
    await cluster.settled()
    assert [name_of(pod) for pod in cluster.all(PODS) if not node_of(pod)] == ["gated", "other"]
    await cluster.patch(PODS, "gated", {"spec": {"schedulingGates": None}})
    assert await placed(cluster, "gated") == "node-0"
