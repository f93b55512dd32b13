"""The adapter against the embedded cluster: the same calls that real clusters get, over HTTP and TLS."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import yaml

from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.kube.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    KubeError,
    NotFound,
    NotServed,
    PodUnreachable,
    TooManyRequests,
    Unauthorized,
    Untrusted,
)
from pytest_cnimigrate.model.resources import (
    CILIUM_NODES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DISRUPTION_BUDGETS,
    NAMESPACES,
    NODES,
    PODS,
)
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.gateway import ExecResult, GatewayError, HttpResponse
from pytest_cnimigrate.simulator.server import HttpServer


class Kubelets:
    """Pods that say who they are; those named `dead` cannot be reached."""

    async def request(self, pod, port, request):
        name = pod["metadata"]["name"]
        if name == "dead":
            raise GatewayError("dial tcp 10.0.0.9:8080: i/o timeout")
        return HttpResponse(418, f"{name}:{port}{request.path}".encode())

    async def execute(self, pod, container, command):
        return ExecResult(len(command) - 1, " ".join(command), f"in {container}")

    async def logs(self, pod, container, *, previous=False):
        return ["one", "two"]


@pytest.fixture(scope="module", params=["http", "tls"])
def server(request):
    loop = asyncio.new_event_loop()
    server = HttpServer(ApiServer(), gateway=Kubelets(), tls=request.param == "tls")
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def login(server, tmp_path_factory):
    """A client with a kubeconfig of its own."""
    clients = []

    def log_in(credentials=None, *, change=lambda config: None):
        config = server.kubeconfig(credentials=credentials)
        change(config)
        path = tmp_path_factory.mktemp("kube") / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        clients.append(connect(path))
        return clients[-1]

    yield log_in
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def client(login):
    return login()


@pytest.fixture
def namespace(client, request):
    """A namespace of the test's own."""
    name = f"t{abs(hash(request.node.nodeid)) % 10**9}"
    client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def make_pod(client, namespace, name="web", **labels):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "web"}]},
    }
    client.create(PODS, pod)
    status = {
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.9",
            "podIPs": [{"ip": "10.0.0.9"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": True,
                    "restartCount": 0,
                    "image": "web",
                    "imageID": "",
                    "started": True,
                    "state": {"running": {"startedAt": "2026-11-22T20:30:00Z"}},
                }
            ],
        }
    }
    return client.patch(PODS, name, status, namespace, kind="strategic", subresource="status")


def config_map(namespace, name="c", **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def test_an_object_from_its_making_to_its_end(client, namespace):
    made = client.create(CONFIG_MAPS, config_map(namespace, a="1"))
    with pytest.raises(AlreadyExists):
        client.create(CONFIG_MAPS, config_map(namespace))
    changed = client.patch(CONFIG_MAPS, "c", {"data": {"b": "2"}}, namespace)
    assert changed["data"] == {"a": "1", "b": "2"}
    with pytest.raises(Conflict):
        client.replace(CONFIG_MAPS, made)
    operations = [{"op": "remove", "path": "/data/a"}]
    assert client.patch(CONFIG_MAPS, "c", operations, namespace, kind="json")["data"] == {"b": "2"}
    with pytest.raises(Conflict):
        client.delete(CONFIG_MAPS, "c", namespace, uid="another")
    client.delete(CONFIG_MAPS, "c", namespace, uid=made["metadata"]["uid"])
    assert client.find(CONFIG_MAPS, "c", namespace) is None
    with pytest.raises(NotFound, match="not found") as caught:
        client.get(CONFIG_MAPS, "c", namespace)
    assert not isinstance(caught.value, NotServed)


def test_a_dry_run_changes_nothing(client, namespace):
    assert client.create(CONFIG_MAPS, config_map(namespace), dry_run=True)["metadata"]["name"] == "c"
    assert client.list(CONFIG_MAPS, namespace, field_selector="metadata.name=c") == []


def test_server_side_apply_creates_prunes_and_respects_other_owners(client, namespace):
    client.apply(CONFIG_MAPS, config_map(namespace, a="1", b="2"))
    assert client.apply(CONFIG_MAPS, config_map(namespace, a="1"))["data"] == {"a": "1"}
    managers = client.get(CONFIG_MAPS, "c", namespace)["metadata"]["managedFields"]
    assert "cnimigrate" in {entry["manager"] for entry in managers}


def test_an_unknown_field_selector_is_a_clear_refusal(client, namespace):
    with pytest.raises(BadRequest, match="field"):
        client.list(PODS, namespace, field_selector="spec.nonsense=1")


def test_a_long_list_comes_whole(client, namespace, monkeypatch):
    monkeypatch.setattr("pytest_cnimigrate.kube.listing.PAGE", 2)
    for number in range(5):
        client.create(CONFIG_MAPS, config_map(namespace, f"c{number}"))
    found = client.list(CONFIG_MAPS, namespace)
    assert {f"c{number}" for number in range(5)} <= {item["metadata"]["name"] for item in found}
    assert {item["kind"] for item in found} == {"ConfigMap"}


def test_a_watch_tells_what_happens(client, namespace):
    client.create(CONFIG_MAPS, config_map(namespace, "first"))
    told = []
    with client.watch(CONFIG_MAPS, namespace) as watch:
        for event in watch:
            if event.type == "SYNCED":
                client.create(CONFIG_MAPS, config_map(namespace, "second"))
                client.patch(CONFIG_MAPS, "second", {"data": {"x": "y"}}, namespace)
                client.delete(CONFIG_MAPS, "second", namespace)
                continue
            if event.object["metadata"]["name"] in ("first", "second"):
                told.append((event.type, event.object["metadata"]["name"]))
            if event.type == "DELETED":
                break
    assert told == [("ADDED", "first"), ("ADDED", "second"), ("MODIFIED", "second"), ("DELETED", "second")]


def test_a_silent_watch_can_be_stopped_from_another_thread(client, namespace):
    synced = threading.Event()
    watch = client.watch(CONFIG_MAPS, namespace, field_selector="metadata.name=nothing")

    def listen():
        for _ in watch:
            synced.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert synced.wait(5)
    time.sleep(0.05)  # most likely within the watch by now; the test holds either way
    watch.stop()
    listener.join(5)
    assert not listener.is_alive()


def test_an_eviction_that_a_budget_forbids_names_it(client, namespace):
    make_pod(client, namespace)
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    client.create(DISRUPTION_BUDGETS, budget)
    status = {
        "status": {
            "observedGeneration": 1,
            "disruptionsAllowed": 0,
            "currentHealthy": 1,
            "desiredHealthy": 1,
            "expectedPods": 1,
        }
    }
    client.patch(DISRUPTION_BUDGETS, "web", status, namespace, subresource="status")
    with pytest.raises(TooManyRequests) as caught:
        client.evict("web", namespace)
    assert "needs 1 healthy pods and has 1 currently" in caught.value.cause.message
    client.delete(DISRUPTION_BUDGETS, "web", namespace)
    client.evict("web", namespace)
    assert "deletionTimestamp" in client.get(PODS, "web", namespace)["metadata"]


def test_reaching_into_a_pod(client, namespace):
    make_pod(client, namespace)
    reader = client.read_only()
    answer = reader.proxy_pod("web", namespace, port=8080, path="/check?x=1")
    assert (answer.status, answer.body) == (418, b"web:8080/check?x=1")
    assert reader.logs("web", namespace, tail=1).split() == ["two"]
    result = reader.exec("web", namespace, ["echo", "a b"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "echo a b", "in main")


def test_a_pod_that_cannot_be_reached_or_is_not_there(client, namespace):
    make_pod(client, namespace, "dead")
    with pytest.raises(PodUnreachable, match="i/o timeout"):
        client.proxy_pod("dead", namespace, port=8080)
    with pytest.raises(NotFound):
        client.proxy_pod("nobody", namespace, port=8080)
    with pytest.raises(NotFound):
        client.exec("nobody", namespace, ["true"])


def test_rights_are_told_before_they_are_needed(server, login):
    nobody = login(server.add_user("nobody"))
    assert nobody.who_am_i().name == "nobody"
    assert not nobody.can_i("delete", NODES)
    with pytest.raises(Forbidden, match='User "nobody" cannot list resource "nodes"'):
        nobody.list(NODES)


def test_the_administrator_may(client):
    assert client.can_i("patch", NODES, "n1")
    assert "system:masters" in client.who_am_i().groups


def test_a_wrong_token_is_a_matter_of_logging_in(login):
    def spoil(config):
        config["users"][0]["user"]["token"] = "wrong"

    with pytest.raises(Unauthorized, match="renew the credentials"):
        login(change=spoil).list(NODES)


def test_another_clusters_certificate_is_not_trusted(server, login):
    if not server.url.startswith("https"):
        pytest.skip("a matter of TLS")
    other = HttpServer(ApiServer(), tls=True).kubeconfig()["clusters"][0]["cluster"]

    def swap(config):
        config["clusters"][0]["cluster"]["certificate-authority-data"] = other["certificate-authority-data"]

    stranger = login(change=swap)
    with pytest.raises(Untrusted, match="certificate"):
        stranger.list(NODES)
    with pytest.raises(Untrusted, match="certificate"):
        stranger.exec("a", "b", ["true"])


def test_discovery_follows_what_is_installed(client):
    assert client.serves(PODS)
    assert client.server_version().major == 1
    assert client.preferred_version("apps") == "v1"
    if not client.serves(CILIUM_NODES):
        with pytest.raises(NotServed):
            client.list(CILIUM_NODES)
        assert client.find(CILIUM_NODES, "n1") is None
    client.apply(
        CUSTOM_RESOURCE_DEFINITIONS,
        {
            "metadata": {"name": "ciliumnodes.cilium.io"},
            "spec": {
                "group": "cilium.io",
                "scope": "Cluster",
                "names": {
                    "plural": "ciliumnodes",
                    "singular": "ciliumnode",
                    "kind": "CiliumNode",
                    "listKind": "CiliumNodeList",
                },
                "versions": [
                    {
                        "name": "v2",
                        "served": True,
                        "storage": True,
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                        },
                    }
                ],
            },
        },
    )
    assert client.serves(CILIUM_NODES)
    assert client.preferred_version("cilium.io") == "v2"
    assert client.list(CILIUM_NODES) == []


def test_many_threads_may_share_a_client(client, namespace):
    client.create(CONFIG_MAPS, config_map(namespace))
    failures = []

    def read():
        try:
            for _ in range(10):
                client.get(CONFIG_MAPS, "c", namespace)
        except KubeError as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
