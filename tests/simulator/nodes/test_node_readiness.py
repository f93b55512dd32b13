"""A node is what its instance and its CNI directory make of it."""

from __future__ import annotations

import asyncio

from node_rig import NEW, TAINT, node_condition, rig
from recorded_shapes import recording, shape

from pytest_cnimigrate.model.objects import Object, condition, parse_timestamp
from pytest_cnimigrate.model.resources import CSI_NODES, LEASES, NODES

NOT_READY = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)


async def test_a_node_without_a_cni_says_so_in_kubelets_words() -> None:
    async with rig() as cluster:
        name = await cluster.add_new_node()
        await cluster.until(lambda: cluster.node(name) is not None, NODES)
        recorded = recording("node-without-cni.json")
        assert (
            node_condition(cluster.node(name), "Ready", "message")
            == recorded["status"]["conditions"][3]["message"]
            == f"[{NOT_READY}, CSINode is not yet initialized]"
        )
        # Ten seconds later the CSINode is there and one reason is left.
        await cluster.until(
            lambda: node_condition(cluster.node(name), "Ready", "message") == NOT_READY, NODES
        )
        assert node_condition(cluster.node(name), "Ready", "reason") == "KubeletNotReady"
        owner = (await cluster.api.get(CSI_NODES, name))["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"]) == ("Node", name)


async def test_a_node_has_the_fields_of_a_real_one() -> None:
    async with rig() as cluster:
        name = await cluster.add_new_node()
        await cluster.until(lambda: cluster.node(name) is not None, NODES)
        node, recorded = cluster.node(name), recording("node-without-cni.json")
        assert node is not None
        assert shape(node["status"]["conditions"][3]) == shape(recorded["status"]["conditions"][3])
        assert [entry["type"] for entry in node["status"]["conditions"]] == [
            entry["type"] for entry in recorded["status"]["conditions"]
        ]
        assert shape(node["status"]["nodeInfo"]) == shape(
            {k: v for k, v in recorded["status"]["nodeInfo"].items() if k != "swap"}
        )
        assert node["status"]["daemonEndpoints"] == recorded["status"]["daemonEndpoints"]
        assert set(recorded["status"]["allocatable"]) == set(node["status"]["allocatable"])


async def test_an_eks_node_can_be_told_by_provider_id_labels_and_taint() -> None:
    async with rig() as cluster:
        name = await cluster.add_new_node(max_pods=17)
        await cluster.until(lambda: cluster.node(name) is not None, NODES)
        node, instance = cluster.node(name), cluster.instances[0]
        assert node is not None
        assert node["spec"]["providerID"] == f"aws:///{instance.availability_zone}/{instance.instance_id}"
        labels = node["metadata"]["labels"]
        assert labels["eks.amazonaws.com/nodegroup"] == NEW
        assert labels["kubernetes.io/hostname"] == name
        assert labels["topology.kubernetes.io/zone"] == instance.availability_zone
        assert labels["topology.kubernetes.io/region"] == "us-west-1"
        assert TAINT in node["spec"]["taints"]
        assert node["status"]["allocatable"]["pods"] == "17"
        assert {"type": "InternalIP", "address": instance.private_ip} in node["status"]["addresses"]


async def test_ready_follows_the_cni_directory_both_ways() -> None:
    async with rig() as cluster:
        name = await cluster.add_node()
        await cluster.eventually(lambda: cluster.fleet.machines.get(name))
        files = cluster.machine(name).cni_files
        files.write("10-other.conflist", '{"plugins": [{"type": "other"}]}')
        await cluster.node_ready(name)
        assert node_condition(cluster.node(name), "Ready", "message") == "kubelet is posting ready status"
        files.rename("10-other.conflist", "10-other.conflist.cilium_bak")
        await cluster.node_ready(name, status="False")
        assert await cluster.events("NodeReady", name)


async def test_a_silent_node_is_alive_as_long_as_its_lease_is_renewed() -> None:
    async with rig() as cluster:
        name = await cluster.add_node()
        leases = cluster.informers.of(LEASES)
        await cluster.until(lambda: leases.get(name, "kube-node-lease") is not None, LEASES)
        lease = leases.get(name, "kube-node-lease")
        assert lease is not None
        first = parse_timestamp(lease["spec"]["renewTime"])
        assert lease["spec"]["leaseDurationSeconds"] == 40
        await cluster.until(
            lambda: parse_timestamp(leases.get(name, "kube-node-lease")["spec"]["renewTime"]) > first,  # type: ignore[index]
            LEASES,
        )


async def test_a_terminated_instance_takes_its_node_object_with_it() -> None:
    async with rig(speed=300) as cluster:
        name = await cluster.add_node()
        await cluster.until(lambda: cluster.node(name) is not None, NODES)
        await cluster.fleet.terminate(cluster.instances[0].instance_id)
        assert cluster.node(name) is not None, (
            "the object stays until the cloud controller misses the instance"
        )
        await cluster.until(lambda: cluster.node(name) is None, NODES)


async def test_a_node_turns_unknown_before_it_is_deleted() -> None:
    # As recorded: the cloud controller asks the cloud only about nodes that are not Ready.
    async with rig(speed=300) as cluster:
        name = await cluster.add_node()
        await cluster.install_aws_node()
        await cluster.node_ready(name)
        seen: list[str] = []

        def note(old: Object | None, new: Object | None) -> None:
            ready = condition(new, "Ready") if new is not None else None
            seen.append(ready["status"] if ready else "deleted")

        cluster.informers.of(NODES).add_handler(note)
        await cluster.fleet.terminate(cluster.instances[0].instance_id)
        await cluster.until(lambda: cluster.node(name) is None, NODES)
        assert seen[-1] == "deleted"
        assert seen[-2] == "Unknown"


async def test_an_instance_that_is_terminated_while_it_boots_never_becomes_a_node() -> None:
    async with rig() as cluster:
        name = await cluster.add_node()
        await cluster.fleet.terminate(cluster.instances[0].instance_id)
        other = await cluster.add_node()
        await cluster.until(lambda: cluster.node(other) is not None, NODES)
        assert cluster.node(name) is None


async def test_fault_node_never_registers() -> None:
    async with rig(speed=500, faults=("node-never-registers",)) as cluster:
        await cluster.add_node()
        cluster.faults.activate("node-never-registers")
        await asyncio.sleep(cluster.pace.wall(40))
        assert len(cluster.informers.of(NODES)) == 0
        cluster.faults.clear("node-never-registers")
        name = await cluster.add_node()
        await cluster.until(lambda: cluster.node(name) is not None, NODES)
