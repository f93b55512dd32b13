"""Cilium takes over a tainted node: in the order, with the objects and in the words of a real cluster."""

from __future__ import annotations

import json

from node_rig import TAINT, Rig, node_condition, rig
from recorded_shapes import recording, shape

from pytest_cnimigrate.model.objects import Object, labels_of
from pytest_cnimigrate.model.resources import (
    CILIUM_ENDPOINTS,
    CILIUM_IDENTITIES,
    CILIUM_NODE_CONFIGS,
    CILIUM_NODES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    NODES,
    PODS,
)
from pytest_cnimigrate.simulator.cni.cilium_pool import AddressPool


def tainted(node: Object | None) -> list[Object]:
    return [t for t in (node or {"spec": {}})["spec"].get("taints") or () if t["key"] == TAINT["key"]]


async def cilium_cluster(cluster: Rig, **config: str) -> str:
    """A new node with Cilium, ready."""
    await cluster.install_cilium(**config)
    name = await cluster.add_new_node()
    await cluster.node_ready(name)
    return name


async def agent_on(cluster: Rig, node: str) -> Object:
    return await cluster.eventually(
        lambda: next((p for p in cluster.pods(k8s_app="cilium") if p["spec"].get("nodeName") == node), None)
    )


async def status_of_agent(cluster: Rig, node: str) -> Object:
    pod = await agent_on(cluster, node)
    result = await cluster.fleet.execute(pod, "cilium", ["cilium-dbg", "status", "-o", "json"])
    assert result.exit_code == 0
    status: Object = json.loads(result.stdout)
    return status


async def test_the_taint_goes_then_cilium_is_up_then_the_node_is_ready() -> None:
    async with rig(speed=100) as cluster:
        order: list[str] = []

        def watch(_old: Object | None, new: Object | None) -> None:
            if new is None or labels_of(new).get("cni") == "aws-cni":
                return
            for entry, holds in (
                ("tainted", bool(tainted(new))),
                ("no taint", not tainted(new)),
                ("CiliumIsUp", node_condition(new, "NetworkUnavailable", "reason") == "CiliumIsUp"),
                ("Ready", node_condition(new, "Ready") == "True"),
            ):
                if holds and entry not in order:
                    order.append(entry)

        cluster.informers.of(NODES).add_handler(watch)
        name = await cilium_cluster(cluster)
        assert order == ["tainted", "no taint", "CiliumIsUp", "Ready"]
        assert node_condition(cluster.node(name), "NetworkUnavailable") == "False"
        assert (
            node_condition(cluster.node(name), "NetworkUnavailable", "message")
            == "Cilium is running on this node"
        )


async def test_every_taint_with_the_key_goes_whatever_its_value_and_effect() -> None:
    async with rig() as cluster:
        await cluster.install_cilium()
        other = {"key": "example.com/keep", "effect": "NoSchedule"}
        name = await cluster.add_node(
            "new", taints=(TAINT, {**TAINT, "effect": "NoExecute", "value": "x"}, other)
        )
        await cluster.node_ready(name)
        node = cluster.node(name)
        assert node is not None
        assert not tainted(node)
        assert other in node["spec"]["taints"]


async def test_pods_on_the_new_node_become_endpoints_of_the_recorded_shape() -> None:
    async with rig() as cluster:
        node = await cilium_cluster(cluster)
        await cluster.run_pod(
            "web", node=node, labels={"app.kubernetes.io/name": "web", "pod-template-hash": "x"}
        )
        pod = await cluster.pod_ready("web")
        endpoint = await cluster.api.get(CILIUM_ENDPOINTS, "web", "default")
        recorded = recording("cilium-endpoint.json")
        assert shape(endpoint["status"]) == shape(recorded["status"])
        assert shape(endpoint["metadata"]["ownerReferences"]) == shape(
            recorded["metadata"]["ownerReferences"]
        )
        assert endpoint["status"]["state"] == "ready"
        assert endpoint["status"]["networking"]["addressing"] == [{"ipv4": pod["status"]["podIP"]}]
        assert endpoint["status"]["identity"]["labels"] == [
            "k8s:app.kubernetes.io/name=web",
            "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default",
            "k8s:io.cilium.k8s.policy.cluster=rig",
            "k8s:io.cilium.k8s.policy.serviceaccount=default",
            "k8s:io.kubernetes.pod.namespace=default",
        ]
        identity = await cluster.api.get(CILIUM_IDENTITIES, str(endpoint["status"]["identity"]["id"]))
        recorded_identity = recording("cilium-identity.json")
        assert set(identity) == set(recorded_identity)
        assert identity["metadata"]["labels"] == {"io.kubernetes.pod.namespace": "default"}
        await cluster.api.delete(PODS, "web", "default")
        endpoints = cluster.informers.of(CILIUM_ENDPOINTS)
        await cluster.until(lambda: endpoints.get("web", "default") is None, CILIUM_ENDPOINTS)


async def test_pods_with_the_same_labels_share_an_identity() -> None:
    async with rig() as cluster:
        node = await cilium_cluster(cluster)
        for name in ("one", "two"):
            await cluster.run_pod(name, node=node, labels={"app": "web"})
            await cluster.pod_ready(name)
        found, _ = await cluster.api.list(CILIUM_ENDPOINTS, "default")
        assert len({endpoint["status"]["identity"]["id"] for endpoint in found}) == 1


async def test_in_eni_mode_the_operator_keeps_eight_addresses_free() -> None:
    async with rig() as cluster:
        name = await cilium_cluster(cluster)
        instance = cluster.instances[0]
        nodes = cluster.informers.of(CILIUM_NODES)

        def free() -> int:
            node = nodes.get(name)
            assert node is not None
            ipam = node.get("status", {}).get("ipam", {})
            return len(node["spec"]["ipam"].get("pool", {})) - len(ipam.get("used", {}))

        def added() -> list[Object]:
            enis = (nodes.get(name) or {}).get("status", {}).get("eni", {}).get("enis", {})
            return [eni for eni in enis.values() if eni.get("number")]

        # Router and health endpoint take two: with the nine of the first interface that does not suffice.
        await cluster.until(lambda: bool(added()) and free() >= 8, CILIUM_NODES)
        node = nodes.get(name)
        assert node is not None
        assert node["spec"]["instance-id"] == instance.instance_id
        assert node["status"]["ipam"]["operator-status"] == {}
        for eni in added():
            assert eni["description"] == f"Cilium-CNI ({instance.instance_id})"
            assert eni["tags"] == {"io.cilium/cilium-managed": "true", "io.cilium/cluster-name": "rig"}
            assert eni["security-groups"] == [cluster.security_group]
            assert eni["subnet"]["id"] == instance.subnet_id
        before = set(node["spec"]["ipam"]["pool"])
        for index in range(6):
            await cluster.run_pod(f"web-{index}", node=name)
        for index in range(6):
            await cluster.pod_ready(f"web-{index}")
        await cluster.until(
            lambda: len(nodes.get(name)["spec"]["ipam"]["pool"]) > len(before) and free() >= 8,  # type: ignore[index]
            CILIUM_NODES,
        )
        owners = {entry["owner"] for entry in nodes.get(name)["status"]["ipam"]["used"].values()}  # type: ignore[index]
        assert {"router", "health", "default/web-0"} <= owners


async def test_in_cluster_pool_mode_a_node_is_first_seen_without_a_range() -> None:
    async with rig() as cluster:
        versions: list[Object] = []

        def watch(_old: Object | None, new: Object | None) -> None:
            if new is not None:
                versions.append(new)

        await cluster.install_cilium(ipam="cluster-pool", cluster_pool_ipv4_cidr="10.245.0.0/16")
        cluster.informers.of(CILIUM_NODES).add_handler(watch)
        name = await cluster.add_new_node()
        await cluster.node_ready(name)
        await cluster.eventually(lambda: versions[-1]["spec"]["health"] if versions else None)
        recorded = recording("cilium-node-cluster-pool.json")
        assert shape(versions[0]["spec"]) == shape(recorded["first"]["spec"])
        assert shape(versions[-1]["spec"]) == shape(recorded["last"]["spec"])
        assert shape(versions[-1]["status"]) == shape(recorded["last"]["status"])
        await cluster.run_pod("web", node=name)
        assert (await cluster.pod_ready("web"))["status"]["podIP"].startswith("10.245.0.")


async def test_the_agent_proves_that_it_owns_the_cni_file() -> None:
    async with rig() as cluster:
        name = await cilium_cluster(cluster)
        status = await status_of_agent(cluster, name)
        assert status["cni-file"] == {
            "state": "Ok",
            "msg": "successfully wrote CNI configuration file to /host/etc/cni/net.d/05-cilium.conflist",
        }
        assert status["cilium"]["state"] == status["kubernetes"]["state"] == "Ok"
        pod = await agent_on(cluster, name)
        listed = await cluster.fleet.execute(pod, "cilium", ["ls", "/host/etc/cni/net.d"])
        assert listed.stdout == "05-cilium.conflist\n"
        config = await cluster.fleet.execute(pod, "cilium", ["cilium-dbg", "config"])
        assert "cni-exclusive" in config.stdout


async def test_other_configurations_are_hidden_also_those_that_come_later() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node(fenced=False)
        name = await cluster.add_new_node()
        # Not fenced: the node is Ready with the old CNI and still tainted, before Cilium.
        await cluster.node_ready(name)
        assert tainted(cluster.node(name))
        await cluster.install_cilium()
        await cluster.until(lambda: not tainted(cluster.node(name)), NODES)
        files = cluster.machine(name).cni_files
        assert files.names() == ["05-cilium.conflist", "10-aws.conflist.cilium_bak"]
        files.write("99-late.conf", '{"type": "late"}')
        assert files.configurations() == ["05-cilium.conflist"]


async def test_without_cni_exclusive_others_stay_beside_it() -> None:
    async with rig() as cluster:
        name = await cilium_cluster(cluster, cni_exclusive="false")
        files = cluster.machine(name).cni_files
        files.write("10-aws.conflist", '{"plugins": [{"type": "aws-cni"}]}')
        assert files.configurations() == ["05-cilium.conflist", "10-aws.conflist"]


async def test_custom_conf_leaves_the_node_to_the_old_cni_until_a_node_config_says_otherwise() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node(fenced=False)
        await cluster.install_cilium(custom_cni_conf="true", write_cni_conf_when_ready="")
        name = await cluster.add_new_node()
        await cluster.until(lambda: not tainted(cluster.node(name)) and bool(cluster.node(name)), NODES)
        agent = await agent_on(cluster, name)
        assert (await status_of_agent(cluster, name))["cni-file"]["state"] == "Disabled"
        await cluster.node_ready(name)
        assert cluster.machine(name).cni_files.names() == ["10-aws.conflist"]
        override = recording_of_the_guide()
        await cluster.api.create(CILIUM_NODE_CONFIGS, override, "kube-system")
        await cluster.api.patch(NODES, name, {"metadata": {"labels": {"migrate": "true"}}})
        # Nothing happens before the agent restarts: it has read its configuration when it started.
        assert cluster.machine(name).cni_files.names() == ["10-aws.conflist"]
        await cluster.api.delete(PODS, agent["metadata"]["name"], "kube-system")
        await cluster.eventually(lambda: "05-cilium.conflist" in cluster.machine(name).cni_files.names())


def recording_of_the_guide() -> Object:
    """The CiliumNodeConfig of Cilium's migration guide."""
    return {
        "apiVersion": CILIUM_NODE_CONFIGS.api_version,
        "kind": "CiliumNodeConfig",
        "metadata": {"name": "cilium-default"},
        "spec": {
            "nodeSelector": {"matchLabels": {"migrate": "true"}},
            "defaults": {
                "cni-exclusive": "true",
                "custom-cni-conf": "false",
                "write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist",
            },
        },
    }


async def test_a_change_of_the_config_map_needs_a_restart_of_the_agents() -> None:
    async with rig() as cluster:
        name = await cilium_cluster(cluster)
        agent = await agent_on(cluster, name)

        async def policy(pod: Object) -> str:
            result = await cluster.fleet.execute(pod, "cilium", ["cilium-dbg", "config"])
            return next(line for line in result.stdout.splitlines() if line.startswith("enable-policy"))

        await cluster.api.patch(
            CONFIG_MAPS, "cilium-config", {"data": {"enable-policy": "never"}}, "kube-system"
        )
        assert (await policy(agent)).endswith(": default")
        await cluster.api.delete(PODS, agent["metadata"]["name"], "kube-system")
        await cluster.until(
            lambda: agent["metadata"]["name"] not in {p["metadata"]["name"] for p in cluster.pods()}, PODS
        )
        fresh = await agent_on(cluster, name)
        await cluster.pod_ready(fresh["metadata"]["name"], "kube-system")
        assert (await policy(fresh)).endswith(": never")


async def test_pods_keep_their_endpoints_and_addresses_over_a_restart_of_the_agent() -> None:
    async with rig() as cluster:
        name = await cilium_cluster(cluster)
        await cluster.run_pod("web", node=name)
        pod = await cluster.pod_ready("web")
        agent = await agent_on(cluster, name)
        await cluster.api.delete(PODS, agent["metadata"]["name"], "kube-system")
        await cluster.until(lambda: bool(tainted(cluster.node(name))), NODES)
        assert tainted(cluster.node(name)) == [{"key": TAINT["key"], "effect": "NoSchedule"}], (
            "without a value"
        )
        assert await cluster.get(pod, "/") == (200, "web\n"), "the data plane outlives its agent"
        assert node_condition(cluster.node(name), "NetworkUnavailable", "reason") == "CiliumIsUp", (
            "stale, as recorded"
        )
        await cluster.until(lambda: not tainted(cluster.node(name)), NODES)
        endpoint = await cluster.api.get(CILIUM_ENDPOINTS, "web", "default")
        assert endpoint["status"]["networking"]["addressing"][0]["ipv4"] == pod["status"]["podIP"]


async def test_the_file_stays_when_cilium_is_deleted() -> None:
    async with rig() as cluster:
        name = await cilium_cluster(cluster)
        await cluster.api.delete(DAEMON_SETS, "cilium", "kube-system", propagation_policy="Background")
        await cluster.until(lambda: not cluster.pods(k8s_app="cilium"), PODS)
        assert cluster.machine(name).cni_files.active() == "05-cilium.conflist"
        await cluster.run_pod("web", node=name)
        event = await cluster.event("FailedCreatePodSandBox", "web")
        assert event["message"].endswith("Is the agent running?")


async def test_agents_wait_for_the_operator_to_register_the_resources() -> None:
    async with rig() as cluster:
        await cluster.install_cilium(operator=False)
        name = await cluster.add_new_node()
        agent = await agent_on(cluster, name)

        await cluster.log_line(agent, "cilium", "Still waiting for Cilium Operator")
        assert tainted(cluster.node(name))
        assert len(cluster.informers.of(CUSTOM_RESOURCE_DEFINITIONS)) == 0


def test_an_address_is_given_once_until_it_comes_back() -> None:
    pool = AddressPool()
    assert pool.empty
    pool.set_addresses({"10.0.0.1": "eni-1", "10.0.0.2": "eni-1"})
    assert {pool.allocate("a"), pool.allocate("b")} == {"10.0.0.1", "10.0.0.2"}
    assert pool.allocate("c") is None
    pool.release("10.0.0.2")
    assert pool.allocate("c") == "10.0.0.2"
    assert pool.used == {"10.0.0.1": "a", "10.0.0.2": "c"}
