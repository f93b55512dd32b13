"""The life of a pod on a hollow node: start, readiness, restart, completion, end."""

from __future__ import annotations

from typing import Any

from node_rig import Rig, rig
from recorded_shapes import recording, shape

from pytest_cnimigrate.model.objects import Object, condition, is_pod_ready, parse_timestamp
from pytest_cnimigrate.model.resources import CONFIG_MAPS, JOBS, NODES, PODS


async def old_cluster(cluster: Rig) -> str:
    """One node of the VPC CNI, ready."""
    await cluster.install_aws_node()
    name = await cluster.add_node()
    await cluster.node_ready(name)
    return name


def status_of(cluster: Rig, name: str) -> Object:
    pod = cluster.informers.of(PODS).get(name, "default")
    assert pod is not None
    status: Object = pod["status"]
    return status


def container(**fields: Any) -> list[Object]:
    return [{"name": "main", "image": "example/app:1", **fields}]


async def test_a_ready_pod_looks_like_a_real_one() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node)
        status, recorded = (await cluster.pod_ready("web"))["status"], recording("pod-ready.json")["status"]
        for version in (status, recorded):
            version.pop("resources", None)  # of Kubernetes 1.33 and later
        known = {
            k: v for k, v in recorded["containerStatuses"][0].items() if k in status["containerStatuses"][0]
        }
        assert shape(status["containerStatuses"][0]) == shape(known)
        assert set(recorded["containerStatuses"][0]) - set(known) == {"resources", "user", "volumeMounts"}
        assert set(status) == set(recorded)
        assert {c["type"]: c["status"] for c in status["conditions"]} == {
            c["type"]: c["status"] for c in recorded["conditions"]
        }
        assert status["containerStatuses"][0]["image"] == "docker.io/example/app:1"


async def test_a_pod_goes_through_container_creating_before_it_has_an_address() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        seen: list[tuple[Any, ...]] = []

        def watch(_old: Object | None, new: Object | None) -> None:
            if (
                new is not None
                and new["metadata"]["name"] == "web"
                and new["status"].get("containerStatuses")
            ):
                state = new["status"]["containerStatuses"][0]["state"]
                reason = state.get("waiting", {}).get("reason", "running")
                seen.append(
                    (new["status"]["phase"], reason, bool(new["status"].get("podIP")), is_pod_ready(new))
                )

        cluster.informers.of(PODS).add_handler(watch)
        await cluster.run_pod("web", node=node)
        await cluster.pod_ready("web")
        assert list(dict.fromkeys(seen)) == [
            ("Pending", "ContainerCreating", False, False),
            ("Running", "running", True, False),
            ("Running", "running", True, True),
        ]


async def test_init_containers_run_one_after_the_other() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        init = [{"name": name, "image": "example/init:1"} for name in ("first", "second")]
        await cluster.run_pod("web", node=node, initContainers=init)
        status = (await cluster.pod_ready("web"))["status"]
        recorded = recording("pod-with-init-containers.json")["initContainerStatuses"][0]
        first, second = (entry["state"]["terminated"] for entry in status["initContainerStatuses"])
        assert shape(first) == shape(recorded["state"]["terminated"])
        assert first["reason"] == "Completed"
        assert parse_timestamp(first["finishedAt"]) <= parse_timestamp(second["startedAt"])
        assert [entry["ready"] for entry in status["initContainerStatuses"]] == [True, True]


async def test_kubelet_tells_what_it_does_in_events() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node)
        await cluster.pod_ready("web")
        for reason in ("Pulling", "Pulled", "Created", "Started"):
            (event,) = await cluster.events(reason, "web")
            assert event["source"] == {"component": "kubelet", "host": node}
            assert event["involvedObject"]["fieldPath"] == "spec.containers{main}"
        await cluster.api.delete(PODS, "web", "default")
        await cluster.until(lambda: cluster.informers.of(PODS).get("web", "default") is None, PODS)
        (killing,) = await cluster.events("Killing", "web")
        assert killing["message"] == "Stopping container main"


async def test_a_deleted_pod_ends_succeeded_and_gives_its_address_back() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node)
        address = (await cluster.pod_ready("web"))["status"]["podIP"]
        assert cluster.fleet.machines.sandbox_at(address) is not None
        phases: list[str] = []

        def watch(_old: Object | None, new: Object | None) -> None:
            if new is not None and new["metadata"]["name"] == "web":
                phases.append(new["status"]["phase"])

        cluster.informers.of(PODS).add_handler(watch)
        await cluster.api.delete(PODS, "web", "default")
        await cluster.until(lambda: cluster.informers.of(PODS).get("web", "default") is None, PODS)
        assert phases[-1] == "Succeeded"
        assert cluster.fleet.machines.sandbox_at(address) is None


async def test_a_pod_answers_until_its_pre_stop_hook_is_over() -> None:
    async with rig(speed=200) as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod(
            "web",
            node=node,
            containers=container(
                ports=[{"containerPort": 8080}], lifecycle={"preStop": {"exec": {"command": ["sleep", "30"]}}}
            ),
        )
        pod = await cluster.pod_ready("web")
        await cluster.api.delete(PODS, "web", "default")
        await cluster.eventually(
            lambda: "deletionTimestamp" in cluster.informers.of(PODS).get("web", "default")["metadata"]
        )  # type: ignore[index]
        assert (await cluster.get(pod, "/"))[0] == 200
        await cluster.until(lambda: cluster.informers.of(PODS).get("web", "default") is None, PODS)


async def test_a_forced_deletion_kills_at_once() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node)
        address = (await cluster.pod_ready("web"))["status"]["podIP"]
        await cluster.api.delete(PODS, "web", "default", grace_period_seconds=0)
        await cluster.eventually(lambda: cluster.fleet.machines.sandbox_at(address) is None)


async def test_a_crashing_container_is_restarted_with_a_growing_wait() -> None:
    async with rig(speed=300) as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("bad", node=node, containers=container(command=["false"]))

        def looping() -> bool:
            pod = cluster.informers.of(PODS).get("bad", "default")
            statuses = (pod or {"status": {}})["status"].get("containerStatuses") or [
                {"restartCount": 0, "state": {}}
            ]
            waiting = statuses[0]["state"].get("waiting", {})
            return statuses[0]["restartCount"] >= 3 and waiting.get("reason") == "CrashLoopBackOff"

        await cluster.until(looping, PODS)
        status = status_of(cluster, "bad")["containerStatuses"][0]
        assert (
            "back-off 20s restarting failed container=main pod=bad_default("
            in status["state"]["waiting"]["message"]
        )
        assert status["lastState"]["terminated"]["exitCode"] == 1
        assert await cluster.events("BackOff", "bad")


async def test_a_pod_that_is_not_restarted_completes() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod(
            "good", node=node, restartPolicy="Never", containers=container(command=["sleep", "1"])
        )
        await cluster.run_pod(
            "bad", node=node, restartPolicy="Never", containers=container(command=["sh", "-c", "exit 3"])
        )
        await cluster.until(lambda: status_of(cluster, "good")["phase"] == "Succeeded", PODS)
        await cluster.until(lambda: status_of(cluster, "bad")["phase"] == "Failed", PODS)
        ready = condition({"status": status_of(cluster, "good")}, "Ready")
        assert ready is not None
        assert (ready["status"], ready["reason"]) == ("False", "PodCompleted")
        assert status_of(cluster, "bad")["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


async def test_a_job_completes() -> None:
    async with rig() as cluster:
        await old_cluster(cluster)
        template = {"spec": {"restartPolicy": "Never", "containers": container()}}
        job = {
            "apiVersion": JOBS.api_version,
            "kind": "Job",
            "metadata": {"name": "once"},
            "spec": {"template": template},
        }
        await cluster.api.create(JOBS, job, "default")
        jobs = cluster.informers.of(JOBS)
        await cluster.until(
            lambda: condition(jobs.get("once", "default") or {}, "Complete") is not None, JOBS
        )


async def test_a_full_node_rejects_pods_that_were_bound_to_it() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        node = await cluster.add_node(max_pods=2)
        await cluster.node_ready(node)
        for name in ("one", "two"):
            await cluster.run_pod(name, node=node)
        await cluster.until(
            lambda: "Failed" in {status_of(cluster, "one")["phase"], status_of(cluster, "two")["phase"]}, PODS
        )
        both = [status_of(cluster, name) for name in ("one", "two")]
        failed = next(status for status in both if status["phase"] == "Failed")
        assert failed["reason"] == "OutOfpods"
        assert failed["message"].endswith("resource: pods, requested: 1, used: 2, capacity: 2")


async def test_a_node_that_no_longer_fits_rejects_the_pod() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node, nodeSelector={"no": "such-node"})
        assert (await cluster.event("NodeAffinity", "web"))["type"] == "Warning"
        await cluster.until(lambda: status_of(cluster, "web")["phase"] == "Failed", PODS)
        assert status_of(cluster, "web")["reason"] == "NodeAffinity"


async def test_a_pod_that_races_with_a_no_execute_taint_is_rejected() -> None:
    # Without the control loops: else the taint's eviction may win the race and the pod is gone.
    async with rig(controllers=False) as cluster:
        taint = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}
        node = await cluster.add_node(taints=(taint,))
        await cluster.until(lambda: cluster.node(node) is not None, NODES)
        await cluster.run_pod("web", node=node)
        await cluster.until(lambda: status_of(cluster, "web")["phase"] == "Failed", PODS)
        assert status_of(cluster, "web")["reason"] == "TaintToleration"


async def test_missing_configuration_is_said_and_waited_for() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        env = [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}}]
        await cluster.run_pod("web", node=node, containers=container(env=env))

        def waiting() -> bool:
            statuses = status_of(cluster, "web").get("containerStatuses") or [{"state": {}}]
            return bool(
                statuses[0]["state"].get("waiting", {}).get("message") == 'configmap "settings" not found'
            )

        await cluster.until(waiting, PODS)
        settings = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"mode": "x"},
        }
        await cluster.api.create(CONFIG_MAPS, settings, "default")
        pod = await cluster.pod_ready("web")
        assert "MODE=x\n" in (await cluster.fleet.execute(pod, "main", ["env"])).stdout


async def test_kubelet_puts_readiness_back_that_the_node_controller_has_taken() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node)
        pod = await cluster.pod_ready("web")
        unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        patched = await cluster.api.patch(
            PODS, "web", unready, "default", kind="strategic", subresource="status"
        )
        assert not is_pod_ready(patched)
        await cluster.until(
            lambda: (
                cluster.informers.of(PODS).has_seen(patched)
                and is_pod_ready(cluster.informers.of(PODS).get("web", "default") or pod)
            ),
            PODS,
        )
