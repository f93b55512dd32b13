"""Goldpinger answers as a real one does, with what a client must cope with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from node_rig import NEW, Rig, rig
from recorded_shapes import recording, shape

from pytest_cnimigrate.model.objects import Object, name_of
from pytest_cnimigrate.model.resources import DAEMON_SETS, PODS, ROLE_BINDINGS, SERVICES
from pytest_cnimigrate.simulator.gateway import GatewayError, HttpRequest
from pytest_cnimigrate.simulator.network.goldpinger import SLOTS, Goldpinger
from pytest_cnimigrate.simulator.network.goldpinger_settings import is_legacy, read_settings

LEGACY_IMAGE = "mauilion/goldpinger:v3.5.1"


@contextlib.asynccontextmanager
async def mesh(*, speed: float = 200, faults: tuple[str, ...] = (), **goldpinger: str) -> AsyncIterator[Rig]:
    """Goldpinger on two old nodes and one with Cilium, everybody known to everybody."""
    async with rig(speed=speed, faults=faults) as cluster:
        await cluster.install_kube_proxy()
        await cluster.install_aws_node()
        await cluster.install_cilium()
        nodes = [await cluster.add_node(), await cluster.add_node(zone=1), await cluster.add_new_node()]
        await cluster.node_ready(*nodes)
        await cluster.install_goldpinger(**goldpinger)
        await cluster.until(lambda: len(pingers(cluster)) == 3, PODS)
        for pod in pingers(cluster):
            await cluster.pod_ready(name_of(pod))
        await settled(cluster)
        yield cluster


def pingers(cluster: Rig, group: str = "") -> list[Object]:
    """Goldpinger's pods, those of new nodes first; or those of one group's nodes."""

    def group_of(pod: Object) -> str:
        node = cluster.node(pod["spec"].get("nodeName", ""))
        return str(node["metadata"]["labels"]["eks.amazonaws.com/nodegroup"]) if node else ""

    found = sorted(cluster.pods(app="goldpinger"), key=group_of)
    return [pod for pod in found if group in ("", group_of(pod))]


async def settled(cluster: Rig, count: int = 3) -> None:
    """Wait until every instance has a result for every other."""

    async def complete(pod: Object) -> bool:
        return len((await cluster.get(pod, "/check"))[1].get("podResults", {})) == count

    for pod in pingers(cluster):
        await cluster.eventually_async(lambda pod=pod: complete(pod))


async def check(cluster: Rig, pod: Object) -> Any:
    status, body = await cluster.get(pod, "/check")
    assert status == 200
    return body


def generic(body: Any) -> Any:
    """The shape, with one entry for pods' names and without times that are left out when they are zero."""
    text = json.loads(json.dumps(body))

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            value.pop("response-time-ms", None)
            if "podResults" in value or "responses" in value:
                for key in ("podResults", "responses"):
                    if key in value:
                        value[key] = {"*": walk(next(iter(value[key].values())))}
            return {key: walk(entry) for key, entry in value.items()}
        return value

    return shape(walk(text))


async def test_every_endpoint_answers_in_the_recorded_shape() -> None:
    async with mesh() as cluster:
        pod = pingers(cluster)[0]
        for path in ("check", "check_all", "cluster_health", "ping", "healthz"):
            status, body = await cluster.get(pod, f"/{path}")
            assert status == 200, path
            assert generic(body) == generic(recording(f"goldpinger-{path}.json")), path


async def test_answers_are_written_as_go_writes_them() -> None:
    async with mesh() as cluster:
        pod = pingers(cluster)[0]
        response = await cluster.fleet.request(pod, 8080, HttpRequest("GET", "/check_all"))
        body = response.body.decode()
        assert body.endswith("}\n")
        assert body.startswith('{"hosts":[{"hostIP":')
        results = json.loads(body)["responses"]
        assert list(results) == sorted(results)
        assert list(next(iter(results.values()))) == ["HostIP", "OK", "PodIP", "response"]
        assert "hosts-number" not in body, "in the schema, never on the wire"
        assert '"response-time-ms":0' not in body


async def test_a_peer_that_does_not_answer_looks_as_recorded() -> None:
    async with mesh(faults=("cross-cni-old-to-new-blocked",)) as cluster:
        recorded = recording("goldpinger-failures.json")
        old, new = pingers(cluster, "old")[0], pingers(cluster, NEW)[0]
        pair = (await check(cluster, old))["podResults"][name_of(new)]
        assert shape(pair) == shape(recorded["pair"])
        assert pair["status-code"] == 504
        assert pair["response-time-ms"] == 300
        address = new["status"]["podIP"]
        assert pair["error"] == f'Get "http://{address}:8080/ping": context deadline exceeded'
        row = (await cluster.get(old, "/check_all"))[1]["responses"][name_of(new)]
        assert shape(row) == shape(recorded["pod"])
        assert row["error"] == f'Get "http://{address}:8080/check": context deadline exceeded'


async def test_a_block_in_one_direction_is_seen_in_that_direction_only() -> None:
    async with mesh(faults=("cross-cni-old-to-new-blocked",)) as cluster:
        (new,) = pingers(cluster, NEW)
        for old in pingers(cluster, "old"):
            assert not (await check(cluster, old))["podResults"][name_of(new)]["OK"]
        assert all(result["OK"] for result in (await check(cluster, new))["podResults"].values())


async def test_cluster_health_asked_on_the_right_side_overlooks_the_block() -> None:
    async with mesh(faults=("cross-cni-old-to-new-blocked",)) as cluster:
        status, health = await cluster.get(pingers(cluster, NEW)[0], "/cluster_health")
        assert (status, health["OK"]) == (200, True), "it never looks at the pings"
        status, health = await cluster.get(pingers(cluster, "old")[0], "/cluster_health")
        assert (status, health["OK"]) == (418, False)
        assert len(health["nodesUnhealthy"]) == 1
        assert health["nodesTotal"] == 3


def program_of(cluster: Rig, pod: Object) -> Goldpinger:
    sandbox = cluster.fleet.machines.sandbox_of(pod)
    assert sandbox is not None
    (program,) = sandbox.programs.values()
    assert isinstance(program, Goldpinger)
    return program


async def test_a_deleted_peer_is_pinged_in_vain_until_the_next_refresh() -> None:
    async with mesh(speed=1000, REFRESH_INTERVAL="1000") as cluster:
        one, other, *_ = pingers(cluster)
        gone, program = name_of(other), program_of(cluster, one)
        await cluster.api.delete(PODS, gone, "default")
        await cluster.until(lambda: cluster.informers.of(PODS).get(gone, "default") is None, PODS)
        result = (await check(cluster, one))["podResults"][gone]
        assert result["OK"], "results are as old as the last ping"
        # Its turn comes before the next refresh.
        for slot in range(SLOTS):
            await program._ping_slot(slot)
        result = (await check(cluster, one))["podResults"][gone]
        assert (result["OK"], result["status-code"]) == (False, 504)
        program._refresh()
        assert gone not in (await check(cluster, one))["podResults"]


async def test_a_terminating_peer_is_still_listed() -> None:
    async with mesh(speed=50) as cluster:
        one, other, *_ = pingers(cluster)
        patch = {"metadata": {"finalizers": ["example.com/hold"]}}
        await cluster.api.patch(PODS, name_of(other), patch, "default")
        await cluster.api.delete(PODS, name_of(other), "default")
        hosts = (await cluster.get(one, "/check_all"))[1]["hosts"]
        assert name_of(other) in {host["podName"] for host in hosts}


async def test_a_fresh_instance_knows_fewer_peers_and_health_says_no() -> None:
    async with mesh(REFRESH_INTERVAL="60") as cluster:
        one, other, *_ = pingers(cluster)
        await cluster.api.delete(PODS, name_of(other), "default")
        known = {name_of(pod) for pod in pingers(cluster)}
        await cluster.until(lambda: any(name_of(p) not in known for p in pingers(cluster)), PODS)
        (fresh,) = (pod for pod in pingers(cluster) if name_of(pod) not in known)
        fresh = await cluster.pod_ready(name_of(fresh))
        status, health = await cluster.get(one, "/cluster_health")
        assert (status, health["OK"]) == (418, False)
        await cluster.eventually_async(lambda: healthy(cluster, one))


async def healthy(cluster: Rig, pod: Object) -> bool:
    with contextlib.suppress(GatewayError):  # churn: see below
        return (await cluster.get(pod, "/cluster_health"))[0] == 200
    return False


async def test_health_breaks_off_when_a_peer_knows_more_than_the_asked_one() -> None:
    async with mesh() as cluster:
        one = pingers(cluster)[0]
        program = program_of(cluster, one)
        lowest = min(program._select().values(), key=lambda peer: peer.host_ip)
        program._select = lambda: {lowest.name: lowest}  # type: ignore[method-assign]
        with pytest.raises(GatewayError, match="EOF"):
            await cluster.get(one, "/cluster_health")


async def test_without_the_right_to_list_pods_there_are_no_peers() -> None:
    async with mesh() as cluster:
        pod = pingers(cluster)[0]
        await cluster.api.delete(ROLE_BINDINGS, "goldpinger", "default")

        async def empty() -> bool:
            return (await check(cluster, pod)) == {}

        await cluster.eventually_async(empty)
        assert (await cluster.get(pod, "/check_all"))[1] == {"hosts": None}
        status, health = await cluster.get(pod, "/cluster_health")
        assert (status, health["OK"]) == (200, True)
        assert health["nodesHealthy"] is health["nodesUnhealthy"] is None
        assert "nodesTotal" not in health
        log = await cluster.fleet.logs(pod, "")
        assert 'cannot list resource "pods"' in log[-1]


async def test_targets_beyond_the_peers_are_probed_by_dns_tcp_and_http() -> None:
    targets = {
        "HOSTS_TO_RESOLVE": "nothing.invalid",
        "TCP_TARGETS": "kubernetes.default:443 203.0.113.9:443",
        "HTTP_TARGETS": "http://203.0.113.9/",
    }
    async with mesh(faults=("new-nodes-no-egress",), CHECK_TIMEOUT="5s", **targets) as cluster:
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
        old, new = pingers(cluster, "old")[0], pingers(cluster, NEW)[0]
        probes = (await check(cluster, old))["probeResults"]
        assert {host: [entry["protocol"] for entry in entries] for host, entries in probes.items()} == {
            "nothing.invalid": ["dns"],
            "kubernetes.default:443": ["tcp"],
            "203.0.113.9:443": ["tcp"],
            "http://203.0.113.9/": ["http"],
        }
        assert "error" not in probes["203.0.113.9:443"][0]
        assert "error" not in probes["http://203.0.113.9/"][0]
        assert "lookup" in probes["nothing.invalid"][0]["error"], "there is no CoreDNS in this cluster"
        probes = (await check(cluster, new))["probeResults"]
        assert probes["203.0.113.9:443"][0] == {
            "protocol": "tcp",
            "response-time-ms": 500,
            "error": "dial tcp 203.0.113.9:443: i/o timeout",
        }
        everywhere = (await cluster.get(old, "/check_all"))[1]["probeResults"]["203.0.113.9:443"]
        assert {name: "error" in entries[0] for name, entries in everywhere.items()} == {
            **{name_of(pod): False for pod in pingers(cluster, "old")},
            name_of(new): True,
        }


async def test_slow_probes_make_a_whole_pod_look_dead_to_check_all() -> None:
    targets = {"TCP_TARGETS": "203.0.113.1:1 203.0.113.2:1 203.0.113.3:1"}
    async with mesh(faults=("new-nodes-no-egress",), **targets) as cluster:
        old, new = pingers(cluster, "old")[0], pingers(cluster, NEW)[0]
        row = (await cluster.get(old, "/check_all"))[1]["responses"][name_of(new)]
        assert not row["OK"]
        assert row["error"].endswith('/check": context deadline exceeded')
        assert "response" not in row


async def test_a_goldpinger_3_5_speaks_of_dns_only() -> None:
    targets = {"HOSTS_TO_RESOLVE": "nothing.invalid", "TCP_TARGETS": "203.0.113.9:443"}
    async with mesh(image=LEGACY_IMAGE, **targets) as cluster:
        pod = pingers(cluster)[0]
        body = await check(cluster, pod)
        assert set(body) == {"podResults", "dnsResults"}
        assert set(body["dnsResults"]) == {"nothing.invalid"}
        assert "error" in body["dnsResults"]["nothing.invalid"]
        results = (await cluster.get(pod, "/check_all"))[1]
        assert set(results["dnsResults"]["nothing.invalid"]) == {name_of(p) for p in pingers(cluster)}


async def test_results_age_and_are_renewed() -> None:
    async with mesh() as cluster:
        pod = pingers(cluster)[0]
        before = {
            name: result["PingTime"] for name, result in (await check(cluster, pod))["podResults"].items()
        }

        async def renewed() -> bool:
            results = (await check(cluster, pod))["podResults"]
            return all(results[name]["PingTime"] > time for name, time in before.items())

        await cluster.eventually_async(renewed)


async def test_metrics_have_the_recorded_names_and_labels() -> None:
    async with mesh(faults=("cross-cni-old-to-new-blocked",)) as cluster:
        old = pingers(cluster, "old")[0]
        await cluster.get(old, "/check_all")
        _, text = await cluster.get(old, "/metrics")
        node = old["spec"]["nodeName"]
        assert f'goldpinger_nodes_health_total{{goldpinger_instance="{node}",status="healthy"}} 2\n' in text
        assert f'goldpinger_nodes_health_total{{goldpinger_instance="{node}",status="unhealthy"}} 1\n' in text
        assert f'goldpinger_cluster_health_total{{goldpinger_instance="{node}"}} 0\n' in text
        assert (
            f'goldpinger_stats_total{{action="check_all",goldpinger_instance="{node}",group="received"}} 1\n'
            in text
        )
        assert f'goldpinger_errors_total{{goldpinger_instance="{node}",type="ping"}}' in text
        assert (
            f'goldpinger_peers_response_time_s_bucket{{call_type="ping",goldpinger_instance="{node}"' in text
        )
        assert 'le="+Inf"' in text


async def test_there_is_a_page_and_unknown_paths_are_said() -> None:
    async with mesh() as cluster:
        pod = pingers(cluster)[0]
        status, page = await cluster.get(pod, "/")
        assert status == 200
        assert "<title>Goldpinger</title>" in page
        assert await cluster.get(pod, "/nothing") == (
            404,
            {"code": 404, "message": "path /nothing was not found"},
        )


async def test_an_instance_without_pinging_has_no_results() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        await cluster.node_ready(await cluster.add_node())
        await cluster.install_goldpinger(REFRESH_INTERVAL="0")
        await cluster.until(lambda: bool(cluster.pods(app="goldpinger")), PODS)
        pod = await cluster.pod_ready(name_of(cluster.pods(app="goldpinger")[0]))
        assert await cluster.get(pod, "/check") == (200, {})


async def test_a_setting_that_cannot_be_read_is_a_crash_that_names_it() -> None:
    async with rig() as cluster:
        await cluster.install_aws_node()
        await cluster.node_ready(await cluster.add_node())
        await cluster.install_goldpinger(REFRESH_INTERVAL="often")
        await cluster.until(lambda: bool(cluster.pods(app="goldpinger")), PODS)
        (pod,) = cluster.pods(app="goldpinger")
        await cluster.log_line(pod, "goldpinger", "REFRESH_INTERVAL: 'often' is not a number")
        assert (await cluster.api.get(DAEMON_SETS, "goldpinger", "default"))["status"]["numberReady"] == 0


@pytest.mark.parametrize(
    ("image", "legacy"),
    [
        ("mauilion/goldpinger:v3.5.1", True),
        ("bloomberg/goldpinger:v3.5.0", True),
        ("docker.io/bloomberg/goldpinger:3.10.2", False),
        ("bloomberg/goldpinger", False),
        ("bloomberg/goldpinger:3.50.1", False),
    ],
)
def test_the_tag_tells_the_wire_format(image: str, legacy: bool) -> None:
    assert is_legacy(image) is legacy


def test_timeouts_by_version() -> None:
    modern = read_settings({"PING_TIMEOUT": "150ms", "CHECK_TIMEOUT_MS": "2000"}, image="goldpinger:3.10.2")
    assert (modern.ping_timeout, modern.check_timeout, modern.check_all_timeout) == (0.15, 2.0, 5.0)
    legacy = read_settings({"PING_TIMEOUT": "150ms", "PING_TIMEOUT_MS": "400"}, image="goldpinger:3.5.1")
    assert legacy.ping_timeout == 0.4
    with pytest.raises(ValueError, match="PING_TIMEOUT: 'quick' is not a duration"):
        read_settings({"PING_TIMEOUT": "quick"}, image="goldpinger:3.10.2")
