"""Disruption budgets: what may be evicted, and what never is."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from straw_cluster import Cluster, bare_pod, workload

from pytest_cnimigrate.model.objects import Object, condition, name_of, timestamp
from pytest_cnimigrate.model.resources import DAEMON_SETS, DEPLOYMENTS, DISRUPTION_BUDGETS, PODS
from pytest_cnimigrate.simulator.client.api import ApiError


def budget(name: str = "web", **spec: object) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
    }


def figures(cluster: Cluster, name: str = "web") -> tuple[int, int, int, int]:
    """(expected, desired, healthy, allowed), or zeros until the budget has been looked at."""
    found = cluster.get(DISRUPTION_BUDGETS, name)
    status = found["status"]
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return (0, 0, 0, 0)
    return (
        status["expectedPods"],
        status["desiredHealthy"],
        status["currentHealthy"],
        status["disruptionsAllowed"],
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 3}, (4, 3, 4, 1)),
        ({"minAvailable": "50%"}, (4, 2, 4, 2)),
        ({"minAvailable": "60%"}, (4, 3, 4, 1)),
        ({"minAvailable": "100%"}, (4, 4, 4, 0)),
        ({"maxUnavailable": 1}, (4, 3, 4, 1)),
        ({"maxUnavailable": "30%"}, (4, 2, 4, 2)),
        ({"maxUnavailable": 0}, (4, 4, 4, 0)),
    ],
    ids=str,
)
async def test_the_status_follows_the_budget(
    cluster: Cluster, spec: dict[str, object], expected: tuple[int, int, int, int]
) -> None:
    await cluster.add_nodes(2)
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=4))
    await cluster.create(DISRUPTION_BUDGETS, budget(**spec))
    await cluster.until(lambda: figures(cluster) == expected, f"{expected}")
    allowed = condition(cluster.get(DISRUPTION_BUDGETS, "web"), "DisruptionAllowed") or {}
    wanted = ("True", "SufficientPods") if expected[3] else ("False", "InsufficientPods")
    assert (allowed["status"], allowed["reason"]) == wanted


async def test_an_unready_pod_uses_up_the_budget(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=2))
    await cluster.create(DISRUPTION_BUDGETS, budget(minAvailable=1))
    await cluster.until(lambda: figures(cluster) == (2, 1, 2, 1), "one may go")
    await cluster.kubelet.set_ready(cluster.running("web")[0], False)
    await cluster.until(lambda: figures(cluster) == (2, 1, 1, 0), "none may go")


async def test_eviction_is_refused_until_the_replacement_is_ready(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=2))
    await cluster.create(DISRUPTION_BUDGETS, budget(maxUnavailable=1))
    await cluster.until(lambda: figures(cluster) == (2, 1, 2, 1), "one may go")
    cluster.kubelet.start_delay = 0.05
    first, second = cluster.running("web")
    await cluster.api.evict(name_of(first), "default")
    with pytest.raises(ApiError) as refused:
        await cluster.api.evict(name_of(second), "default")
    assert refused.value.code == 429
    await cluster.until(lambda: figures(cluster) == (2, 1, 1, 0), "the eviction seen")
    await cluster.until(lambda: figures(cluster) == (2, 1, 2, 1), "the replacement ready")
    await cluster.api.evict(name_of(second), "default")


async def test_a_percentage_of_a_daemonsets_pods_cannot_be_told_and_blocks_everything(
    cluster: Cluster,
) -> None:
    await cluster.add_nodes(1)
    await cluster.create(DAEMON_SETS, workload(DAEMON_SETS, "web"))
    await cluster.until(lambda: len(cluster.ready("web")) == 1, "the daemon")
    await cluster.create(DISRUPTION_BUDGETS, budget(maxUnavailable="50%"))

    def allowed() -> Object:
        return condition(cluster.get(DISRUPTION_BUDGETS, "web"), "DisruptionAllowed") or {}

    await cluster.until(lambda: allowed().get("reason") == "SyncFailed", "the condition")
    assert "does not implement the scale subresource" in allowed()["message"]
    assert cluster.get(DISRUPTION_BUDGETS, "web")["status"]["disruptionsAllowed"] == 0


async def test_an_eviction_that_deletes_nothing_stops_counting_after_two_minutes(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=2))
    await cluster.create(DISRUPTION_BUDGETS, budget(minAvailable=1))
    await cluster.until(lambda: figures(cluster)[3] == 1, "one may go")
    name = name_of(cluster.running("web")[0])
    granted = {"status": {"disruptedPods": {name: "2000-01-01T00:00:00Z"}, "disruptionsAllowed": 0}}
    await cluster.api.patch(DISRUPTION_BUDGETS, "web", granted, "default", subresource="status")
    await cluster.until(lambda: figures(cluster)[3] == 1, "the budget back")
    assert "disruptedPods" not in cluster.get(DISRUPTION_BUDGETS, "web")["status"]


async def test_a_granted_eviction_counts_before_its_pod_is_on_its_way_out(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=2))
    await cluster.create(DISRUPTION_BUDGETS, budget(minAvailable=1))
    await cluster.until(lambda: figures(cluster)[3] == 1, "one may go")
    granted = {"status": {"disruptedPods": {name_of(cluster.running("web")[0]): timestamp()}}}
    await cluster.api.patch(DISRUPTION_BUDGETS, "web", granted, "default", subresource="status")
    await cluster.until(lambda: figures(cluster) == (2, 1, 1, 0), "none may go")


async def test_bare_pods_are_counted_one_by_one(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    for name in ("a", "b"):
        await cluster.create(PODS, bare_pod(name, labels={"app": "web"}))
    await cluster.create(DISRUPTION_BUDGETS, budget(minAvailable=1))
    await cluster.until(lambda: figures(cluster) == (2, 1, 2, 1), "one may go")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replicas=st.integers(2, 8), least=st.integers(1, 6), seed=st.integers(0, 2**16))
def test_random_evictions_never_take_an_application_below_its_budget(
    replicas: int, least: int, seed: int
) -> None:
    asyncio.run(_evict_at_random(replicas, min(least, replicas), random.Random(seed)))


async def _evict_at_random(replicas: int, least: int, dice: random.Random) -> None:
    async with asyncio.timeout(30), Cluster() as cluster:
        await cluster.add_nodes(2)
        await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=replicas))
        await cluster.create(DISRUPTION_BUDGETS, budget(minAvailable=least))
        await cluster.until(lambda: figures(cluster)[2] == replicas, "all healthy")
        fewest = [replicas]

        def count(*_: object) -> None:
            fewest[0] = min(fewest[0], len(cluster.ready("web")))

        cluster.pods.add_handler(count)
        cluster.kubelet.start_delay = dice.uniform(0, 0.01)
        evicted = 0
        refusals: set[int] = set()
        for _ in range(40):
            pods = cluster.running("web")
            if pods:
                try:
                    await cluster.api.evict(name_of(dice.choice(pods)), "default")
                    evicted += 1
                except ApiError as error:
                    refusals.add(error.code)
            await asyncio.sleep(dice.choice([0, 0, 0.001, 0.005]))
        assert fewest[0] >= least
        assert refusals <= {429}
        if least < replicas:
            assert evicted > 0
