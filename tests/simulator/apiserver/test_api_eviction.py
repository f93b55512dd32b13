"""Evictions ask the budgets first."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver_samples import budget, pod

from pytest_cnimigrate.model.objects import condition
from pytest_cnimigrate.model.resources import DISRUPTION_BUDGETS, PODS
from pytest_cnimigrate.simulator.apiserver.binding import bind
from pytest_cnimigrate.simulator.apiserver.errors import status_of
from pytest_cnimigrate.simulator.apiserver.eviction import evict
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import ApiError


@pytest.fixture
def server() -> ApiServer:
    """A server with two ready pods, `web-1` and `web-2`, on a node."""
    server = ApiServer()
    for name in ("web-1", "web-2"):
        server.create(PODS, pod(name), "default")
        bind(server, name, "default", "n1")
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        server.patch(PODS, name, {"status": ready}, "default", subresource="status")
    return server


def add_budget(server: ApiServer, name: str = "web", **status: Any) -> None:
    server.create(DISRUPTION_BUDGETS, budget(name, minAvailable=2), "default")
    counted = {"observedGeneration": 1, "desiredHealthy": 2, "currentHealthy": 2, "expectedPods": 2}
    server.patch(DISRUPTION_BUDGETS, name, {"status": counted | status}, "default", subresource="status")


def refused(server: ApiServer, name: str = "web-1") -> ApiError:
    with pytest.raises(ApiError) as error:
        evict(server, name, "default")
    assert "deletionTimestamp" not in server.get(PODS, name, "default")["metadata"]
    return error.value


def test_a_budget_with_nothing_left_refuses_as_the_real_server_does(server: ApiServer) -> None:
    add_budget(server, disruptionsAllowed=0)
    text = "The disruption budget web needs 2 healthy pods and has 2 currently"
    assert status_of(refused(server)) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "reason": "TooManyRequests",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": text}]},
        "code": 429,
    }


def test_an_allowance_is_used_up_before_its_controller_counts_again(server: ApiServer) -> None:
    add_budget(server, disruptionsAllowed=1)
    evict(server, "web-1", "default")
    status = server.get(DISRUPTION_BUDGETS, "web", "default")["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["web-1"]
    assert refused(server, "web-2").code == 429


def test_a_budget_that_has_just_changed_is_not_trusted(server: ApiServer) -> None:
    add_budget(server, disruptionsAllowed=1, observedGeneration=0)
    error = refused(server)
    assert (error.code, error.retry_after) == (429, 10)
    assert "still being processed" in error.details["causes"][0]["message"]


def test_two_budgets_on_one_pod_are_an_error(server: ApiServer) -> None:
    add_budget(server, "one", disruptionsAllowed=1)
    add_budget(server, "two", disruptionsAllowed=1)
    assert refused(server).code == 500


def test_without_a_budget_the_pod_goes(server: ApiServer) -> None:
    evict(server, "web-1", "default")
    evicted = server.get(PODS, "web-1", "default")
    assert "deletionTimestamp" in evicted["metadata"]
    target = condition(evicted, "DisruptionTarget")
    assert target is not None
    assert (target["reason"], target["message"]) == ("EvictionByEvictionAPI", "Eviction API: evicting")


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_a_pod_that_does_not_serve_costs_no_allowance(server: ApiServer, phase: str) -> None:
    add_budget(server, disruptionsAllowed=0)
    server.patch(PODS, "web-1", {"status": {"phase": phase}}, "default", subresource="status")
    evict(server, "web-1", "default")
    assert "web-1" not in server.get(DISRUPTION_BUDGETS, "web", "default")["status"].get("disruptedPods", {})


@pytest.mark.parametrize(
    ("healthy", "policy", "goes"),
    [(2, None, True), (1, None, False), (1, "AlwaysAllow", True)],
)
def test_a_pod_that_is_not_ready_goes_when_the_application_can_spare_it(
    server: ApiServer, healthy: int, policy: str | None, goes: bool
) -> None:
    add_budget(server, disruptionsAllowed=0, currentHealthy=healthy)
    if policy:
        change = {"spec": {"unhealthyPodEvictionPolicy": policy}}
        server.patch(DISRUPTION_BUDGETS, "web", change, "default")
        seen = {"status": {"observedGeneration": 2}}
        server.patch(DISRUPTION_BUDGETS, "web", seen, "default", subresource="status")
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    server.patch(PODS, "web-1", unready, "default", subresource="status")
    if goes:
        evict(server, "web-1", "default")
        assert "deletionTimestamp" in server.get(PODS, "web-1", "default")["metadata"]
    else:
        assert refused(server).code == 429
