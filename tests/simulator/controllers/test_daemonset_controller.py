"""DaemonSets do here what they do on a real cluster, transients included."""

from __future__ import annotations

import pytest
from straw_cluster import Cluster, node_of, template, workload

from pytest_cnimigrate.model.objects import is_terminating, labels_of, name_of
from pytest_cnimigrate.model.resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS

NOT_FOR_CILIUM = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "cni", "operator": "NotIn", "values": ["cilium"]}]},
            ]
        }
    }
}
AGENT_TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoSchedule"}


def status(cluster: Cluster, name: str = "agent") -> dict[str, object]:
    return cluster.get(DAEMON_SETS, name)["status"]


def settled_on(cluster: Cluster, desired: int, name: str = "agent") -> bool:
    """What `kubectl rollout status` and the runbook wait for."""
    daemon_set = cluster.get(DAEMON_SETS, name)
    found = daemon_set["status"]
    return (
        found.get("observedGeneration") == daemon_set["metadata"]["generation"]
        and found["desiredNumberScheduled"] == desired
        and found.get("updatedNumberScheduled", 0) == desired
        and found.get("numberAvailable", 0) == desired
        and found["currentNumberScheduled"] == desired
    )


async def test_every_node_gets_one_pod_and_the_status_has_the_recorded_fields(cluster: Cluster) -> None:
    await cluster.add_nodes(3)
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 3), "three agents")
    assert sorted(node_of(pod) for pod in cluster.running("agent")) == ["node-0", "node-1", "node-2"]
    assert status(cluster) == {
        "currentNumberScheduled": 3,
        "desiredNumberScheduled": 3,
        "numberAvailable": 3,
        "numberMisscheduled": 0,
        "numberReady": 3,
        "observedGeneration": 1,
        "updatedNumberScheduled": 3,
    }


async def test_daemon_pods_are_pinned_by_name_and_tolerate_what_kube_makes_them_tolerate(
    cluster: Cluster,
) -> None:
    await cluster.add_node("node-0")
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent", pod=template("agent", hostNetwork=True)))
    await cluster.until(lambda: settled_on(cluster, 1), "the agent")
    (pod,) = cluster.running("agent")
    assert pod["spec"]["affinity"] == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-0"]}]}
                ]
            }
        }
    }
    assert [(each["key"], each["effect"]) for each in pod["spec"]["tolerations"]] == [
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
        ("node.kubernetes.io/network-unavailable", "NoSchedule"),
    ]
    (revision,) = cluster.all(CONTROLLER_REVISIONS)
    assert labels_of(pod) == {
        "app": "agent",
        "controller-revision-hash": labels_of(revision)["controller-revision-hash"],
        "pod-template-generation": "1",
    }
    assert cluster.events("SuccessfulCreate") == [f"Created pod: {name_of(pod)}"]


async def test_fencing_the_old_cni_by_affinity_removes_it_from_the_new_nodes_and_restarts_it_elsewhere(
    cluster: Cluster,
) -> None:
    await cluster.add_node("old")
    await cluster.add_node("new", labels={"cni": "cilium"})
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 2), "agents on both nodes")
    before = {name_of(pod) for pod in cluster.running("agent")}
    fenced = {"spec": {"template": {"spec": {"affinity": NOT_FOR_CILIUM}}}}
    await cluster.patch(DAEMON_SETS, "agent", fenced)
    await cluster.until(lambda: settled_on(cluster, 1), "the agent on the old node only")
    await cluster.until(lambda: len(cluster.all(PODS)) == 1, "the last pod gone")
    (pod,) = cluster.running("agent")
    assert node_of(pod) == "old"
    assert name_of(pod) not in before


async def test_right_after_a_template_change_the_number_of_updated_pods_is_absent_and_not_nought(
    cluster: Cluster,
) -> None:
    await cluster.add_nodes(3)
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 3), "three agents")
    cluster.kubelet.stop_delay = 0.1
    await cluster.patch(
        DAEMON_SETS, "agent", {"spec": {"template": template("agent", image="example/app:2")}}
    )
    await cluster.until(lambda: status(cluster)["observedGeneration"] == 2, "the change observed")
    # As recorded on a real cluster: generation observed, everything ready, and nothing updated yet.
    assert status(cluster) == {
        "currentNumberScheduled": 3,
        "desiredNumberScheduled": 3,
        "numberAvailable": 3,
        "numberMisscheduled": 0,
        "numberReady": 3,
        "observedGeneration": 2,
    }
    await cluster.until(lambda: settled_on(cluster, 3), "the rollout")


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 2), ("40%", 2)])
async def test_a_rolling_update_never_takes_more_pods_away_than_allowed(
    cluster: Cluster, limit: int | str, most: int
) -> None:
    await cluster.add_nodes(5)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": limit, "maxSurge": 0}}
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent", updateStrategy=rolling))
    await cluster.until(lambda: settled_on(cluster, 5), "five agents")
    lowest = [5]

    def count(*_: object) -> None:
        lowest[0] = min(lowest[0], len(cluster.ready("agent")))

    cluster.pods.add_handler(count)
    cluster.kubelet.start_delay = 0.01
    await cluster.patch(
        DAEMON_SETS, "agent", {"spec": {"template": template("agent", image="example/app:2")}}
    )
    await cluster.until(
        lambda: settled_on(cluster, 5) and status(cluster)["observedGeneration"] == 2, "rollout"
    )
    assert lowest[0] == 5 - most


async def test_a_surging_update_keeps_every_node_served(cluster: Cluster) -> None:
    await cluster.add_nodes(3)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent", updateStrategy=rolling))
    await cluster.until(lambda: settled_on(cluster, 3), "three agents")
    served, most = [3], [0]

    def count(*_: object) -> None:
        served[0] = min(served[0], len({node_of(pod) for pod in cluster.ready("agent")}))
        most[0] = max(most[0], len(cluster.running("agent")))

    cluster.pods.add_handler(count)
    await cluster.patch(
        DAEMON_SETS, "agent", {"spec": {"template": template("agent", image="example/app:2")}}
    )
    await cluster.until(
        lambda: settled_on(cluster, 3) and status(cluster)["observedGeneration"] == 2, "rollout"
    )
    await cluster.until(lambda: len(cluster.all(PODS)) == 3, "old pods gone")
    assert served[0] == 3
    assert most[0] == 4


async def test_on_delete_waits_for_a_hand_to_delete_pods(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    body = workload(DAEMON_SETS, "agent", updateStrategy={"type": "OnDelete"})
    await cluster.create(DAEMON_SETS, body)
    await cluster.until(lambda: settled_on(cluster, 2), "two agents")
    before = {node_of(pod): name_of(pod) for pod in cluster.running("agent")}
    await cluster.patch(
        DAEMON_SETS, "agent", {"spec": {"template": template("agent", image="example/app:2")}}
    )
    await cluster.until(lambda: status(cluster)["observedGeneration"] == 2, "the change observed")
    await cluster.settled()
    assert {node_of(pod): name_of(pod) for pod in cluster.running("agent")} == before
    assert "updatedNumberScheduled" not in status(cluster)
    await cluster.api.delete(PODS, before["node-0"], "default")
    await cluster.until(lambda: status(cluster).get("updatedNumberScheduled") == 1, "one new pod")
    images = {node_of(pod): pod["spec"]["containers"][0]["image"] for pod in cluster.running("agent")}
    assert images == {"node-0": "example/app:2", "node-1": "example/app:1"}


async def test_a_no_schedule_taint_lets_running_daemons_stay_and_counts_them_as_misscheduled(
    cluster: Cluster,
) -> None:
    await cluster.add_nodes(2)
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 2), "two agents")
    await cluster.taint("node-1", AGENT_TAINT)
    await cluster.until(lambda: status(cluster)["numberMisscheduled"] == 1, "one misscheduled")
    assert status(cluster)["desiredNumberScheduled"] == 1
    assert len(cluster.running("agent")) == 2


async def test_a_no_execute_taint_drives_daemons_away_until_it_is_gone(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 2), "two agents")
    await cluster.taint("node-1", {**AGENT_TAINT, "effect": "NoExecute"})
    await cluster.until(lambda: settled_on(cluster, 1), "one agent left")
    await cluster.until(lambda: len(cluster.all(PODS)) == 1, "the other pod gone")
    await cluster.patch(NODES, "node-1", {"spec": {"taints": None}})
    await cluster.until(lambda: settled_on(cluster, 2), "both agents again")


async def test_a_cordoned_node_keeps_and_gets_daemons(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.patch(NODES, "node-0", {"spec": {"unschedulable": True}})
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 1), "the agent on the cordoned node")


async def test_labelling_a_node_moves_daemons_on_and_off(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    selector = template("agent", nodeSelector={"cni": "cilium"})
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent", pod=selector))
    await cluster.until(lambda: status(cluster).get("observedGeneration") == 1, "observed")
    assert status(cluster)["desiredNumberScheduled"] == 0
    await cluster.patch(NODES, "node-1", {"metadata": {"labels": {"cni": "cilium"}}})
    await cluster.until(lambda: settled_on(cluster, 1), "the agent on the labelled node")
    assert [node_of(pod) for pod in cluster.running("agent")] == ["node-1"]
    await cluster.patch(NODES, "node-1", {"metadata": {"labels": {"cni": None}}})
    await cluster.until(lambda: not cluster.all(PODS), "the agent gone")


async def test_a_deleted_or_failed_daemon_pod_is_replaced(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 1), "the agent")
    (first,) = cluster.running("agent")
    await cluster.api.delete(PODS, name_of(first), "default")
    await cluster.until(
        lambda: [p for p in cluster.ready("agent") if name_of(p) != name_of(first)], "another"
    )
    (second,) = cluster.running("agent")
    failed = {"status": {"phase": "Failed"}}
    await cluster.api.patch(PODS, name_of(second), failed, "default", kind="strategic", subresource="status")
    await cluster.until(
        lambda: [p for p in cluster.ready("agent") if name_of(p) != name_of(second)], "a third pod"
    )
    expected = f"Found failed daemon pod default/{name_of(second)} on node node-0, will try to kill it"
    await cluster.until(lambda: cluster.events("FailedDaemonPod") == [expected], "the event")


async def test_a_template_that_comes_back_gets_its_old_revision_back(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 1), "the agent")
    for image in ("example/app:2", "example/app:1"):
        await cluster.patch(DAEMON_SETS, "agent", {"spec": {"template": template("agent", image=image)}})
        await cluster.until(
            lambda image=image: (
                settled_on(cluster, 1)
                and [p["spec"]["containers"][0]["image"] for p in cluster.running("agent")] == [image]
            ),
            f"rolled out {image}",
        )
    revisions = sorted(cluster.all(CONTROLLER_REVISIONS), key=lambda r: r["revision"])
    assert [r["revision"] for r in revisions] == [2, 3]
    images = [r["data"]["spec"]["template"]["spec"]["containers"][0]["image"] for r in revisions]
    assert images == ["example/app:2", "example/app:1"]


async def test_a_daemonset_made_again_takes_orphaned_pods_back_without_restarting_them(
    cluster: Cluster,
) -> None:
    await cluster.add_nodes(2)
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 2), "two agents")
    before = {name_of(pod) for pod in cluster.running("agent")}
    await cluster.api.delete(DAEMON_SETS, "agent", "default", propagation_policy="Orphan")
    await cluster.until(lambda: not cluster.exists(DAEMON_SETS, "agent"), "the DaemonSet gone")
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 2), "two agents")
    await cluster.settled()
    assert {name_of(pod) for pod in cluster.all(PODS)} == before
    assert not any(is_terminating(pod) for pod in cluster.all(PODS))


async def test_only_the_changed_node_is_looked_at(cluster: Cluster) -> None:
    """The cost of a pod's change must not grow with the cluster."""
    await cluster.add_nodes(20)
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await cluster.until(lambda: settled_on(cluster, 20), "twenty agents")
    await cluster.settled()
    (controller,) = [c for c in cluster.manager.controllers if c.component == "daemonset-controller"]
    looked_at: list[str] = []
    original = controller._count  # type: ignore[attr-defined]

    def counting(daemon_set: object, state: object, digest: str, nodes: set[str]) -> None:
        looked_at.extend(nodes)
        original(daemon_set, state, digest, nodes)

    controller._count = counting  # type: ignore[attr-defined]
    pod = cluster.running("agent")[0]
    await cluster.kubelet.set_ready(pod, False)
    await cluster.until(lambda: status(cluster)["numberReady"] == 19, "one not ready")
    assert set(looked_at) == {node_of(pod)}
