"""What a pod goes through when its node's CNI is missing, broken or exhausted."""

from __future__ import annotations

import re

from node_rig import Rig, rig
from recorded_shapes import recording, shape

from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.simulator.cni.cilium_cni_file import FILE as CILIUM_FILE


def waiting_reason(cluster: Rig, name: str) -> str:
    pod = cluster.informers.of(PODS).get(name, "default")
    assert pod is not None
    reason: str = pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
    return reason


async def test_without_a_cni_only_pods_in_the_hosts_network_run() -> None:
    async with rig() as cluster:
        node = await cluster.add_node()
        await cluster.until(lambda: cluster.node(node) is not None, NODES)
        await cluster.run_pod("host", node=node, hostNetwork=True, tolerations=[{"operator": "Exists"}])
        await cluster.run_pod("pod", node=node, tolerations=[{"operator": "Exists"}])
        host = await cluster.pod_ready("host")
        assert host["status"]["podIP"] == host["status"]["hostIP"] == cluster.instances[0].private_ip
        event = await cluster.event("NetworkNotReady", "pod")
        assert event["message"].endswith("Network plugin returns error: cni plugin not initialized")
        assert waiting_reason(cluster, "pod") == "ContainerCreating"


async def test_a_pod_hangs_in_container_creating_when_the_cnis_agent_does_not_answer() -> None:
    async with rig() as cluster:
        node = await cluster.add_node()
        await cluster.eventually(lambda: cluster.fleet.machines.get(node))
        cluster.machine(node).cni_files.write("05-cilium.conflist", CILIUM_FILE)
        await cluster.node_ready(node)
        await cluster.run_pod("web", node=node)
        event, recorded = (
            await cluster.event("FailedCreatePodSandBox", "web"),
            recording("event-failed-sandbox.json"),
        )

        def anonymous(message: str) -> str:
            return re.sub(r"[0-9a-f]{64}", "ID", message)

        assert anonymous(event["message"]) == anonymous(recorded["message"])
        for version in (event, recorded):
            version["metadata"].pop("managedFields", None)
        assert shape(event) == shape(recorded)
        assert waiting_reason(cluster, "web") == "ContainerCreating"


async def test_a_configuration_whose_plugin_is_unknown_attaches_nothing() -> None:
    async with rig() as cluster:
        node = await cluster.add_node()
        await cluster.eventually(lambda: cluster.fleet.machines.get(node))
        cluster.machine(node).cni_files.write("10-other.conf", '{"type": "other"}')
        await cluster.node_ready(node)
        await cluster.run_pod("web", node=node)
        event = await cluster.event("FailedCreatePodSandBox", "web")
        assert event["message"].endswith('failed to find plugin "other" in path [/opt/cni/bin]')


async def test_fault_pod_sandbox_fails_on_new_nodes() -> None:
    async with rig(faults=("pod-sandbox-fails-on-new-nodes",)) as cluster:
        await cluster.install_kube_proxy()
        await cluster.install_aws_node()
        await cluster.install_cilium()
        old, new = await cluster.add_node(), await cluster.add_new_node()
        await cluster.node_ready(old, new)
        await cluster.run_pod("on-old", node=old)
        await cluster.run_pod("on-new", node=new)
        await cluster.pod_ready("on-old")
        await cluster.event("FailedCreatePodSandBox", "on-new")
        cluster.faults.clear("pod-sandbox-fails-on-new-nodes")
        await cluster.pod_ready("on-new")
