"""Deleting: who has a say before an object is gone."""

from __future__ import annotations

import datetime as dt

import pytest
from apiserver_samples import config_map, deployment, pod

from pytest_cnimigrate.model.objects import copy, parse_timestamp
from pytest_cnimigrate.model.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS
from pytest_cnimigrate.simulator.apiserver.binding import bind
from pytest_cnimigrate.simulator.apiserver.deletion import DeleteOptions
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import ApiError


def running(server: ApiServer, name: str = "web", **spec: object) -> None:
    server.create(PODS, pod(name, **spec), "default")
    bind(server, name, "default", "n1")


def test_a_pod_on_a_node_waits_for_its_kubelet(server: ApiServer) -> None:
    running(server)
    left, gone = server.delete(PODS, "web", "default")
    assert not gone
    metadata = left["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 30
    ahead = parse_timestamp(metadata["deletionTimestamp"]) - dt.datetime.now(dt.UTC)
    assert 28 < ahead.total_seconds() <= 30
    assert server.delete(PODS, "web", "default", options=DeleteOptions(grace_period_seconds=0))[1]
    assert server.list(PODS)[0] == []


def test_a_pod_without_a_node_or_with_its_work_done_goes_at_once(server: ApiServer) -> None:
    server.create(PODS, pod("unbound"), "default")
    running(server, "done")
    server.patch(PODS, "done", {"status": {"phase": "Failed"}}, "default", subresource="status")
    assert server.delete(PODS, "unbound", "default")[1]
    assert server.delete(PODS, "done", "default")[1]


def test_what_has_nothing_to_wait_for_goes_unmarked(server: ApiServer) -> None:
    # As recorded: watchers of a DaemonSet or a Node see the last state of it, not a deletion that took time.
    created = server.create(CONFIG_MAPS, config_map(), "default")
    last, gone = server.delete(CONFIG_MAPS, created["metadata"]["name"], "default")
    assert gone
    assert not {"deletionTimestamp", "deletionGracePeriodSeconds"} & last["metadata"].keys()


def test_a_second_deletion_shortens_the_grace_and_never_lengthens_it(server: ApiServer) -> None:
    running(server, terminationGracePeriodSeconds=60)
    server.delete(PODS, "web", "default")
    shorter, _ = server.delete(PODS, "web", "default", options=DeleteOptions(grace_period_seconds=10))
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 10
    longer, _ = server.delete(PODS, "web", "default", options=DeleteOptions(grace_period_seconds=300))
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 10
    assert longer["metadata"]["generation"] == 2, "counted once, when the deletion began"


def test_a_finalizer_holds_the_object_until_it_is_taken_off(server: ApiServer) -> None:
    held = config_map() | {"metadata": {"name": "settings", "finalizers": ["example.com/hold"]}}
    server.create(CONFIG_MAPS, held, "default")
    assert not server.delete(CONFIG_MAPS, "settings", "default")[1]
    more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    with pytest.raises(ApiError, match="no new finalizers can be added if the object is being deleted"):
        server.patch(CONFIG_MAPS, "settings", more, "default")
    server.patch(CONFIG_MAPS, "settings", {"metadata": {"finalizers": None}}, "default")
    assert server.list(CONFIG_MAPS)[0] == []


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])],
)
def test_a_propagation_policy_is_left_to_the_garbage_collector(
    server: ApiServer, policy: str, finalizers: list[str]
) -> None:
    server.create(DEPLOYMENTS, deployment(), "default")
    options = DeleteOptions(propagation_policy=policy)
    left, gone = server.delete(DEPLOYMENTS, "web", "default", options=options)
    assert (left["metadata"]["finalizers"], gone) == (finalizers, False)
    background = DeleteOptions(propagation_policy="Background")
    assert server.delete(DEPLOYMENTS, "web", "default", options=background)[1]


def test_a_namespace_takes_nothing_new_and_goes_when_it_is_finalized(server: ApiServer) -> None:
    server.create(NAMESPACES, {"metadata": {"name": "shop"}})
    left, gone = server.delete(NAMESPACES, "shop")
    assert (left["status"]["phase"], gone) == ("Terminating", False)
    with pytest.raises(ApiError, match="because it is being terminated") as refused:
        server.create(CONFIG_MAPS, config_map(), "shop")
    assert refused.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    final = copy(left)
    final["spec"]["finalizers"] = []
    server.update(NAMESPACES, final, subresource="finalize")
    with pytest.raises(ApiError, match='namespaces "shop" not found'):
        server.get(NAMESPACES, "shop")


def test_a_precondition_keeps_a_namesake_alive(server: ApiServer) -> None:
    server.create(CONFIG_MAPS, config_map(), "default")
    with pytest.raises(ApiError, match="UID in precondition: other") as refused:
        server.delete(CONFIG_MAPS, "settings", "default", options=DeleteOptions(uid="other"))
    assert refused.value.is_conflict
    assert server.get(CONFIG_MAPS, "settings", "default")


def test_a_pod_is_bound_once(server: ApiServer) -> None:
    running(server)
    [scheduled] = server.get(PODS, "web", "default")["status"]["conditions"]
    assert "observedGeneration" not in scheduled, "kubelet adds it, as recorded"
    with pytest.raises(ApiError, match='pod web is already assigned to node "n1"') as refused:
        bind(server, "web", "default", "n2")
    assert refused.value.is_conflict
    server.create(PODS, pod("other"), "default")
    with pytest.raises(ApiError, match="UID in precondition"):
        bind(server, "other", "default", "n1", uid="of-a-namesake")
