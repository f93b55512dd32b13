"""ReplicaSets, StatefulSets and Jobs."""

from __future__ import annotations

from straw_cluster import Cluster, bare_pod, node_of, template, workload

from pytest_cnimigrate.model.objects import (
    Object,
    annotations_of,
    condition,
    controller_of,
    labels_of,
    name_of,
)
from pytest_cnimigrate.model.resources import (
    CRON_JOBS,
    JOBS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
)


async def replicas(cluster: Cluster, count: int) -> None:
    await cluster.create(REPLICA_SETS, workload(REPLICA_SETS, "web", replicas=count))
    await cluster.until(lambda: len(cluster.ready("web")) == count, f"{count} replicas")


async def scale(cluster: Cluster, count: int) -> set[str]:
    """Scale down and return the names that are left."""
    await cluster.patch(REPLICA_SETS, "web", {"spec": {"replicas": count}})
    await cluster.until(lambda: len(cluster.all(PODS)) == count, f"{count} left")
    return {name_of(pod) for pod in cluster.all(PODS)}


async def test_scaling_down_takes_unready_pods_first(cluster: Cluster) -> None:
    await cluster.add_nodes(3)
    await replicas(cluster, 3)
    sick = cluster.running("web")[1]
    await cluster.kubelet.set_ready(sick, False)
    await cluster.until(
        lambda: cluster.get(REPLICA_SETS, "web")["status"].get("readyReplicas") == 2, "one not ready"
    )
    assert name_of(sick) not in await scale(cluster, 2)


async def test_scaling_down_heeds_the_deletion_cost(cluster: Cluster) -> None:
    await cluster.add_nodes(3)
    await replicas(cluster, 3)
    cheap = name_of(cluster.running("web")[2])
    cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}
    await cluster.patch(PODS, cheap, cost)
    await cluster.settled()
    assert cheap not in await scale(cluster, 2)


async def test_scaling_down_evens_out_the_nodes(cluster: Cluster) -> None:
    await cluster.add_node("crowded")
    await replicas(cluster, 2)
    await cluster.add_node("empty")
    await cluster.patch(NODES, "crowded", {"spec": {"unschedulable": True}})
    await cluster.patch(REPLICA_SETS, "web", {"spec": {"replicas": 3}})
    await cluster.until(lambda: len(cluster.ready("web")) == 3, "one on the other node")
    await scale(cluster, 2)
    assert sorted(node_of(pod) for pod in cluster.all(PODS)) == ["crowded", "empty"]


async def test_a_pod_that_is_relabelled_is_released_and_replaced(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await replicas(cluster, 1)
    name = name_of(cluster.running("web")[0])
    await cluster.patch(PODS, name, {"metadata": {"labels": {"app": "debugging"}}})
    await cluster.until(lambda: len(cluster.ready("web")) == 1, "a replacement")
    assert controller_of(cluster.get(PODS, name)) is None


async def test_a_matching_bare_pod_is_adopted_instead_of_making_another(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(PODS, bare_pod("mine", labels={"app": "web"}))
    await replicas(cluster, 1)
    await cluster.settled()
    (pod,) = cluster.all(PODS)
    assert (controller_of(pod) or {})["name"] == "web"


async def test_a_refused_pod_is_reported_on_the_replica_set(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    pod = template("web", serviceAccountName="missing")
    await cluster.create(REPLICA_SETS, workload(REPLICA_SETS, "web", pod=pod, replicas=1))
    await cluster.until(
        lambda: condition(cluster.get(REPLICA_SETS, "web"), "ReplicaFailure"), "the condition"
    )
    failure = condition(cluster.get(REPLICA_SETS, "web"), "ReplicaFailure") or {}
    assert failure["reason"] == "FailedCreate"
    assert "missing" in failure["message"]


def stateful(**spec: object) -> Object:
    return workload(STATEFUL_SETS, "db", serviceName="db", **spec)


async def test_a_stateful_set_starts_its_pods_in_order_each_with_its_claim(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    cluster.kubelet.start_delay = 0.01
    overlapping: list[int] = []
    cluster.pods.add_handler(
        lambda old, new: overlapping.append(len(cluster.all(PODS)) - len(cluster.ready("db")))
    )
    storage = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claims = [{"metadata": {"name": "data"}, "spec": storage}]
    await cluster.create(STATEFUL_SETS, stateful(replicas=3, volumeClaimTemplates=claims))
    await cluster.until(lambda: len(cluster.ready("db")) == 3, "three members")
    assert [name_of(pod) for pod in cluster.running("db")] == ["db-0", "db-1", "db-2"]
    assert max(overlapping) == 1
    pod = cluster.get(PODS, "db-1")
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
    assert labels_of(pod)["statefulset.kubernetes.io/pod-name"] == "db-1"
    claim = cluster.get(PERSISTENT_VOLUME_CLAIMS, "data-db-1")
    assert claim["status"]["phase"] == "Bound"
    assert {"claimName": "data-db-1"} in [v.get("persistentVolumeClaim") for v in pod["spec"]["volumes"]]


async def test_a_stateful_set_rolls_from_the_highest_ordinal_down_to_the_partition(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await cluster.create(STATEFUL_SETS, stateful(replicas=3, updateStrategy=rolling))
    await cluster.until(lambda: len(cluster.ready("db")) == 3, "three members")
    gone: list[str] = []
    cluster.pods.add_handler(lambda old, new: gone.append(name_of(old)) if new is None and old else None)
    await cluster.patch(STATEFUL_SETS, "db", {"spec": {"template": template("db", image="example/app:2")}})
    await cluster.until(
        lambda: (
            cluster.get(STATEFUL_SETS, "db")["status"].get("updatedReplicas") == 2
            and len(cluster.ready("db")) == 3
        ),
        "two members updated",
    )
    assert gone == ["db-2", "db-1"]
    tags = [pod["spec"]["containers"][0]["image"][-1] for pod in cluster.running("db")]
    assert tags == ["1", "2", "2"]
    # Below the partition a pod comes back as it was.
    await cluster.api.delete(PODS, "db-0", "default")
    await cluster.until(lambda: "db-0" in gone and len(cluster.ready("db")) == 3, "the first member back")
    assert cluster.get(PODS, "db-0")["spec"]["containers"][0]["image"] == "example/app:1"
    whole = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
    await cluster.patch(STATEFUL_SETS, "db", whole)

    def finished() -> bool:
        status = cluster.get(STATEFUL_SETS, "db")["status"]
        same = status["currentRevision"] == status["updateRevision"]
        return bool(same and status.get("currentReplicas") == 3 and status.get("availableReplicas") == 3)

    await cluster.until(finished, "the rollout")


async def test_a_stateful_set_shrinks_from_the_top(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(STATEFUL_SETS, stateful(replicas=3, podManagementPolicy="Parallel"))
    await cluster.until(lambda: len(cluster.ready("db")) == 3, "three members")
    await cluster.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
    await cluster.until(lambda: [name_of(p) for p in cluster.all(PODS)] == ["db-0"], "the first left")


def job(name: str = "once", **spec: object) -> Object:
    pod = template(name, restartPolicy="Never")
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": pod, **spec}}


async def test_a_job_completes_when_enough_pods_have_succeeded(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    cluster.kubelet.ends = lambda pod: "Succeeded"
    await cluster.create(JOBS, job(completions=3, parallelism=2))
    await cluster.until(lambda: condition(cluster.get(JOBS, "once"), "Complete"), "complete")
    status = cluster.get(JOBS, "once")["status"]
    assert status["succeeded"] == 3
    assert "active" not in status
    assert status["completionTime"]
    assert labels_of(cluster.all(PODS)[0])["batch.kubernetes.io/job-name"] == "once"


async def test_a_job_gives_up_at_its_backoff_limit(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    cluster.kubelet.ends = lambda pod: "Failed"
    await cluster.create(JOBS, job(backoffLimit=1))
    await cluster.until(lambda: condition(cluster.get(JOBS, "once"), "Failed"), "failed")
    assert (condition(cluster.get(JOBS, "once"), "Failed") or {})["reason"] == "BackoffLimitExceeded"
    assert cluster.get(JOBS, "once")["status"]["failed"] == 2
    await cluster.until(
        lambda: cluster.events("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"],
        "event",
    )


async def test_a_finished_job_goes_when_its_time_is_up(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    cluster.kubelet.ends = lambda pod: "Succeeded"
    await cluster.create(JOBS, job(ttlSecondsAfterFinished=5))
    await cluster.until(lambda: cluster.exists(JOBS, "once"), "made")
    await cluster.until(
        lambda: not cluster.exists(JOBS, "once") and not cluster.all(PODS), "gone with its pod"
    )


async def test_what_is_not_simulated_says_so(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(JOBS, job(completionMode="Indexed", completions=2))
    await cluster.until(lambda: condition(cluster.get(JOBS, "once"), "Failed"), "refused")
    assert (condition(cluster.get(JOBS, "once"), "Failed") or {})["reason"] == "NotSimulated"
    cron = {
        "metadata": {"name": "nightly", "namespace": "default"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": job()["spec"]}},
    }
    await cluster.create(CRON_JOBS, cron)
    text = "CronJobs are not run by the embedded cluster"
    await cluster.until(lambda: text in cluster.events("NotSimulated"), "the warning")


async def test_annotations_of_a_template_reach_the_pods(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    pod = template("web")
    pod["metadata"]["annotations"] = {"team": "net"}
    await cluster.create(REPLICA_SETS, workload(REPLICA_SETS, "web", pod=pod, replicas=1))
    await cluster.until(lambda: cluster.ready("web"), "a replica")
    assert annotations_of(cluster.ready("web")[0]) == {"team": "net"}
