"""Deployments roll out, roll back, scale and wait as on a real cluster."""

from __future__ import annotations

from straw_cluster import Cluster, template, workload

from pytest_cnimigrate.model.objects import annotations_of, condition, is_pod_ready, labels_of, name_of
from pytest_cnimigrate.model.resources import DEPLOYMENTS, PODS, REPLICA_SETS, Resource
from pytest_cnimigrate.simulator.controllers.deployment_sets import REVISION, REVISION_HISTORY


def done(cluster: Cluster, replicas: int, name: str = "web") -> bool:
    """What `kubectl rollout status` waits for."""
    deployment = cluster.get(DEPLOYMENTS, name)
    status = deployment.get("status") or {}
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == replicas
        and status.get("replicas", 0) == replicas
        and status.get("availableReplicas", 0) == replicas
    )


async def deploy(cluster: Cluster, replicas: int = 4, **spec: object) -> None:
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=replicas, **spec))
    await cluster.until(lambda: done(cluster, replicas), "the Deployment complete")


async def change_image(cluster: Cluster, tag: str) -> None:
    await cluster.patch(
        DEPLOYMENTS, "web", {"spec": {"template": template("web", image=f"example/app:{tag}")}}
    )


def images(cluster: Cluster) -> list[str]:
    return sorted({pod["spec"]["containers"][0]["image"] for pod in cluster.running("web")})


async def test_a_complete_deployment_has_the_recorded_status(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await deploy(cluster)
    deployment = cluster.get(DEPLOYMENTS, "web")
    (replica_set,) = cluster.all(REPLICA_SETS)
    status = dict(deployment["status"])
    conditions = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status.pop("conditions")}
    assert status == {
        "availableReplicas": 4,
        "observedGeneration": 1,
        "readyReplicas": 4,
        "replicas": 4,
        "terminatingReplicas": 0,
        "updatedReplicas": 4,
    }
    assert conditions == {
        "Available": ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        "Progressing": (
            "True",
            "NewReplicaSetAvailable",
            f'ReplicaSet "{name_of(replica_set)}" has successfully progressed.',
        ),
    }
    assert deployment["metadata"]["generation"] == 1
    assert annotations_of(deployment)[REVISION] == "1"
    assert annotations_of(replica_set) == {
        "deployment.kubernetes.io/desired-replicas": "4",
        "deployment.kubernetes.io/max-replicas": "5",
        "deployment.kubernetes.io/revision": "1",
    }
    digest = labels_of(replica_set)["pod-template-hash"]
    assert name_of(replica_set) == f"web-{digest}"
    assert all(labels_of(pod)["pod-template-hash"] == digest for pod in cluster.running("web"))
    assert cluster.events("ScalingReplicaSet") == [f"Scaled up replica set web-{digest} from 0 to 4"]


async def test_a_rolling_update_stays_within_surge_and_unavailability(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await deploy(cluster, 8)  # by default 25 %: at most 10 pods, at least 6 of them ready
    fewest, most = [8], [8]

    def count(*_: object) -> None:
        running = cluster.running("web")
        most[0] = max(most[0], len(running))
        fewest[0] = min(fewest[0], sum(is_pod_ready(pod) for pod in running))

    cluster.pods.add_handler(count)
    cluster.kubelet.start_delay = 0.01
    await change_image(cluster, "2")
    await cluster.until(lambda: done(cluster, 8) and images(cluster) == ["example/app:2"], "rolled out")
    assert most[0] <= 10
    assert fewest[0] >= 6
    assert most[0] > 8 or fewest[0] < 8  # it has watched a rollout, not slept through it


async def test_a_rollout_that_cannot_become_ready_stops_and_exceeds_its_deadline(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await deploy(cluster, 4, progressDeadlineSeconds=30)
    cluster.kubelet.broken = lambda pod: pod["spec"]["containers"][0]["image"].endswith(":bad")
    await change_image(cluster, "bad")
    await cluster.until(
        lambda: (
            (condition(cluster.get(DEPLOYMENTS, "web"), "Progressing") or {})["reason"]
            == "ProgressDeadlineExceeded"
        ),
        "the deadline",
    )
    progressing = condition(cluster.get(DEPLOYMENTS, "web"), "Progressing") or {}
    assert progressing["status"] == "False"
    assert progressing["message"].endswith("has timed out progressing.")
    assert len(cluster.ready("web")) == 3  # maxUnavailable 25 % of 4


async def test_rolling_back_finds_the_old_replica_set_again(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await deploy(cluster, 2)
    (first,) = cluster.all(REPLICA_SETS)
    await change_image(cluster, "2")
    await cluster.until(lambda: done(cluster, 2) and images(cluster) == ["example/app:2"], "rolled out")
    kept = cluster.get(REPLICA_SETS, name_of(first))
    assert kept["spec"]["replicas"] == 0
    # What `kubectl rollout undo` does: the old ReplicaSet's template becomes the Deployment's.
    await change_image(cluster, "1")
    await cluster.until(lambda: done(cluster, 2) and images(cluster) == ["example/app:1"], "rolled back")
    again = cluster.get(REPLICA_SETS, name_of(first))
    assert again["spec"]["replicas"] == 2
    assert annotations_of(again)[REVISION] == "3"
    assert annotations_of(again)[REVISION_HISTORY] == "1"
    await cluster.until(
        lambda: annotations_of(cluster.get(DEPLOYMENTS, "web"))[REVISION] == "3", "the Deployment's revision"
    )
    assert len(cluster.all(REPLICA_SETS)) == 2


async def test_old_replica_sets_beyond_the_history_limit_are_deleted(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await deploy(cluster, 1, revisionHistoryLimit=1)
    for tag in ("2", "3", "4"):
        await change_image(cluster, tag)
        expected = [f"example/app:{tag}"]
        await cluster.until(lambda e=expected: done(cluster, 1) and images(cluster) == e, f"image {tag}")
    await cluster.until(lambda: len(cluster.all(REPLICA_SETS)) == 2, "the current one and one old")
    assert sorted(annotations_of(rs)[REVISION] for rs in cluster.all(REPLICA_SETS)) == ["3", "4"]


async def test_restarting_replaces_every_pod(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await deploy(cluster, 3)
    before = {name_of(pod) for pod in cluster.running("web")}
    stamp = {"kubectl.kubernetes.io/restartedAt": "2026-11-22T20:37:59Z"}
    restart = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    await cluster.patch(DEPLOYMENTS, "web", restart)
    await cluster.until(
        lambda: done(cluster, 3) and not before & {name_of(pod) for pod in cluster.all(PODS)}, "all replaced"
    )
    assert all(annotations_of(pod) == stamp for pod in cluster.running("web"))


async def test_recreate_starts_new_pods_only_when_the_last_old_one_is_gone(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await deploy(cluster, 3, strategy={"type": "Recreate"})
    mixed: list[set[str]] = []

    def look(*_: object) -> None:
        mixed.append({pod["spec"]["containers"][0]["image"] for pod in cluster.all(PODS)})

    cluster.pods.add_handler(look)
    cluster.kubelet.stop_delay = 0.02
    await change_image(cluster, "2")
    await cluster.until(lambda: done(cluster, 3) and images(cluster) == ["example/app:2"], "recreated")
    assert {"example/app:1", "example/app:2"} not in mixed


async def test_a_paused_deployment_scales_but_does_not_roll_out(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await deploy(cluster, 2)
    paused = {"spec": {"paused": True, "replicas": 3, "template": template("web", image="example/app:2")}}
    await cluster.patch(DEPLOYMENTS, "web", paused)
    await cluster.until(lambda: len(cluster.ready("web")) == 3, "scaled")
    await cluster.settled()
    assert images(cluster) == ["example/app:1"]
    assert (condition(cluster.get(DEPLOYMENTS, "web"), "Progressing") or {})["reason"] == "DeploymentPaused"
    await cluster.patch(DEPLOYMENTS, "web", {"spec": {"paused": False}})
    await cluster.until(lambda: done(cluster, 3) and images(cluster) == ["example/app:2"], "rolled out")


async def test_scaling_to_nothing_and_back(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await deploy(cluster, 3)
    for replicas in (0, 2):
        await cluster.patch(DEPLOYMENTS, "web", {"spec": {"replicas": replicas}})
        await cluster.until(
            lambda r=replicas: done(cluster, r) and len(cluster.all(PODS)) == r, f"{replicas} replicas"
        )


async def test_pods_count_as_available_only_after_min_ready_seconds(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    body = workload(DEPLOYMENTS, "web", replicas=1, minReadySeconds=20)  # 0.2 s at this speed
    await cluster.create(DEPLOYMENTS, body)
    await cluster.until(lambda: cluster.get(DEPLOYMENTS, "web")["status"].get("readyReplicas") == 1, "ready")
    assert "availableReplicas" not in cluster.get(DEPLOYMENTS, "web")["status"]
    await cluster.until(lambda: done(cluster, 1), "available")


async def test_two_templates_with_the_same_hash_are_told_apart(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await deploy(cluster, 1)
    (first,) = cluster.all(REPLICA_SETS)
    await cluster.api.delete(DEPLOYMENTS, "web", "default", propagation_policy="Orphan")
    await cluster.until(lambda: not cluster.exists(DEPLOYMENTS, "web"), "the Deployment gone")
    # Somebody else's ReplicaSet holds the name that the new Deployment wants.
    owner = {"apiVersion": "v1", "kind": "Mystery", "name": "x", "uid": "u", "controller": True}
    await cluster.patch(REPLICA_SETS, name_of(first), {"metadata": {"ownerReferences": [owner]}})
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=1))
    await cluster.until(lambda: done(cluster, 1), "the Deployment complete")
    assert cluster.get(DEPLOYMENTS, "web")["status"]["collisionCount"] == 1
    assert len(cluster.all(REPLICA_SETS)) == 2


async def test_deleting_a_deployment_takes_replica_sets_and_pods_along(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await deploy(cluster, 2)
    await cluster.api.delete(DEPLOYMENTS, "web", "default", propagation_policy="Background")
    everything: tuple[Resource, ...] = (REPLICA_SETS, PODS)
    await cluster.until(lambda: not any(cluster.all(resource) for resource in everything), "all gone")
