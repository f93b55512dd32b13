"""Who reaches whom, direction by direction, and why not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from node_rig import Rig, deployment, rig

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NETWORK_POLICIES,
    SERVICES,
)
from pytest_cnimigrate.simulator.aws.security_groups import Rule
from pytest_cnimigrate.simulator.network.dataplane import CONTROL_PLANE
from pytest_cnimigrate.simulator.network.verdict import Verdict

OUTSIDE = "203.0.113.7"


@contextlib.asynccontextmanager
async def two_worlds(
    *, new_group: str = "", config: dict[str, str] | None = None, public: bool = False, **options: Any
) -> AsyncIterator[Rig]:
    """An old and a new node, a pod `old` and a pod `new` on them."""
    async with rig(**options) as cluster:
        await cluster.install_kube_proxy()
        await cluster.install_aws_node()
        await cluster.install_cilium(**config or {})
        security_group = ""
        if new_group:
            security_group = cluster.vpc.create_security_group(new_group, new_group)
            cluster.vpc.security_group(security_group).ingress.append(Rule(group_ids=(security_group,)))
        nodes = {
            "old": await cluster.add_node(public=public),
            "new": await cluster.add_new_node(security_group=security_group, public=public),
        }
        await cluster.node_ready(*nodes.values())
        for name, node in nodes.items():
            await cluster.run_pod(name, node=node, labels={"app": name})
            await cluster.pod_ready(name)
        yield cluster


def pod(cluster: Rig, name: str) -> Object:
    (found,) = cluster.pods(app=name)
    return found


def connect(cluster: Rig, source: str, target: str, port: int = 8080) -> Verdict:
    return cluster.fleet.dataplane.connect(
        pod(cluster, source), pod(cluster, target)["status"]["podIP"], port
    )


async def test_pods_of_both_cnis_reach_each_other_in_the_vpc() -> None:
    async with two_worlds() as cluster:
        for source, target in (("old", "new"), ("new", "old"), ("old", "old"), ("new", "new")):
            verdict = connect(cluster, source, target)
            assert verdict.ok, verdict.reason
            assert verdict.target_pod is not None
            assert verdict.target_pod["metadata"]["name"] == target
            assert 0 < verdict.latency_ms < 5


async def test_a_closed_port_is_refused_and_an_unknown_address_is_silent() -> None:
    async with two_worlds() as cluster:
        closed = connect(cluster, "old", "new", port=9)
        assert (closed.ok, closed.outcome) == (False, "refused")
        assert "does not listen on port 9/tcp" in closed.reason
        unknown = cluster.fleet.dataplane.connect(pod(cluster, "old"), "10.99.0.1", 80)
        assert (unknown.ok, unknown.outcome, unknown.reason) == (False, "dropped", "nobody holds 10.99.0.1")


async def test_the_target_of_a_node_that_is_switched_off_does_not_answer() -> None:
    async with two_worlds() as cluster:
        address = pod(cluster, "new")["status"]["podIP"]
        machine = cluster.machine(pod(cluster, "new")["spec"]["nodeName"])
        machine.powered = False
        verdict = cluster.fleet.dataplane.connect(pod(cluster, "old"), address, 8080)
        assert (verdict.outcome, verdict.reason) == ("dropped", f"node {machine.name} is down")
        machine.powered = True


async def test_security_groups_can_block_one_direction() -> None:
    async with two_worlds(new_group="new-nodes") as cluster:
        blocked = connect(cluster, "old", "new")
        assert not blocked.ok
        assert blocked.outcome == "dropped"
        assert "ingress" in blocked.reason
        assert not connect(cluster, "new", "old").ok
        new_group = cluster.instances[1].security_group_ids[0]
        cluster.vpc.security_group(cluster.security_group).ingress.append(Rule(group_ids=(new_group,)))
        assert connect(cluster, "new", "old").ok
        assert not connect(cluster, "old", "new").ok


async def test_a_service_leads_to_a_ready_endpoint_where_something_has_programmed_services() -> None:
    async with two_worlds() as cluster:
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "new"}, "ports": [{"port": 80, "targetPort": "http"}]},
        }
        address = (await cluster.api.create(SERVICES, service, "default"))["spec"]["clusterIP"]
        slices = cluster.informers.of(ENDPOINT_SLICES)
        await cluster.until(
            lambda: any(s["metadata"]["name"].startswith("web") and s.get("endpoints") for s in slices.all()),
            ENDPOINT_SLICES,
        )
        dataplane = cluster.fleet.dataplane
        verdict = dataplane.connect(pod(cluster, "old"), address, 80)
        assert verdict.ok, verdict.reason
        assert verdict.address == pod(cluster, "new")["status"]["podIP"]
        assert (
            dataplane.connect(pod(cluster, "old"), address, 81).reason
            == "Service default/web has no port 81/tcp"
        )
        machine = cluster.machine(pod(cluster, "old")["spec"]["nodeName"])
        machine.service_proxies.clear()
        assert "nothing has programmed Services" in dataplane.connect(pod(cluster, "old"), address, 80).reason


async def test_names_are_resolved_through_coredns() -> None:
    async with two_worlds() as cluster:
        dataplane = cluster.fleet.dataplane
        assert (
            "there is no Service kube-system/kube-dns"
            in dataplane.resolve(pod(cluster, "old"), "x.example").reason
        )
        await install_dns(cluster)
        kubernetes = await cluster.api.get(SERVICES, "kubernetes", "default")
        for name in ("kubernetes", "kubernetes.default", "kubernetes.default.svc.cluster.local"):
            verdict = dataplane.resolve(pod(cluster, "new"), name)
            assert verdict.ok, verdict.reason
            assert verdict.address == kubernetes["spec"]["clusterIP"]
        assert dataplane.resolve(pod(cluster, "old"), "www.example.com").ok
        unknown = dataplane.resolve(pod(cluster, "old"), "nothing.default.svc.cluster.local")
        assert unknown.outcome == "refused"
        assert unknown.reason.endswith(":53: no such host")
        await cluster.api.patch(DEPLOYMENTS, "coredns", {"spec": {"replicas": 0}}, "kube-system")
        await cluster.eventually(
            lambda: "has no ready endpoint" in dataplane.resolve(pod(cluster, "old"), "kubernetes").reason
        )


async def install_dns(cluster: Rig) -> None:
    coredns = deployment(
        "coredns",
        "registry.k8s.io/coredns/coredns:v1.11",
        labels={"k8s-app": "kube-dns"},
        namespace="kube-system",
    )
    ports = [{"containerPort": 53, "name": "dns", "protocol": "UDP"}]
    coredns["spec"]["template"]["spec"]["containers"][0]["ports"] = ports
    await cluster.api.create(DEPLOYMENTS, coredns, "kube-system")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns"},
        "spec": {
            "selector": {"k8s-app": "kube-dns"},
            "ports": [{"port": 53, "name": "dns", "protocol": "UDP"}],
        },
    }
    await cluster.api.create(SERVICES, service, "kube-system")
    await cluster.eventually(lambda: cluster.fleet.dataplane.resolve(pod(cluster, "old"), "kubernetes").ok)


async def test_fault_dns_broken_on_new_nodes() -> None:
    async with two_worlds(faults=("dns-broken-on-new-nodes",)) as cluster:
        await install_dns(cluster)
        dataplane = cluster.fleet.dataplane
        assert dataplane.resolve(pod(cluster, "old"), "kubernetes").ok
        assert dataplane.resolve(pod(cluster, "new"), "kubernetes").outcome == "dropped"
        assert connect(cluster, "new", "old").ok, "connections by address work"


# The way out


async def test_behind_a_nat_gateway_all_pods_reach_the_internet() -> None:
    async with two_worlds() as cluster:
        for name in ("old", "new"):
            verdict = cluster.fleet.dataplane.connect(pod(cluster, name), OUTSIDE, 443)
            assert verdict.ok, verdict.reason


async def test_without_a_nat_gateway_and_masquerading_the_internet_is_lost() -> None:
    async with two_worlds(nat=False) as cluster:
        verdict = cluster.fleet.dataplane.connect(pod(cluster, "new"), OUTSIDE, 443)
        assert not verdict.ok
        assert "NAT" in verdict.reason


@pytest.mark.parametrize(
    ("config", "reaches"),
    [
        ({"enable_ipv4_masquerade": "false"}, False),
        ({"enable_ipv4_masquerade": "true"}, True),
        ({"enable_ipv4_masquerade": "true", "egress_masquerade_interfaces": "eth0"}, False),
    ],
    ids=["off", "on", "on-the-wrong-device"],
)
async def test_in_a_public_subnet_the_internet_depends_on_masquerading(
    config: dict[str, str], reaches: bool
) -> None:
    async with two_worlds(public=True, config=config) as cluster:
        old, new = (
            cluster.fleet.dataplane.connect(pod(cluster, name), OUTSIDE, 443) for name in ("old", "new")
        )
        assert old.ok, "the VPC CNI masquerades by default"
        assert new.ok is reaches
        assert reaches or "has no public address" in new.reason


async def test_fault_new_nodes_no_egress_leaves_the_mesh_green() -> None:
    async with two_worlds(faults=("new-nodes-no-egress",)) as cluster:
        assert cluster.fleet.dataplane.connect(pod(cluster, "old"), OUTSIDE, 443).ok
        assert not cluster.fleet.dataplane.connect(pod(cluster, "new"), OUTSIDE, 443).ok
        assert connect(cluster, "new", "old").ok


# Faults between the worlds


async def test_faults_that_block_one_direction_leave_the_other() -> None:
    async with two_worlds() as cluster:
        cluster.faults.activate("cross-cni-old-to-new-blocked")
        assert connect(cluster, "old", "new").reason == "fault cross-cni-old-to-new-blocked"
        assert connect(cluster, "new", "old").ok
        cluster.faults.clear("cross-cni-old-to-new-blocked")
        cluster.faults.activate("cross-cni-new-to-old-blocked")
        assert connect(cluster, "old", "new").ok
        assert not connect(cluster, "new", "old").ok


async def test_fault_reachability_flaps_comes_and_goes() -> None:
    async with two_worlds(faults=("reachability-flaps",)) as cluster:
        await cluster.eventually(lambda: not connect(cluster, "old", "new").ok)
        await cluster.eventually(lambda: connect(cluster, "old", "new").ok)
        assert connect(cluster, "new", "new").ok


async def test_aws_node_on_a_cilium_node_flushes_the_routes_of_its_pods() -> None:
    async with two_worlds() as cluster:
        assert connect(cluster, "old", "new").ok
        unfenced = {"spec": {"template": {"spec": {"affinity": None}}}}
        await cluster.api.patch(DAEMON_SETS, "aws-node", unfenced, "kube-system", kind="merge")
        await cluster.eventually(lambda: not connect(cluster, "old", "new").ok)
        assert "have been flushed" in connect(cluster, "old", "new").reason


# Policies


def policy(name: str, selected: str, peers: list[Object], *, direction: str = "Ingress") -> Object:
    rule = {"from": peers} if direction == "Ingress" else {"to": peers}
    return {
        "apiVersion": NETWORK_POLICIES.api_version,
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "podSelector": {"matchLabels": {"app": selected}},
            "policyTypes": [direction],
            direction.lower(): [rule],
        },
    }


async def apply(cluster: Rig, obj: Object) -> None:
    created = await cluster.api.create(NETWORK_POLICIES, obj, "default")
    informer = cluster.informers.of(NETWORK_POLICIES)
    await cluster.until(lambda: informer.has_seen(created), NETWORK_POLICIES)


async def test_a_peer_without_identity_is_dropped_although_its_labels_are_allowed() -> None:
    async with two_worlds() as cluster:
        everybody = [{"podSelector": {}}]
        await apply(cluster, policy("allow-pods", "new", everybody))
        verdict = connect(cluster, "old", "new")
        assert (verdict.ok, verdict.outcome) == (False, "dropped")
        assert "NetworkPolicy default/allow-pods: ingress from" in verdict.reason
        assert "(no identity)" in verdict.reason
        assert connect(cluster, "new", "old").ok
        # A pod that Cilium manages has one.
        node = pod(cluster, "new")["spec"]["nodeName"]
        await cluster.run_pod("managed", node=node, labels={"app": "managed"})
        await cluster.pod_ready("managed")
        assert connect(cluster, "managed", "new").ok


async def test_an_ip_block_lets_the_old_world_in() -> None:
    async with two_worlds() as cluster:
        await apply(cluster, policy("allow-vpc", "new", [{"ipBlock": {"cidr": cluster.vpc.cidr}}]))
        assert connect(cluster, "old", "new").ok


async def test_the_vpc_cni_enforces_nothing() -> None:
    async with two_worlds() as cluster:
        await apply(cluster, policy("deny", "old", [{"podSelector": {"matchLabels": {"no": "body"}}}]))
        assert connect(cluster, "new", "old").ok


async def test_enforcement_can_be_switched_off_in_cilium() -> None:
    async with two_worlds(config={"enable_policy": "never"}) as cluster:
        await apply(cluster, policy("deny", "new", [{"podSelector": {"matchLabels": {"no": "body"}}}]))
        assert connect(cluster, "old", "new").ok


async def test_egress_policies_hold_on_the_senders_side() -> None:
    async with two_worlds() as cluster:
        await apply(cluster, policy("stay", "new", [{"ipBlock": {"cidr": "10.0.0.0/8"}}], direction="Egress"))
        assert "egress to" in connect(cluster, "new", "old").reason
        assert not cluster.fleet.dataplane.connect(pod(cluster, "new"), OUTSIDE, 443).ok
        assert connect(cluster, "old", "new").ok


async def test_a_nodes_own_probes_always_arrive() -> None:
    async with two_worlds() as cluster:
        await apply(cluster, policy("deny", "new", [{"podSelector": {"matchLabels": {"no": "body"}}}]))
        node, address = pod(cluster, "new")["spec"]["nodeName"], pod(cluster, "new")["status"]["podIP"]
        assert cluster.fleet.dataplane.connect(node, address, 8080).ok
        assert not cluster.fleet.dataplane.connect(pod(cluster, "old")["spec"]["nodeName"], address, 8080).ok


# Overlay addresses


async def test_overlay_addresses_are_reached_by_tunnel_between_cilium_nodes_only() -> None:
    pool = {"ipam": "cluster-pool", "cluster_pool_ipv4_cidr": "10.245.0.0/16", "routing_mode": "tunnel"}
    async with two_worlds(config=pool) as cluster:
        other = await cluster.add_new_node()
        await cluster.node_ready(other)
        await cluster.run_pod("far", node=other, labels={"app": "far"})
        await cluster.pod_ready("far")
        assert connect(cluster, "far", "new").ok
        assert "has a route to 10.245." in connect(cluster, "old", "new").reason
        address = pod(cluster, "new")["status"]["podIP"]
        control_plane = cluster.fleet.dataplane.connect(CONTROL_PLANE, address, 8080)
        assert "the control plane has no route to" in control_plane.reason
        # The tunnel needs its port between the nodes.
        group = cluster.vpc.security_group(cluster.security_group)
        group.ingress[:] = [
            Rule(group_ids=(cluster.security_group,), protocol="tcp", from_port=0, to_port=65535)
        ]
        assert not connect(cluster, "far", "new").ok
