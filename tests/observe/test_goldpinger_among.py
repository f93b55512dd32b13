"""Reading the matrix among the pods of some nodes: the others are neither asked nor counted."""

from __future__ import annotations

import orjson
import pytest

from pytest_cnimigrate.kube.proxying import ProxyAnswer
from pytest_cnimigrate.observe.goldpinger import Expectation, Goldpinger

CLASSES = {"old-1": "old", "new-1": "new", "new-2": "new"}
PLACES = {"a": "old-1", "b": "new-1", "c": "new-2"}


def goldpinger_pod(name, node):
    spec = {"nodeName": node} if node else {}
    phase = "Running" if node else "Pending"
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": spec,
        "status": {"phase": phase, "podIP": f"10.0.0.{ord(name)}", "hostIP": "172.30.0.1"},
    }


class Pods:
    """The two questions that goldpinger's reader asks, answered for pods which all reach each other."""

    def __init__(self, places):
        self.pods = [goldpinger_pod(name, node) for name, node in places.items()]
        self.asked = []

    def list(self, resource, namespace="", **_):
        return self.pods

    def proxy_pod(self, name, namespace, **_):
        self.asked.append(name)
        results = {
            pod["metadata"]["name"]: {
                "OK": True,
                "PodIP": pod["status"]["podIP"],
                "PingTime": "2026-11-22T20:30:45.500Z",
            }
            for pod in self.pods
        }
        return ProxyAnswer(200, headers={}, body=orjson.dumps({"podResults": results}))


@pytest.fixture
def pods():
    return Pods(PLACES)


def probe(pods):
    return Goldpinger(pods, "default", "app.kubernetes.io/name=goldpinger")


def test_only_pods_on_these_nodes_are_asked_and_are_targets(pods):
    matrix = probe(pods).read(CLASSES, among={"new-1", "new-2"}, expected=Expectation(pods=2))
    assert sorted(pods.asked) == ["b", "c"]
    assert [pod.name for pod in matrix.pods] == ["b", "c"]
    assert list(matrix.counts) == [("new", "new")]
    assert matrix.problems() == []


def test_without_it_every_pod_counts(pods):
    matrix = probe(pods).read(CLASSES)
    assert sorted(pods.asked) == ["a", "b", "c"]
    assert set(matrix.counts) == {("old", "old"), ("old", "new"), ("new", "old"), ("new", "new")}


def test_a_pod_without_a_node_is_on_none_of_them_and_so_is_missed():
    pods = Pods({"b": "new-1", "c": ""})
    matrix = probe(pods).read(CLASSES, among={"new-1", "new-2"}, expected=Expectation(pods=2))
    assert [pod.name for pod in matrix.pods] == ["b"]
    assert matrix.problems()
    assert not matrix.is_complete


def test_no_nodes_mean_no_pods_and_nothing_good(pods):
    matrix = probe(pods).read(CLASSES, among=())
    assert pods.asked == []
    assert not matrix.is_good
