"""The official Python client: typed calls, paging, watches, exec, proxies."""

from __future__ import annotations

import threading

import pytest
from apiserver_rig import Cluster
from apiserver_samples import config_map, definition, pod
from kubernetes import client as k8s
from kubernetes import watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from pytest_cnimigrate.model.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    SERVICES,
    Resource,
)

POOLS = Resource("example.com", "v2", "pools", "Pool")


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    name = request.node.name.removeprefix("test_").replace("_", "-").partition("[")[0][:60].strip("-")
    cluster.add(NAMESPACES, {"metadata": {"name": name}})
    return str(name)


def test_typed_reads_and_writes(core: k8s.CoreV1Api, namespace: str) -> None:
    created = core.create_namespaced_config_map(namespace, config_map(a="1"))
    created.data["a"] = "2"
    assert core.replace_namespaced_config_map("settings", namespace, created).data == {"a": "2"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("settings", namespace, created)
    assert stale.value.status == 409
    core.patch_namespaced_config_map("settings", namespace, {"data": {"b": "3"}})
    [listed] = core.list_namespaced_config_map(namespace).items
    assert listed.data == {"a": "2", "b": "3"}
    core.delete_namespaced_config_map("settings", namespace)
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("settings", namespace)
    assert gone.value.status == 404


def test_a_long_list_comes_in_pages(cluster: Cluster, core: k8s.CoreV1Api, namespace: str) -> None:
    for index in range(7):
        cluster.add(CONFIG_MAPS, config_map(f"c{index}"), namespace)
    names, token, pages = [], None, 0
    while True:
        page = core.list_namespaced_config_map(namespace, limit=3, _continue=token)
        names += [item.metadata.name for item in page.items]
        token, pages = page.metadata.var_continue, pages + 1
        if pages == 1:
            assert page.metadata.remaining_item_count == 4
            cluster.add(CONFIG_MAPS, config_map("a-latecomer"), namespace)
        if not token:
            break
    assert (names, pages) == ([f"c{index}" for index in range(7)], 3)


def test_a_watch_replays_follows_and_ends_when_its_time_is_up(
    cluster: Cluster, core: k8s.CoreV1Api, namespace: str
) -> None:
    cluster.add(CONFIG_MAPS, config_map("before"), namespace)
    seen = []
    events = watch.Watch().stream(core.list_namespaced_config_map, namespace, timeout_seconds=1)
    for event in events:
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 1:
            cluster.add(CONFIG_MAPS, config_map("after"), namespace)
    assert seen == [("ADDED", "before"), ("ADDED", "after")]


def test_a_watch_from_a_version_that_is_gone_fails_with_410(
    cluster: Cluster, core: k8s.CoreV1Api, namespace: str
) -> None:
    cluster.add(CONFIG_MAPS, config_map(), namespace)
    cluster.inside(lambda server: server.store.compact())
    stale = watch.Watch().stream(core.list_namespaced_config_map, namespace, resource_version="1")
    with pytest.raises(ApiException) as gone:
        next(iter(stale))
    assert gone.value.status == 410


def test_a_watcher_that_leaves_is_forgotten(cluster: Cluster, core: k8s.CoreV1Api, namespace: str) -> None:
    before = len(cluster.inside(lambda server: server.table(CONFIG_MAPS).watchers()))
    cluster.add(CONFIG_MAPS, config_map(), namespace)
    watcher = watch.Watch()
    for _ in watcher.stream(core.list_namespaced_config_map, namespace):
        assert len(cluster.inside(lambda server: server.table(CONFIG_MAPS).watchers())) == before + 1
        watcher.stop()
    left = threading.Event()

    def look() -> None:
        if len(cluster.api.table(CONFIG_MAPS).watchers()) == before:
            left.set()
        else:
            cluster.loop.call_later(0.01, look)

    cluster.loop.call_soon_threadsafe(look)
    assert left.wait(5)


def test_unknown_field_labels_are_a_400(core: k8s.CoreV1Api) -> None:
    with pytest.raises(ApiException) as refused:
        core.list_pod_for_all_namespaces(field_selector="spec.image=x")
    assert refused.value.status == 400
    assert "field label not supported" in refused.value.body


def test_pods_are_listed_by_node(cluster: Cluster, core: k8s.CoreV1Api, namespace: str) -> None:
    for name, place in (("a", "n-a"), ("b", "n-b")):
        cluster.add(PODS, pod(name), namespace)
        cluster.bind(name, place, namespace)
    listed = core.list_pod_for_all_namespaces(field_selector="spec.nodeName=n-a").items
    assert [item.metadata.name for item in listed] == ["a"]


def test_an_eviction_is_posted_to_the_pod(cluster: Cluster, core: k8s.CoreV1Api, namespace: str) -> None:
    cluster.add(PODS, pod(), namespace)
    cluster.bind("web", "n1", namespace)
    body = k8s.V1Eviction(metadata=k8s.V1ObjectMeta(name="web", namespace=namespace))
    core.create_namespaced_pod_eviction("web", namespace, body, dry_run="All")
    assert core.read_namespaced_pod("web", namespace).metadata.deletion_timestamp is None
    core.create_namespaced_pod_eviction("web", namespace, body)
    assert core.read_namespaced_pod("web", namespace).metadata.deletion_timestamp is not None


def test_a_command_is_run_over_a_websocket(cluster: Cluster, namespace: str) -> None:
    cluster.add(PODS, pod(), namespace)
    cluster.bind("web", "n1", namespace)
    with cluster.client() as client:
        api = k8s.CoreV1Api(client)

        def run(*command: str) -> tuple[str, str, int]:
            session = stream(
                api.connect_get_namespaced_pod_exec,
                "web",
                namespace,
                command=list(command),
                stdout=True,
                stderr=True,
                _preload_content=False,
            )
            session.run_forever(timeout=5)
            output, errors = session.read_stdout(), session.read_stderr()
            code = session.returncode
            session.sock.shutdown()  # close() does nothing once the server has said goodbye
            return output, errors, code

        assert run("echo", "hello") == ("hello\n", "", 0)
        assert run("fail", "7") == ("", "main failed\n", 7)


def ports(name: str = "web") -> list[dict[str, object]]:
    return [{"name": "http", "port": 8080, "protocol": "TCP"}]


def test_a_pods_port_is_reached_by_proxy(cluster: Cluster, core: k8s.CoreV1Api, namespace: str) -> None:
    cluster.add(PODS, pod(), namespace)
    cluster.bind("web", "n1", namespace)
    cluster.kubelets.requests.clear()
    with pytest.raises(ApiException) as teapot:
        core.connect_get_namespaced_pod_proxy_with_path("web:8080", namespace, "check_all")
    assert (teapot.value.status, teapot.value.body) == (418, "web:8080")
    [request] = cluster.kubelets.requests
    assert (request.method, request.path) == ("GET", "/check_all")
    assert "authorization" not in {key.lower() for key in request.headers}


def test_a_service_is_proxied_to_one_of_its_ready_pods(
    cluster: Cluster, core: k8s.CoreV1Api, namespace: str
) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80}]}}
    cluster.add(SERVICES, service, namespace)
    with pytest.raises(ApiException) as empty:
        core.connect_get_namespaced_service_proxy_with_path("web:80", namespace, "check")
    assert empty.value.status == 503
    assert 'no endpoints available for service \\"web:80\\"' in empty.value.body
    for name in ("ready", "unready"):
        cluster.add(PODS, pod(name), namespace)
        cluster.bind(name, "n1", namespace)
    endpoints = [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": name == "ready"},
            "targetRef": {"kind": "Pod", "name": name},
        }
        for name in ("ready", "unready")
    ]
    slices = {
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": ports(),
        "endpoints": endpoints,
    }
    cluster.add(ENDPOINT_SLICES, slices, namespace)
    for port in ("80", "http"):
        with pytest.raises(ApiException) as teapot:
            core.connect_get_namespaced_service_proxy_with_path(f"web:{port}", namespace, "check")
        assert teapot.value.body == "ready:8080"


def test_a_pod_that_cannot_be_reached_is_a_503_with_the_reason(
    cluster: Cluster, core: k8s.CoreV1Api, namespace: str
) -> None:
    cluster.add(PODS, pod("dead-1"), namespace)
    cluster.bind("dead-1", "n1", namespace)
    with pytest.raises(ApiException) as dead:
        core.connect_get_namespaced_pod_proxy("dead-1:8080", namespace)
    assert dead.value.status == 503
    assert "error trying to reach service: dial tcp 10.0.0.9:8080: i/o timeout" in dead.value.body


def test_custom_objects_in_each_served_version(cluster: Cluster, namespace: str) -> None:
    cluster.add(CUSTOM_RESOURCE_DEFINITIONS, definition(served=("v2", "v2alpha1")))
    try:
        with cluster.client() as client:
            api = k8s.CustomObjectsApi(client)
            pool = {"apiVersion": "example.com/v2alpha1", "kind": "Pool", "metadata": {"name": "p"}}
            pool["spec"] = {"mode": "eni"}
            api.create_namespaced_custom_object("example.com", "v2alpha1", namespace, "pools", pool)
            for version in ("v2", "v2alpha1"):
                found = api.get_namespaced_custom_object("example.com", version, namespace, "pools", "p")
                assert found["apiVersion"] == f"example.com/{version}"
            status = {"status": {"ready": True}, "spec": {"mode": "cluster-pool"}}
            api.patch_namespaced_custom_object_status("example.com", "v2", namespace, "pools", "p", status)
            found = api.get_namespaced_custom_object("example.com", "v2", namespace, "pools", "p")
            assert (found["spec"], found["status"]) == ({"mode": "eni"}, {"ready": True})
            assert found["metadata"]["generation"] == 1
    finally:
        cluster.inside(lambda server: server.delete(CUSTOM_RESOURCE_DEFINITIONS, "pools.example.com"))
    assert cluster.inside(lambda server: server.registry.of(POOLS)) is None


def test_collections_are_deleted_by_selector(cluster: Cluster, core: k8s.CoreV1Api, namespace: str) -> None:
    for name, labels in (("a", {"k": "1"}), ("b", {"k": "2"})):
        cluster.add(CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}}, namespace)
    core.delete_collection_namespaced_config_map(namespace, label_selector="k=1")
    assert [item.metadata.name for item in core.list_namespaced_config_map(namespace).items] == ["b"]
