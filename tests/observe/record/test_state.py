"""The state can be asked for single objects, by index, and for all of a kind."""

from __future__ import annotations

import pytest

from pytest_cnimigrate.kube.errors import NotFound
from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.observe.record import BY_NODE, Index, State, StateReads


def pod(name, node="", *, namespace="shop", owner="", **labels):
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "kind": "ReplicaSet", "name": "x"}]
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}}


@pytest.fixture
def state():
    state = State()
    for one in (pod("a", "n1", owner="rs-1"), pod("b", "n1"), pod("c", "n2", namespace="other", app="web")):
        state.put("Pod", f"{one['metadata']['namespace']}/{one['metadata']['name']}", one)
    return state


def names(objects):
    return sorted(one["metadata"]["name"] for one in objects)


def test_pods_are_found_by_node_owner_and_namespace(state):
    assert names(state.pods_on("n1")) == ["a", "b"]
    assert names(state.owned_by("rs-1")) == ["a"]
    assert names(state.in_namespace("Pod", "other")) == ["c"]
    assert state.pods_on("nowhere") == []


def test_an_object_that_changes_is_found_where_it_is_now(state):
    state.put("Pod", "shop/b", pod("b", "n2"))
    assert names(state.pods_on("n1")) == ["a"]
    assert names(state.pods_on("n2")) == ["b", "c"]
    state.drop("Pod", "other/c")
    assert names(state.pods_on("n2")) == ["b"]
    assert state.count("Pod") == 2


def test_what_is_asked_for_is_the_callers_own(state):
    state.get("Pod", "shop/a")["metadata"]["name"] = "spoilt"
    assert state.get("Pod", "shop/a")["metadata"]["name"] == "a"


def test_further_indexes_can_be_had():
    by_app = Index("app", "Pod", lambda one: filter(None, [one["metadata"]["labels"].get("app")]))
    state = State([by_app])
    state.put("Pod", "shop/a", pod("a", app="web"))
    assert names(state.lookup(by_app, "web")) == ["a"]
    with pytest.raises(KeyError, match="no index 'node'"):
        state.lookup(BY_NODE, "n1")


def test_a_check_can_ask_the_state_as_it_asks_a_cluster(state):
    reads = StateReads(state)
    assert names(reads.list(PODS)) == ["a", "b", "c"]
    assert names(reads.list(PODS, "shop")) == ["a", "b"]
    assert names(reads.list(PODS, label_selector="app=web")) == ["c"]
    assert reads.get(PODS, "a", "shop")["spec"] == {"nodeName": "n1"}
    assert reads.find(NODES, "n1") is None
    with pytest.raises(NotFound, match="the record holds no pod shop/x"):
        reads.get(PODS, "x", "shop")
