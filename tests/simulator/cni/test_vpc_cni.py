"""The AWS VPC CNI: interfaces, addresses, the CNI file, and what it says when there are no more."""

from __future__ import annotations

from node_rig import Rig, node_condition, rig

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import DAEMON_SETS, NODES, PODS


def interfaces(cluster: Rig, index: int = 0) -> list[Object]:
    found = cluster.vpc.interfaces_of(cluster.instances[index].instance_id)
    return [{"tags": i.tags, "description": i.description, "addresses": i.secondary_addresses} for i in found]


async def test_aws_node_makes_a_node_ready_by_writing_its_file_last() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        name = await cluster.add_node()
        await cluster.eventually(lambda: cluster.fleet.machines.get(name))
        files = cluster.machine(name).cni_files
        addresses_at_write: list[int] = []
        files.watch(lambda: addresses_at_write.append(len(interfaces(cluster)[0]["addresses"])))
        await cluster.node_ready(name)
        assert files.names() == ["10-aws.conflist"]
        assert files.plugin_type() == "aws-cni"
        assert addresses_at_write == [9], "the pool was there before the file"


async def test_the_condition_network_unavailable_is_not_its_business() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        name = await cluster.add_node()
        await cluster.node_ready(name)
        assert node_condition(cluster.node(name), "NetworkUnavailable") == ""


async def test_a_whole_interface_is_kept_warm() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        name = await cluster.add_node()
        await cluster.node_ready(name)
        instance = cluster.instances[0].instance_id
        primary, warm = interfaces(cluster)
        assert primary["description"] == ""
        assert warm["description"] == f"aws-K8S-{instance}"
        assert warm["tags"]["node.k8s.amazonaws.com/instance_id"] == instance
        assert len(warm["addresses"]) == 9
        # The warm interface comes into use: a third one is attached.
        for index in range(11):
            await cluster.run_pod(f"web-{index}", node=name)
        await cluster.eventually(lambda: len(interfaces(cluster)) == 3)


async def test_pods_get_addresses_of_the_nodes_interfaces() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        name = await cluster.add_node()
        await cluster.node_ready(name)
        for index in range(3):
            await cluster.run_pod(f"web-{index}", node=name)
        pods = [await cluster.pod_ready(f"web-{index}") for index in range(3)]
        addresses = {pod["status"]["podIP"] for pod in pods}
        assert len(addresses) == 3
        assert addresses <= {a for entry in interfaces(cluster) for a in entry["addresses"]}
        assert {cluster.vpc.instance_with_address(a) for a in addresses} == {cluster.instances[0].instance_id}


async def test_a_returned_address_cools_down_before_it_is_used_again() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        name = await cluster.add_node()
        await cluster.node_ready(name)
        await cluster.run_pod("first", node=name)
        address = (await cluster.pod_ready("first"))["status"]["podIP"]
        await cluster.api.delete(PODS, "first", "default")
        await cluster.until(lambda: cluster.informers.of(PODS).get("first", "default") is None, PODS)
        await cluster.run_pod("second", node=name)
        assert (await cluster.pod_ready("second"))["status"]["podIP"] != address


async def test_a_node_without_free_addresses_says_what_the_plugin_says() -> None:
    # A /28 has 11 free addresses: ten for the node's first interface, one is left.
    async with rig(subnet_prefix=28) as cluster:
        await cluster.install_aws_node()
        name = await cluster.add_node()
        await cluster.node_ready(name)
        for index in range(10):
            await cluster.run_pod(f"web-{index}", node=name)
        last = await cluster.eventually(
            lambda: (
                [
                    pod
                    for pod in cluster.pods()
                    if pod["metadata"]["name"].startswith("web") and not pod["status"].get("podIP")
                ]
                if sum(bool(p["status"].get("podIP")) for p in cluster.pods()) == 10
                else None
            )
        )
        event = await cluster.event("FailedCreatePodSandBox", last[0]["metadata"]["name"])
        assert event["message"].endswith("add cmd: failed to assign an IP address to container")
        (agent,) = cluster.pods(k8s_app="aws-node")
        log = await cluster.fleet.logs(agent, "aws-node")
        assert "InsufficientFreeAddressesInSubnet" in log[-1]


async def test_after_its_daemon_has_gone_pods_keep_their_network_but_no_new_one_starts() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        name = await cluster.add_node()
        await cluster.node_ready(name)
        await cluster.run_pod("before", node=name)
        before = await cluster.pod_ready("before")
        await cluster.api.delete(DAEMON_SETS, "aws-node", "kube-system", propagation_policy="Background")
        await cluster.until(lambda: not cluster.pods(k8s_app="aws-node"), PODS)
        assert await cluster.get(before, "/") == (200, "before\n")
        assert cluster.machine(name).cni_files.active() == "10-aws.conflist", "the file stays"
        await cluster.run_pod("after", node=name)
        event = await cluster.event("FailedCreatePodSandBox", "after")
        assert "dial tcp 127.0.0.1:50051: connect: connection refused" in event["message"]


async def test_where_it_is_fenced_off_the_node_stays_without_a_network() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        old, new = await cluster.add_node(), await cluster.add_new_node()
        await cluster.node_ready(old)
        await cluster.until(lambda: cluster.node(new) is not None, NODES)
        assert cluster.machine(new).cni_files.names() == []
        assert {pod["spec"]["nodeName"] for pod in cluster.pods(k8s_app="aws-node")} == {old}
