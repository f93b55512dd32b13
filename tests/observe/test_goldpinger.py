"""Goldpinger read as in a run: through the API server's pod proxy, pod by pod, over HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import orjson
import pytest
import yaml

from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.kube.errors import Forbidden
from pytest_cnimigrate.kube.retrying import Timeouts
from pytest_cnimigrate.model.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS
from pytest_cnimigrate.observe.goldpinger import Expectation, Goldpinger, State
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.gateway import GatewayError, HttpResponse
from pytest_cnimigrate.simulator.server import HttpServer

NAME = "52-goldpinger-cross-cni-from-old"
CLASSES = {"real-worker": "old", "real-worker2": "old", "real-worker3": "new"}
SELECTOR = "app.kubernetes.io/name=goldpinger"


class Pods:
    """Each pod's own answer to `/check`, from a recorded `/check_all`; a test may change what one does."""

    def __init__(self, check_all):
        self.checks = {
            name: orjson.dumps(answer["response"]) for name, answer in check_all["responses"].items()
        }
        self.instead = {}
        self.under_way = 0
        self.most_at_once = 0

    async def request(self, pod, port, request):
        name = pod["metadata"]["name"]
        assert (port, request.path, request.method) == (8080, "/check", "GET")
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await asyncio.sleep(0)
            if name in self.instead:
                return await self.instead[name]()
            return HttpResponse(200, self.checks[name], {"Content-Type": "application/json"})
        finally:
            self.under_way -= 1


@pytest.fixture
def mesh(recording):
    return Pods(recording(NAME).check_all)


@pytest.fixture
def server(mesh):
    loop = asyncio.new_event_loop()
    server = HttpServer(ApiServer(), gateway=mesh)
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def login(server, tmp_path):
    clients = []

    def log_in(credentials=None):
        path = tmp_path / f"kubeconfig-{len(clients)}"
        path.write_text(yaml.safe_dump(server.kubeconfig(credentials=credentials)))
        clients.append(connect(path))
        return clients[-1]

    yield log_in
    for client in clients:
        client.close()


@pytest.fixture
def client(login, recording):
    """A cluster with the recorded goldpinger pods in it."""
    client = login()
    for recorded in recording(NAME).pods:
        metadata = {key: recorded["metadata"][key] for key in ("name", "namespace", "labels")}
        spec = {
            "nodeName": recorded["spec"]["nodeName"],
            "containers": [{"name": "goldpinger", "image": "goldpinger"}],
        }
        client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        status = {"status": recorded["status"]}
        client.patch(PODS, metadata["name"], status, "default", kind="strategic", subresource="status")
    return client


@pytest.fixture
def goldpinger(client):
    return Goldpinger(client.read_only(), "default", SELECTOR)


def remove(client, name):
    client.delete(PODS, name, "default", grace_period=0)


def test_every_pod_is_asked_for_its_own_row(goldpinger, mesh):
    matrix = goldpinger.read(CLASSES, expected=Expectation(pods=8, nodes=frozenset(CLASSES)))
    assert matrix.problems() == []
    assert {key: (counts.pairs, counts.ok) for key, counts in matrix.counts.items()} == {
        ("new", "new"): (1, 1),
        ("new", "old"): (7, 7),
        ("old", "new"): (7, 7),
        ("old", "old"): (49, 49),
    }
    assert json.dumps(matrix.summary())


def test_no_more_pods_are_asked_at_once_than_allowed(client, mesh):
    Goldpinger(client, "default", SELECTOR, at_once=2).read(CLASSES)
    assert mesh.most_at_once <= 2


def test_a_pod_that_cannot_be_reached_is_unknown_and_not_failed(goldpinger, mesh):
    async def unreachable():
        raise GatewayError("dial tcp 10.244.5.94:8080: i/o timeout")

    mesh.instead["goldpinger-lbflz"] = unreachable
    matrix = goldpinger.read(CLASSES)
    assert matrix.total.failed == 0
    assert (matrix.counts["new", "old"].unknown, matrix.counts["old", "new"].ok) == (7, 7)
    (problem,) = matrix.problems()
    assert problem.startswith(
        "no answer from 1 of 8 goldpinger pods, e.g. goldpinger-lbflz on node real-worker3:"
    )
    assert "i/o timeout" in problem


def test_a_pod_that_hangs_does_not_hold_up_the_others(client, mesh):
    async def hang():
        await asyncio.sleep(30)

    mesh.instead["goldpinger-lbflz"] = hang
    goldpinger = Goldpinger(client, "default", SELECTOR, timeouts=Timeouts(connect=1.0, read=0.3))
    started = time.monotonic()
    matrix = goldpinger.read(CLASSES)
    assert time.monotonic() - started < 3.0
    assert [pod.name for pod, _ in matrix.silent()] == ["goldpinger-lbflz"]
    assert "no answer within the time limit" in matrix.problems()[0]


def test_a_passive_pod_is_unknown(goldpinger, mesh):
    async def passive():
        return HttpResponse(503, b"")

    mesh.instead["goldpinger-lbflz"] = passive
    assert "/check answered 503" in goldpinger.read(CLASSES).problems()[0]


def test_a_pod_that_is_deleted_while_we_ask_drops_out(goldpinger, mesh, client):
    async def die():
        await asyncio.to_thread(remove, client, "goldpinger-lbflz")
        raise GatewayError("connection refused")

    mesh.instead["goldpinger-lbflz"] = die
    matrix = goldpinger.read(CLASSES)
    assert matrix.problems() == []
    assert matrix.total.pairs == 49


def test_a_pod_that_comes_while_we_ask_counts_as_unknown(goldpinger, mesh, client):
    new = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "goldpinger-late",
            "namespace": "default",
            "labels": {"app.kubernetes.io/name": "goldpinger"},
        },
        "spec": {"nodeName": "real-worker3", "containers": [{"name": "goldpinger", "image": "goldpinger"}]},
    }

    async def born():
        await asyncio.to_thread(client.create, PODS, new)
        return HttpResponse(200, mesh.checks["goldpinger-lbflz"])

    mesh.instead["goldpinger-lbflz"] = born
    matrix = goldpinger.read(CLASSES)
    assert matrix.pair("goldpinger-late", "goldpinger-lbflz").state is State.UNKNOWN
    assert matrix.pair("goldpinger-lbflz", "goldpinger-late").state is State.ABSENT
    assert matrix.pair("goldpinger-lbflz", "goldpinger-sstp5").state is State.OK
    assert not matrix.is_complete


def test_a_pending_pod_is_expected_but_not_asked(goldpinger, mesh, client):
    client.patch(PODS, "goldpinger-lbflz", {"status": {"phase": "Pending"}}, "default", subresource="status")

    async def nobody_asks():
        raise AssertionError("asked")

    mesh.instead["goldpinger-lbflz"] = nobody_asks
    assert "on node real-worker3: the pod is Pending" in "\n".join(goldpinger.read(CLASSES).problems())


def test_no_pods_at_all_are_no_success(login):
    matrix = Goldpinger(login(), "default", SELECTOR).read(CLASSES)
    assert matrix.problems() == ["there is no goldpinger pod: nothing was measured"]


def test_a_missing_right_to_use_the_proxy_is_said_at_once(server, login, client):
    credentials = server.add_user("viewer")
    kind = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    client.apply(CLUSTER_ROLES, {"metadata": {"name": "view-pods"}, "rules": [rule]})
    client.apply(
        CLUSTER_ROLE_BINDINGS,
        {
            "metadata": {"name": "view-pods"},
            "roleRef": {"apiGroup": kind, "kind": "ClusterRole", "name": "view-pods"},
            "subjects": [{"apiGroup": kind, "kind": "User", "name": "viewer"}],
        },
    )
    with pytest.raises(Forbidden, match="pods/proxy"):
        Goldpinger(login(credentials), "default", SELECTOR).read(CLASSES)
