"""Workloads: what a drain concerns, what would stop it, and whether everybody is back."""

from __future__ import annotations

import pytest
from builders import budget, deployment, pod

from pytest_cnimigrate.checks import capacity, workloads
from pytest_cnimigrate.model.objects import name_of
from pytest_cnimigrate.model.pods import uses_empty_dir
from pytest_cnimigrate.providers.node_groups import Capacity

ALL_SORTS = [
    pod("web", "old-1"),
    pod("agent", "old-1", owner="DaemonSet"),
    pod("etcd", "old-1", owner=None, static=True, host_network=True),
    pod("report", "old-1", owner="Job", phase="Succeeded"),
    pod("refused", "old-1", phase="Failed", reason="TaintToleration"),
    pod("leaving", "old-1", terminating=True),
    pod("proxy", "old-1", host_network=True),
    pod("elsewhere", "new-1"),
    pod("waiting", phase="Pending"),
]


def names(pods):
    return [name_of(one) for one in pods]


def test_a_drain_concerns_all_but_daemonsets_static_and_finished_pods():
    assert names(capacity.pods_to_move(ALL_SORTS, ["old-1"])) == ["web", "leaving", "proxy"]


def test_a_cni_is_needed_by_pods_that_have_an_address_of_it_and_would_lose_something():
    assert names(workloads.pods_that_need_the_node(ALL_SORTS)) == ["web", "leaving", "elsewhere"]


def test_what_a_drain_has_left_is_named():
    assert workloads.left_on(ALL_SORTS, ["old-1"]) == [
        "pod shop/web is still on node old-1",
        "pod shop/leaving is still on node old-1 (terminating)",
        "pod shop/proxy is still on node old-1",
    ]
    assert workloads.left_on(ALL_SORTS, ["old-2"]) == []


def test_nothing_but_host_network_runs_where_no_cni_is():
    pods = [
        pod("proxy", "new-1", host_network=True),
        pod("web", "new-1", phase="Pending"),
        pod("db", "old-1"),
    ]
    assert workloads.running_with_pod_network(pods, ["new-1"]) == []
    assert workloads.running_with_pod_network([*pods, pod("odd", "new-1")], ["new-1"]) == [
        "pod shop/odd runs on node new-1 and is not on the host's network"
    ]


# --- what would stop a drain -------------------------------------------------------------------------------


def test_pods_that_somebody_will_create_anew():
    owned = [pod("a", "n", owner=kind) for kind in ("ReplicaSet", "StatefulSet", "Job")]
    finished = pod("once", "n", owner=None, phase="Succeeded")
    mirror = pod("etcd", "n", owner=None, static=True)
    assert workloads.irreplaceable([*owned, finished, mirror]) == []


def test_a_pod_without_a_controller_is_named_with_what_to_do():
    (problem,) = workloads.irreplaceable([pod("by-hand", "old-1", owner=None)])
    assert problem.startswith("pod shop/by-hand on node old-1 has no controller")
    assert "delete it, or run it by a Deployment" in problem


WEB = {"matchLabels": {"app": "web"}}
WEB_PODS = [pod("web-1", "old-1", labels={"app": "web"}), pod("web-2", "old-1", labels={"app": "web"})]


@pytest.mark.parametrize(
    "allowing",
    [
        budget("web", WEB, allowed=1),
        budget("web", {"matchLabels": {"app": "db"}}),
        budget("web", WEB, namespace="other"),
        # An absent selector selects nothing.
        budget("web", None),
    ],
    ids=["allows one", "other pods", "another namespace", "no selector"],
)
def test_budgets_that_stop_nobody(allowing):
    assert workloads.blocking_budgets([allowing], WEB_PODS) == []


@pytest.mark.parametrize("selector", [WEB, {}, {"matchExpressions": [{"key": "app", "operator": "Exists"}]}])
def test_a_budget_that_allows_nothing_is_named_with_its_figures_and_a_pod(selector):
    full = budget("web", selector, currentHealthy=2, desiredHealthy=2, expectedPods=2)
    assert workloads.blocking_budgets([full], WEB_PODS) == [
        "PodDisruptionBudget shop/web allows no disruption (2 healthy, 2 needed), but pod shop/web-1 and "
        "1 more must be moved; scale the workload up or relax the budget"
    ]


def test_a_budget_that_its_controller_has_not_looked_at_yet_allows_nothing():
    fresh = budget("web", WEB)
    del fresh["status"]
    assert "but pod shop/web-1 must be moved" in workloads.blocking_budgets([fresh], WEB_PODS[:1])[0]


@pytest.mark.parametrize(
    "free",
    [
        pod("web-1", "old-1", labels={"app": "web"}, phase="Pending"),
        pod("web-1", "old-1", labels={"app": "web"}, phase="Failed", reason="Evicted"),
        pod("web-1", "old-1", labels={"app": "web"}, terminating=True),
        pod("web-1", "old-1", labels={"app": "web"}, owner="DaemonSet"),
    ],
    ids=["pending", "failed", "terminating", "of a DaemonSet"],
)
def test_an_eviction_of_such_a_pod_asks_no_budget(free):
    """A budget whose pods are all gone (expectedPods 0) allows nothing and stops nobody."""
    assert workloads.blocking_budgets([budget("web", WEB, expectedPods=0)], [free]) == []


def test_two_budgets_on_one_pod_are_named_even_if_both_allow():
    both = [budget("web", WEB, allowed=1), budget("everything", {}, allowed=3)]
    assert workloads.blocking_budgets(both, WEB_PODS[:1]) == [
        "pod shop/web-1 is covered by more than one PodDisruptionBudget (shop/web, shop/everything), "
        "so the API refuses to evict it; leave it to one of them"
    ]


# --- whether everybody is back -----------------------------------------------------------------------------


def test_complete_workloads():
    whole = [deployment(), deployment("db", kind="StatefulSet", availableReplicas=None)]
    none_wanted = deployment("idle", wanted=0, replicas=None, readyReplicas=None, availableReplicas=None)
    assert workloads.incomplete([*whole, none_wanted]) == []


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (deployment(availableReplicas=2), "Deployment shop/web: 2 of 3 pods ready"),
        (deployment(availableReplicas=None), "Deployment shop/web: 0 of 3 pods ready"),
        (deployment(wanted=None, availableReplicas=None), "Deployment shop/web: 0 of 1 pods ready"),
        (deployment("db", kind="StatefulSet", readyReplicas=1), "StatefulSet shop/db: 1 of 3 pods ready"),
    ],
)
def test_an_incomplete_workload_is_named_with_its_figures(workload, words):
    assert workloads.incomplete([deployment("other"), workload]) == [words]


def test_a_workload_without_a_status_is_incomplete():
    fresh = deployment()
    del fresh["status"]
    assert workloads.incomplete([fresh]) != []


def test_figures_of_an_older_specification_do_not_count():
    """An autoscaler has just asked for more, or somebody for another image: 3 of 3 is yesterday's news."""
    changed = deployment(generation=3, observedGeneration=2)
    assert workloads.incomplete([changed]) == [
        "Deployment shop/web: its controller has not seen generation 3 yet"
    ]


def test_pods_that_keep_data_on_their_node_are_named_unless_the_scenario_gives_it_up():
    caching = pod("cache", "old-1", volumes=[{"name": "data", "emptyDir": {}}])
    plain = pod("web", "old-1", volumes=[{"name": "settings", "configMap": {"name": "settings"}}])
    daemon = pod("logs", "old-1", owner="DaemonSet", volumes=[{"name": "buffer", "emptyDir": {}}])
    assert workloads.keeping_data([plain, daemon], allowed=False) == []
    assert workloads.keeping_data([caching, plain], allowed=True) == []
    assert workloads.keeping_data([caching, plain], allowed=False) == [
        "pod shop/cache on node old-1 keeps data in an emptyDir volume, which would be lost when it moves; "
        "set drain.delete_emptydir_data to allow that"
    ]


def job(name, **failed):
    conditions = [{"type": "Complete", "status": "False"}]
    if failed:
        conditions.append({"type": "Failed", "status": "True", **failed})
    return {
        "kind": "Job",
        "metadata": {"name": name, "namespace": "shop"},
        "status": {"conditions": conditions},
    }


def test_a_job_that_failed_is_named_with_the_reason():
    failed = job("import", message="Job has reached the specified backoff limit")
    assert workloads.broken_jobs([job("fine"), failed]) == [
        "Job shop/import has failed: Job has reached the specified backoff limit"
    ]
    assert workloads.broken_jobs([job("fine"), {**job("new"), "status": {}}]) == []


def test_a_job_that_had_failed_before_is_not_held_against_the_migration():
    """A CronJob keeps its last failed Job by default (failedJobsHistoryLimit 1)."""
    old, new = job("old", reason="DeadlineExceeded"), job("new", reason="BackoffLimitExceeded")
    before = list(workloads.failed_jobs([old, job("fine")]))
    assert before == ["shop/old"]
    assert workloads.broken_jobs([old, new], before=before) == [
        "Job shop/new has failed: BackoffLimitExceeded"
    ]


def test_replicas_are_recorded_by_workload():
    assert workloads.replica_counts([deployment(), deployment("db", kind="StatefulSet", wanted=None)]) == {
        "Deployment shop/web": 3,
        "StatefulSet shop/db": 1,
    }


@pytest.mark.parametrize(
    ("volumes", "expected"), [(None, False), ([{"emptyDir": {}}], True), ([{"secret": {}}], False)]
)
def test_pods_that_keep_data_in_an_empty_dir(volumes, expected):
    assert uses_empty_dir(pod("a", volumes=volumes)) is expected


# --- pods that wait -----------------------------------------------------------------------------------------


def test_pods_that_wait_are_known_whoever_made_them():
    operators, of_job = pod("kafka-0", phase="Pending", owner="StrimziPodSet"), pod("j", phase="Pending")
    others = [
        pod("runs", "new-1"),
        pod("goes", phase="Pending", terminating=True),
        pod("envoy", phase="Pending", owner="DaemonSet"),
        pod("static", "new-1", phase="Pending", static=True),
    ]
    assert workloads.waiting([operators, of_job, *others]) == ["uid-shop-kafka-0", "uid-shop-j"]


def test_a_pod_that_goes_on_waiting_is_named_with_what_it_waits_for():
    unscheduled, starting = pod("a", phase="Pending"), pod("b", "new-1", phase="Pending")
    unscheduled["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    ]
    starting["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ContainerCreating"}}}]
    latecomer = pod("c", phase="Pending")
    pods = [unscheduled, starting, latecomer, pod("d", "new-1")]
    assert workloads.still_waiting(pods, ["uid-shop-a", "uid-shop-b", "uid-shop-d"]) == [
        "pod shop/a has not started: 0/3 nodes are available",
        "pod shop/b has not started: ContainerCreating on node new-1",
    ]


def test_a_pod_without_a_controller_that_is_on_its_way_out_is_nobodys_loss():
    assert workloads.irreplaceable([pod("by-hand", "old-1", owner=None, terminating=True)]) == []
    assert workloads.irreplaceable([pod("by-hand", "old-1", owner=None)]) != []


# --- room for them -----------------------------------------------------------------------------------------

ROOM = Capacity(pods_per_node=29, addresses_per_node=30, free_addresses={"subnet-a": 100, "subnet-b": 100})


def test_everything_has_room():
    assert capacity.too_small([pod(f"p{n}", "old-1") for n in range(66)], 5, 3, ROOM) == []


def test_one_pod_too_many_for_the_new_nodes_says_what_to_raise():
    """29 slots a node, 5 of them for DaemonSets that run today, 2 for Cilium's agent and envoy: 22."""
    moving = [pod(f"p{n}", "old-1") for n in range(67)]
    (problem,) = capacity.too_small(moving, 5, 3, ROOM)
    assert problem == (
        "67 pods have to move, 3 new nodes have room for 66 "
        "(29 pods a node, 7 of them taken by DaemonSets); raise new_nodes.size"
    )


def asking(name, cpu, memory, **changes):
    found = pod(name, "old-1", **changes)
    requests = {"cpu": cpu, "memory": memory}
    found["spec"]["containers"] = [{"name": "main", "resources": {"requests": requests}}, {"name": "sidecar"}]
    return found


MACHINE = Capacity(29, 30, milli_cpus_per_node=2000, memory_per_node=8 * 2**30)


def test_pods_that_ask_for_no_more_than_the_new_nodes_have():
    moving = [asking(f"p{n}", "500m", "1Gi") for n in range(8)]
    daemon = asking("logs", "200m", "100Mi", owner="DaemonSet")
    assert capacity.too_weak(moving, [], 2, MACHINE) == []
    assert capacity.too_weak([pod("asks-for-nothing")], [daemon], 1, MACHINE) == []
    assert capacity.too_weak(moving, [daemon], 2, MACHINE) != []


def test_pods_that_ask_for_more_than_the_new_nodes_have_say_how_much():
    moving = [asking(f"p{n}", "1", "5Gi") for n in range(5)]
    assert capacity.too_weak(moving, [], 2, MACHINE) == [
        "the pods of 2 new nodes ask for 5.0 CPUs, the nodes have 4.0; raise new_nodes.size or take larger "
        "instances",
        "the pods of 2 new nodes ask for 25.0 GiB of memory, the nodes have 16.0; raise new_nodes.size or "
        "take larger instances",
    ]


def test_too_few_addresses_name_the_subnets():
    short = Capacity(29, 30, {"subnet-b": 7, "subnet-a": 10})
    (problem,) = capacity.too_small([pod("a", "old-1")], 5, 3, short)
    assert problem.endswith("need about 28 addresses, their subnets have 17 free (subnet-a: 10, subnet-b: 7)")


def test_pods_on_the_hosts_network_need_no_address():
    enough_for_none = Capacity(29, 30, {"subnet-a": 27})
    assert capacity.too_small([pod("a", "old-1", host_network=True)], 5, 3, enough_for_none) == []
    assert capacity.too_small([pod("a", "old-1")], 5, 3, enough_for_none) != []


def test_daemonsets_are_counted_once_however_many_nodes_they_are_on():
    pods = [
        pod("proxy-1", "old-1", owner="DaemonSet", owner_name="kube-proxy"),
        pod("proxy-2", "old-2", owner="DaemonSet", owner_name="kube-proxy"),
        pod("node-1", "old-1", owner="DaemonSet", owner_name="aws-node"),
        pod("gone", "old-1", owner="DaemonSet", owner_name="finished", phase="Failed"),
        pod("there", "new-1", owner="DaemonSet", owner_name="elsewhere"),
        pod("web", "old-1"),
    ]
    assert len(capacity.pods_of_each_node(pods, ["old-1", "old-2"])) == 2
