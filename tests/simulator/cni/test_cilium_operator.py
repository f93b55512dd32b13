"""The operator: leadership, resources, refusals of the cloud, unmanaged pods, nodes that are gone."""

from __future__ import annotations

from node_rig import TAINT, Rig, deployment, node_condition, rig

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import (
    CILIUM_NODES,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    LEASES,
    NODES,
    PODS,
)


def tainted(cluster: Rig, name: str) -> bool:
    node = cluster.node(name)
    return node is not None and any(t["key"] == TAINT["key"] for t in node["spec"].get("taints") or ())


def operator_error(cluster: Rig, name: str) -> str:
    node = cluster.informers.of(CILIUM_NODES).get(name) or {}
    error: str = node.get("status", {}).get("ipam", {}).get("operator-status", {}).get("error", "")
    return error


async def test_the_leader_registers_ciliums_resources() -> None:
    async with rig() as cluster:
        await cluster.install_cilium()
        await cluster.add_new_node()
        crds = cluster.informers.of(CUSTOM_RESOURCE_DEFINITIONS)
        await cluster.until(lambda: len(crds) == 10, CUSTOM_RESOURCE_DEFINITIONS)
        assert {"ciliumnodes.cilium.io", "ciliumendpoints.cilium.io", "ciliumnodeconfigs.cilium.io"} <= {
            crd["metadata"]["name"] for crd in crds.all()
        }


async def test_of_two_replicas_one_leads_and_the_other_takes_over() -> None:
    async with rig() as cluster:
        await cluster.install_cilium()
        await cluster.api.patch(DEPLOYMENTS, "cilium-operator", {"spec": {"replicas": 2}}, "kube-system")
        name = await cluster.add_new_node()
        await cluster.node_ready(name)
        leases = cluster.informers.of(LEASES)

        def holder() -> str:
            lease = leases.get("cilium-operator-resource-lock", "kube-system")
            return str(lease["spec"].get("holderIdentity")) if lease else ""

        await cluster.until(lambda: bool(holder()), LEASES)
        first = holder()
        operators = cluster.pods(name="cilium-operator")
        assert len(operators) == 2
        (leader,) = (pod for pod in operators if first.endswith(pod["metadata"]["uid"][:10]))
        (standby,) = (pod for pod in operators if pod is not leader)
        log = "\n".join(await cluster.fleet.logs(standby, "main"))
        assert "attempting to acquire leader lease" in log
        assert "Leading the operator" not in log
        await cluster.api.delete(PODS, leader["metadata"]["name"], "kube-system")
        await cluster.until(lambda: holder() not in ("", first), LEASES)
        # The new leader does the work: a further node loses its taint.
        other = await cluster.add_new_node()
        await cluster.node_ready(other)
        await cluster.until(lambda: not tainted(cluster, other), NODES)


async def test_an_exhausted_subnet_is_reported_in_the_cilium_node() -> None:
    # A /28 has 11 free addresses; the node itself and eight for Cilium leave two.
    async with rig(subnet_prefix=28) as cluster:
        await cluster.install_cilium()
        name = await cluster.add_new_node()
        await cluster.node_ready(name)
        for index in range(4):
            await cluster.run_pod(f"web-{index}", node=name)
        await cluster.until(
            lambda: "InsufficientFreeAddressesInSubnet" in operator_error(cluster, name), CILIUM_NODES
        )


async def test_fault_operator_without_ec2_rights_leaves_the_node_tainted_and_without_addresses() -> None:
    async with rig(faults=("cilium-operator-no-ec2-rights",)) as cluster:
        await cluster.install_cilium()
        name = await cluster.add_new_node()
        await cluster.until(lambda: "UnauthorizedOperation" in operator_error(cluster, name), CILIUM_NODES)
        node = cluster.informers.of(CILIUM_NODES).get(name)
        assert node is not None
        assert not node["spec"]["ipam"].get("pool")
        assert tainted(cluster, name)
        assert node_condition(cluster.node(name), "Ready") == "False"
        (operator,) = cluster.pods(name="cilium-operator")
        assert any("UnauthorizedOperation" in line for line in await cluster.fleet.logs(operator, "main"))
        cluster.faults.clear("cilium-operator-no-ec2-rights")
        await cluster.node_ready(name)


async def test_fault_taint_never_removed() -> None:
    async with rig(faults=("cilium-taint-never-removed",)) as cluster:
        await cluster.install_cilium()
        name = await cluster.add_new_node()
        await cluster.node_ready(name)  # the CNI file is there: kubelet does not care about the taint
        (agent,) = cluster.pods(k8s_app="cilium")
        await cluster.pod_ready(agent["metadata"]["name"], "kube-system")
        assert tainted(cluster, name)
        assert node_condition(cluster.node(name), "NetworkUnavailable") == ""
        cluster.faults.clear("cilium-taint-never-removed")
        await cluster.until(lambda: not tainted(cluster, name), NODES)


async def test_fault_agent_crash_loop() -> None:
    async with rig(faults=("cilium-agent-crash-loop",)) as cluster:
        await cluster.install_cilium()
        name = await cluster.add_new_node()

        def crashing() -> bool:
            statuses = [
                s for p in cluster.pods(k8s_app="cilium") for s in p["status"].get("containerStatuses") or ()
            ]
            return any(s["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" for s in statuses)

        await cluster.until(crashing, PODS)
        assert tainted(cluster, name)
        assert node_condition(cluster.node(name), "Ready") == "False"


async def test_fault_cni_file_not_written_lets_the_taint_go_too_early() -> None:
    async with rig(faults=("cilium-cni-file-not-written",)) as cluster:
        await cluster.install_cilium()
        name = await cluster.add_new_node()
        await cluster.until(lambda: cluster.node(name) is not None and not tainted(cluster, name), NODES)
        assert node_condition(cluster.node(name), "Ready") == "False"
        (agent,) = cluster.pods(k8s_app="cilium")
        result = await cluster.fleet.execute(agent, "cilium", ["cilium-dbg", "status", "-o", "json"])
        assert '"state": "Failure"' in result.stdout


async def test_unmanaged_dns_pods_are_restarted_and_others_left_alone() -> None:
    async with rig(speed=200) as cluster:
        await cluster.install_aws_node()
        node = await cluster.add_node()
        await cluster.node_ready(node)
        for name, app in (("coredns", "kube-dns"), ("web", "web")):
            await cluster.api.create(
                DEPLOYMENTS, deployment(name, "example/app:1", labels={"k8s-app": app}), "default"
            )
        (dns,) = await ready_pods(cluster, "kube-dns")
        (web,) = await ready_pods(cluster, "web")
        await cluster.install_cilium(unmanaged_pod_watcher_interval="15")
        (operator,) = await ready_pods(cluster, "", name="cilium-operator")
        line = await cluster.log_line(operator, "main", "Restarting unmanaged pod")
        assert f"default/{dns['metadata']['name']}" in line
        await cluster.until(
            lambda: dns["metadata"]["name"] not in {p["metadata"]["name"] for p in cluster.pods()}, PODS
        )
        assert web["metadata"]["name"] in {p["metadata"]["name"] for p in cluster.pods()}


async def ready_pods(cluster: Rig, app: str, **labels: str) -> list[Object]:
    wanted = labels or {"k8s_app": app}

    def found() -> list[Object]:
        return [pod for pod in cluster.pods(**wanted) if pod["status"].get("phase") == "Running"]

    await cluster.until(lambda: bool(found()), PODS)
    return found()


async def test_the_cilium_node_of_a_vanished_node_is_collected() -> None:
    async with rig() as cluster:
        await cluster.install_cilium(nodes_gc_interval="10s")
        name = await cluster.add_new_node()
        await cluster.node_ready(name)
        stray = {
            "apiVersion": CILIUM_NODES.api_version,
            "kind": "CiliumNode",
            "metadata": {"name": "gone"},
            "spec": {"addresses": []},
        }
        nodes = cluster.informers.of(CILIUM_NODES)
        created = await cluster.api.create(CILIUM_NODES, stray)
        await cluster.until(lambda: nodes.has_seen(created) and nodes.get("gone") is None, CILIUM_NODES)
        assert nodes.get(name) is not None
