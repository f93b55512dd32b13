"""Proxy, exec and logs reach into pods, and say in the cluster's words when they cannot."""

from __future__ import annotations

import pytest
from node_rig import Rig, rig

from pytest_cnimigrate.model.resources import NODES
from pytest_cnimigrate.simulator.gateway import GatewayError, HttpRequest

CNI_MOUNT = {
    "volumes": [{"name": "cni", "hostPath": {"path": "/etc/cni"}}],
    "containers": [
        {
            "name": "main",
            "image": "example/debug:1",
            "volumeMounts": [{"name": "cni", "mountPath": "/host/etc/cni"}],
        }
    ],
}


async def old_cluster(cluster: Rig) -> str:
    await cluster.install_aws_node()
    node = await cluster.add_node()
    await cluster.node_ready(node)
    return node


async def test_a_declared_port_answers_and_others_are_refused() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node)
        pod = await cluster.pod_ready("web")
        assert await cluster.get(pod, "/") == (200, "web\n")
        with pytest.raises(GatewayError, match=r"dial tcp .*:9999: connect: connection refused"):
            await cluster.fleet.request(pod, 9999, HttpRequest("GET", "/"))


async def test_a_pod_of_a_node_that_is_gone_times_out() -> None:
    async with rig(speed=300) as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node)
        pod = await cluster.pod_ready("web")
        await cluster.fleet.terminate(cluster.instances[0].instance_id)
        with pytest.raises(GatewayError, match="i/o timeout"):
            await cluster.fleet.request(pod, 8080, HttpRequest("GET", "/"))
        with pytest.raises(GatewayError, match=r"error dialing backend: .*:10250: i/o timeout"):
            await cluster.fleet.execute(pod, "main", ["true"])


async def test_the_cni_files_can_be_read_and_put_back_by_hand() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        files = cluster.machine(node).cni_files
        files.write("05-cilium.conflist.cilium_bak", "{}")
        await cluster.run_pod("debug", node=node, **CNI_MOUNT)
        pod = await cluster.pod_ready("debug")

        async def run(*command: str) -> tuple[int, str]:
            result = await cluster.fleet.execute(pod, "main", list(command))
            return result.exit_code, result.stdout + result.stderr

        directory = "/host/etc/cni/net.d"
        assert await run("ls", directory) == (0, "05-cilium.conflist.cilium_bak\n10-aws.conflist\n")
        assert '"aws-cni"' in (await run("cat", f"{directory}/10-aws.conflist"))[1]
        hidden, cilium, aws = (
            f"{directory}/{name}"
            for name in ("05-cilium.conflist.cilium_bak", "05-cilium.conflist", "10-aws.conflist")
        )
        script = f"mv {hidden} {cilium} && rm {aws}"
        assert await run("sh", "-c", script) == (0, "")
        assert files.names() == ["05-cilium.conflist"]
        assert (await run("cat", f"{directory}/10-aws.conflist"))[0] == 1
        assert (await run("ls", "/elsewhere"))[0] == 2


async def test_a_container_without_the_mount_does_not_see_the_files() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node)
        pod = await cluster.pod_ready("web")
        result = await cluster.fleet.execute(pod, "main", ["ls", "/etc/cni/net.d"])
        assert result.exit_code == 2
        assert "No such file or directory" in result.stderr


async def test_an_unknown_command_ends_as_runc_says_it() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        await cluster.run_pod("web", node=node)
        result = await cluster.fleet.execute(await cluster.pod_ready("web"), "main", ["tcpdump"])
        assert result.exit_code == 127
        assert 'exec: "tcpdump": executable file not found in $PATH' in result.stderr


async def test_a_container_that_has_not_started_has_no_shell_and_no_log() -> None:
    async with rig() as cluster:
        node = await cluster.add_node()
        await cluster.until(lambda: cluster.node(node) is not None, NODES)
        await cluster.run_pod("web", node=node)
        pod = await cluster.eventually(lambda: next(iter(cluster.pods(app="web")), None))
        await cluster.eventually(lambda: cluster.fleet._kubelets[node].workers)
        with pytest.raises(GatewayError, match="container not found"):
            await cluster.fleet.execute(pod, "main", ["true"])
        with pytest.raises(GatewayError, match="is waiting to start: ContainerCreating"):
            await cluster.fleet.logs(pod, "main")
        with pytest.raises(GatewayError, match="previous terminated container"):
            await cluster.fleet.logs(pod, "main", previous=True)


async def test_logs_of_a_program() -> None:
    async with rig() as cluster:
        node = await old_cluster(cluster)
        (pod,) = cluster.pods(k8s_app="aws-node")
        assert pod["spec"]["nodeName"] == node
        assert "config file" in (await cluster.fleet.logs(pod, "aws-node"))[-1]
