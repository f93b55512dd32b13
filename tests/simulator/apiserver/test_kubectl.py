"""The real kubectl against the embedded cluster, command by command."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from apiserver_rig import Cluster
from apiserver_samples import budget, daemon_set, definition, deployment, node, pod

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NAMESPACES,
    NODES,
    PODS,
    Resource,
)
from pytest_cnimigrate.simulator.apiserver.deletion import DeleteOptions
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    name = request.node.name.removeprefix("test_").replace("_", "-").partition("[")[0][:60].strip("-")
    cluster.add(NAMESPACES, {"metadata": {"name": name}})
    return str(name)


@pytest.fixture
def n1(cluster: Cluster) -> Iterator[str]:
    """A node, for the test alone; what runs on it goes with it."""
    name = "ip-10-0-0-1"
    cluster.add(NODES, node(name, cni="aws-cni"))
    yield name

    def clean_up(server: ApiServer) -> None:
        server.delete(NODES, name)
        for left in server.list(PODS, field_selector=f"spec.nodeName={name}")[0]:
            metadata, now = left["metadata"], DeleteOptions(grace_period_seconds=0)
            server.delete(PODS, metadata["name"], metadata["namespace"], options=now)

    cluster.inside(clean_up)


def get(cluster: Cluster, resource: Resource, name: str, namespace: str = "") -> Object:
    return cluster.inside(lambda server: server.get(resource, name, namespace))


def rows(table: str) -> list[list[str]]:
    """A table's cells; columns are parted by two spaces or more."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


def test_version_says_what_the_server_is(cluster: Cluster) -> None:
    assert json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == "v1.36.2"


def test_get_nodes_shows_their_state(cluster: Cluster, n1: str) -> None:
    header, row = rows(cluster.kubectl("get", "nodes"))
    assert header == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert row[:3] == [n1, "Ready", "<none>"]
    cluster.kubectl("cordon", n1)
    assert rows(cluster.kubectl("get", "no"))[1][1] == "Ready,SchedulingDisabled"
    cluster.kubectl("uncordon", n1)
    assert "unschedulable" not in get(cluster, NODES, n1)["spec"]


def test_nodes_are_selected_by_label_as_the_runbook_does(cluster: Cluster, n1: str) -> None:
    assert cluster.kubectl("get", "nodes", "-l", "cni=aws-cni", "-o", "name") == f"node/{n1}\n"
    assert cluster.kubectl("get", "nodes", "-l", "cni!=aws-cni", "-o", "name") == ""
    cluster.kubectl("label", "node", n1, "cni=cilium", "--overwrite")
    assert get(cluster, NODES, n1)["metadata"]["labels"]["cni"] == "cilium"
    cluster.kubectl("label", "node", n1, "cni-")
    assert "cni" not in get(cluster, NODES, n1)["metadata"]["labels"]


def test_taint_adds_and_removes(cluster: Cluster, n1: str) -> None:
    cluster.kubectl("taint", "node", n1, "node.cilium.io/agent-not-ready=true:NoExecute")
    taint = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}
    assert taint in get(cluster, NODES, n1)["spec"]["taints"]
    cluster.kubectl("taint", "node", n1, "node.cilium.io/agent-not-ready-")
    assert taint not in get(cluster, NODES, n1)["spec"]["taints"]


def test_describe_node_lists_its_pods(cluster: Cluster, namespace: str, n1: str) -> None:
    cluster.add(PODS, pod("web"), namespace)
    cluster.bind("web", n1, namespace)
    text = cluster.kubectl("describe", "node", n1)
    assert f"Name:               {n1}" in text
    assert [namespace, "web"] in [line.split()[:2] for line in text.splitlines()]


def test_get_pods_wide_shows_address_and_node(cluster: Cluster, namespace: str) -> None:
    cluster.add(PODS, pod("web"), namespace)
    assert rows(cluster.kubectl("-n", namespace, "get", "pods"))[1][:4] == ["web", "0/1", "Pending", "0"]
    cluster.bind("web", "n9", namespace)
    header, row = rows(cluster.kubectl("-n", namespace, "get", "pods", "-o", "wide"))
    assert header == [
        "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES",
    ]  # fmt: skip
    assert row[:4] + row[5:] == ["web", "1/1", "Running", "0", "10.0.0.1", "n9", "<none>", "<none>"]
    cluster.inside(lambda server: server.delete(PODS, "web", namespace))
    assert rows(cluster.kubectl("-n", namespace, "get", "po"))[1][2] == "Terminating"


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("ds", "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE_SELECTOR AGE"),
        ("deploy", "NAME READY UP-TO-DATE AVAILABLE AGE"),
        ("pdb", "NAME MIN_AVAILABLE MAX_UNAVAILABLE ALLOWED_DISRUPTIONS AGE"),
    ],
)
def test_tables_have_kubectls_columns(cluster: Cluster, kind: str, columns: str) -> None:
    name = f"columns-{kind}"
    cluster.add(NAMESPACES, {"metadata": {"name": name}})
    resource, obj = {
        "ds": (DAEMON_SETS, daemon_set()),
        "deploy": (DEPLOYMENTS, deployment()),
        "pdb": (DISRUPTION_BUDGETS, budget(minAvailable=1)),
    }[kind]
    cluster.add(resource, obj, name)
    header = cluster.kubectl("-n", name, "get", kind).splitlines()[0]
    assert [cell.replace(" ", "_") for cell in rows(header)[0]] == columns.split()


def test_apply_creates_then_leaves_alone_then_changes(cluster: Cluster, namespace: str) -> None:
    manifest = json.dumps(deployment(replicas=2))
    apply = ("-n", namespace, "apply", "-f", "-")
    assert cluster.kubectl(*apply, stdin=manifest) == "deployment.apps/web created\n"
    assert cluster.kubectl(*apply, stdin=manifest) == "deployment.apps/web unchanged\n"
    changed = json.dumps(deployment(replicas=3))
    assert cluster.kubectl(*apply, stdin=changed) == "deployment.apps/web configured\n"
    assert get(cluster, DEPLOYMENTS, "web", namespace)["spec"]["replicas"] == 3


def test_apply_takes_away_what_the_manifest_no_longer_says(cluster: Cluster, namespace: str) -> None:
    before = daemon_set("agent", {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"})
    after = daemon_set("agent", {"name": "a", "image": "a:2"})
    for manifest in (before, after):
        cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(manifest))
    containers = get(cluster, DAEMON_SETS, "agent", namespace)["spec"]["template"]["spec"]["containers"]
    assert [(c["name"], c["image"]) for c in containers] == [("a", "a:2")]


def test_apply_refuses_a_typing_error(cluster: Cluster, namespace: str) -> None:
    manifest = json.dumps(deployment(replica=2))
    text = cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifest, fails=True)
    assert 'unknown field "spec.replica"' in text


def test_server_side_apply_reports_conflicts_and_can_be_forced(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(deployment(replicas=2)))
    server_side = ("-n", namespace, "apply", "--server-side", "--field-manager=other", "-f", "-")
    manifest = json.dumps(deployment(replicas=5))
    text = cluster.kubectl(*server_side, stdin=manifest, fails=True)
    assert 'conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas' in text
    cluster.kubectl(*server_side, "--force-conflicts", stdin=manifest)
    assert get(cluster, DEPLOYMENTS, "web", namespace)["spec"]["replicas"] == 5


def test_diff_shows_what_would_change_and_changes_nothing(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(deployment(replicas=2)))
    before = get(cluster, DEPLOYMENTS, "web", namespace)
    manifest = json.dumps(deployment(replicas=4))
    text = cluster.kubectl("-n", namespace, "diff", "-f", "-", stdin=manifest, fails=True)
    assert "-  replicas: 2" in text
    assert "+  replicas: 4" in text
    assert get(cluster, DEPLOYMENTS, "web", namespace) == before


def test_patch_with_each_type(cluster: Cluster, namespace: str) -> None:
    cluster.add(DEPLOYMENTS, deployment(), namespace)

    def patch(kind: str, body: object) -> None:
        cluster.kubectl("-n", namespace, "patch", "deploy", "web", "--type", kind, "-p", json.dumps(body))

    patch("strategic", {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}}})
    patch("merge", {"spec": {"replicas": 4}})
    patch("json", [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}])
    stored = get(cluster, DEPLOYMENTS, "web", namespace)
    assert len(stored["spec"]["template"]["spec"]["containers"]) == 2
    assert stored["spec"]["replicas"] == 4
    assert stored["metadata"]["labels"] == {"a": "b"}


def test_rollout_restart_and_scale(cluster: Cluster, namespace: str) -> None:
    cluster.add(DEPLOYMENTS, deployment(), namespace)
    cluster.kubectl("-n", namespace, "rollout", "restart", "deploy/web")
    cluster.kubectl("-n", namespace, "scale", "deploy/web", "--replicas=7")
    stored = get(cluster, DEPLOYMENTS, "web", namespace)
    annotations = stored["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations
    assert (stored["spec"]["replicas"], stored["metadata"]["generation"]) == (7, 3)


def test_rollout_status_waits_until_the_controller_says_so(cluster: Cluster, namespace: str) -> None:
    cluster.add(DEPLOYMENTS, deployment(replicas=1), namespace)
    done = {
        "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
        "availableReplicas": 1,
    }  # fmt: skip
    patch = {"status": done}
    cluster.loop.call_soon_threadsafe(
        cluster.loop.call_later,
        0.3,
        lambda: cluster.api.patch(DEPLOYMENTS, "web", patch, namespace, subresource="status"),
    )
    text = cluster.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=10s")
    assert 'deployment "web" successfully rolled out' in text


def test_wait_for_a_condition(cluster: Cluster, namespace: str) -> None:
    cluster.add(PODS, pod("web"), namespace)
    cluster.loop.call_soon_threadsafe(
        cluster.loop.call_later, 0.3, lambda: _make_ready(cluster, "web", namespace)
    )
    text = cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/web", "--timeout=10s")
    assert text == "pod/web condition met\n"


def _make_ready(cluster: Cluster, name: str, namespace: str) -> None:
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    cluster.api.patch(PODS, name, status, namespace, subresource="status")


def test_delete_waits_until_the_kubelet_is_done(cluster: Cluster, namespace: str) -> None:
    cluster.add(PODS, pod("web"), namespace)
    cluster.bind("web", "n9", namespace)
    cluster.loop.call_soon_threadsafe(
        cluster.loop.call_later,
        0.5,
        lambda: cluster.api.delete(PODS, "web", namespace, options=DeleteOptions(grace_period_seconds=0)),
    )
    text = cluster.kubectl("-n", namespace, "delete", "pod", "web", "--timeout=10s")
    assert text.startswith('pod "web" deleted')
    assert cluster.inside(lambda server: server.list(PODS, namespace)[0]) == []


def test_drain_is_held_up_by_a_budget_and_goes_on_when_it_allows(
    cluster: Cluster, namespace: str, n1: str
) -> None:
    cluster.add(PODS, pod("web", labels={"app": "web"}), namespace)
    cluster.bind("web", n1, namespace)
    cluster.add(DISRUPTION_BUDGETS, budget(minAvailable=1), namespace)

    def allow(count: int) -> None:
        status = {"observedGeneration": 1, "disruptionsAllowed": count, "desiredHealthy": 1}
        cluster.inside(
            lambda server: server.patch(
                DISRUPTION_BUDGETS, "web", {"status": status}, namespace, subresource="status"
            )
        )

    allow(0)
    refusal = "Cannot evict pod as it would violate the pod's disruption budget."
    cluster.kubectl_until(refusal, "drain", n1, "--ignore-daemonsets", "--force")
    assert get(cluster, NODES, n1)["spec"]["unschedulable"] is True
    allow(1)
    cluster.loop.call_soon_threadsafe(
        cluster.loop.call_later,
        0.5,
        lambda: cluster.api.delete(PODS, "web", namespace, options=DeleteOptions(grace_period_seconds=0)),
    )
    text = cluster.kubectl("drain", n1, "--ignore-daemonsets", "--force", "--timeout=10s")
    assert f"node/{n1} drained" in text


def test_exec_runs_a_command_and_reports_its_exit_code(cluster: Cluster, namespace: str) -> None:
    cluster.add(PODS, pod("web"), namespace)
    cluster.bind("web", "n9", namespace)
    run = ("-n", namespace, "exec", "web", "--")
    assert cluster.kubectl(*run, "echo", "hello", "there") == "hello there\n"
    text = cluster.kubectl(*run, "fail", "3", fails=True)
    assert "main failed" in text
    assert "command terminated with exit code 3" in text
    assert "executable file not found" in cluster.kubectl(*run, "nmap", fails=True)


def test_logs_whole_and_tail_and_previous(cluster: Cluster, namespace: str) -> None:
    cluster.add(PODS, pod("web"), namespace)
    text = cluster.kubectl("-n", namespace, "logs", "web", fails=True)
    assert "pod web does not have a host assigned" in text
    cluster.bind("web", "n9", namespace)
    assert cluster.kubectl("-n", namespace, "logs", "web") == "main\none\ntwo\nthree\n"
    assert cluster.kubectl("-n", namespace, "logs", "web", "--tail=1") == "three\n"
    assert cluster.kubectl("-n", namespace, "logs", "web", "-p").startswith("previous main\n")


def test_custom_resources_are_served_as_soon_as_they_are_defined(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(definition()))
    cluster.kubectl("wait", "--for=condition=Established", "crd/pools.example.com", "--timeout=5s")
    pool = {
        "apiVersion": "example.com/v2",
        "kind": "Pool",
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"mode": "eni"},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pool))
    assert rows(cluster.kubectl("-n", namespace, "get", "pl")) == [["NAME", "MODE"], ["p", "eni"]]
    bad = json.dumps(pool | {"spec": {"mode": "flat"}})
    assert "Unsupported value" in cluster.kubectl("apply", "-f", "-", stdin=bad, fails=True)
    cluster.kubectl("delete", "crd", "pools.example.com", "--timeout=5s")
    assert "could not find the requested resource" in cluster.kubectl("get", "pools", fails=True)
    assert CUSTOM_RESOURCE_DEFINITIONS.kind in cluster.kubectl("api-resources")


def test_events_are_listed_for_the_object_they_are_about(cluster: Cluster, namespace: str) -> None:
    cluster.add(PODS, pod("web"), namespace)
    uid = get(cluster, PODS, "web", namespace)["metadata"]["uid"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.1", "namespace": namespace},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": namespace, "uid": uid},
        "reason": "FailedScheduling",
        "message": "0/1 nodes are available",
        "type": "Warning",
        "firstTimestamp": "2026-11-22T20:28:53Z",
        "lastTimestamp": "2026-11-22T20:28:53Z",
        "count": 1,
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(event))
    header, row = rows(cluster.kubectl("-n", namespace, "get", "events"))
    assert header == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert row[1:] == ["Warning", "FailedScheduling", "pod/web", "0/1 nodes are available"]
    assert "0/1 nodes are available" in cluster.kubectl("-n", namespace, "describe", "pod", "web")


def test_get_watch_prints_a_row_for_each_change(cluster: Cluster, namespace: str) -> None:
    cluster.add(PODS, pod("web"), namespace)
    cluster.loop.call_soon_threadsafe(
        cluster.loop.call_later, 0.3, lambda: cluster.api.delete(PODS, "web", namespace)
    )
    # It ends by itself: kubectl's own limit on the request.
    text = cluster.kubectl("-n", namespace, "get", "pods", "-w", "--request-timeout=1s")
    assert [row[0] for row in rows(text)][:2] == ["NAME", "web"]
    assert len(rows(text)) >= 3


def test_explain_knows_the_fields(cluster: Cluster) -> None:
    assert "updateStrategy\t<DaemonSetUpdateStrategy>" in cluster.kubectl("explain", "ds.spec")


def test_what_the_server_cannot_read_is_refused_with_advice(cluster: Cluster) -> None:
    text = cluster.kubectl("create", "namespace", "by-protobuf", fails=True)
    assert "does not speak protobuf" in text
    assert "kubectl apply -f" in text
