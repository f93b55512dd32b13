"""The queue, the workers, the event recorder, and starting and stopping them."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from straw_cluster import Cluster, bare_pod

from pytest_cnimigrate.model.objects import Object, name_of
from pytest_cnimigrate.model.quantities import milli
from pytest_cnimigrate.model.resources import CONFIG_MAPS, EVENTS, PODS
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.client.events import COMBINE_AFTER, EventRecorder
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.controllers.base import Context, Controller
from pytest_cnimigrate.simulator.controllers.queue import WorkQueue


async def test_a_key_waits_once_however_often_it_is_added() -> None:
    queue: WorkQueue[str] = WorkQueue(Pace(1000))
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert not len(queue)


async def test_a_key_that_is_worked_on_comes_back_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue(Pace(1000))
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert not len(queue)  # nobody else may have it meanwhile
    queue.done("a")
    assert await queue.get() == "a"


async def test_the_earliest_of_several_delays_counts() -> None:
    queue: WorkQueue[str] = WorkQueue(Pace(1000))
    queue.add_after("a", 100_000)
    queue.add_after("a", 1)
    async with asyncio.timeout(5):
        assert await queue.get() == "a"
    queue.close()


async def test_retries_take_longer_and_longer_and_are_forgotten_after_success() -> None:
    queue: WorkQueue[str] = WorkQueue(Pace(1))
    now = asyncio.get_running_loop().time()
    delays = []
    for _ in range(6):
        queue.retry("a")
        delays.append(queue._timers["a"].when() - now)
        queue.close()
    assert delays == sorted(delays)
    assert delays[-1] > 20 * delays[0]
    queue.forget("a")
    queue.retry("a")
    assert queue._timers["a"].when() - now < delays[1]
    queue.close()


class Stubborn(Controller):
    """Fails a few times before it succeeds."""

    component: ClassVar[str] = "stubborn"

    def __init__(self, context: Context, failures: list[Exception]) -> None:
        super().__init__(context)
        self.failures = failures
        self.done = asyncio.Event()

    def watch(self) -> None:
        self.queue.add("key")

    async def sync(self, key: str) -> None:
        if self.failures:
            raise self.failures.pop()
        self.done.set()


async def test_a_conflict_an_error_and_a_bug_do_not_stop_a_controller(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [ApiError(409, "Conflict", "changed"), ApiError(500, "Boom", "boom"), KeyError("bug")]
    controller = Stubborn(Context(cluster.api, cluster.informers, cluster.pace), failures)
    controller.watch()
    task = asyncio.create_task(controller.run())
    async with asyncio.timeout(5):
        await controller.done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "stubborn: key failed" in caplog.text  # the bug, with its traceback
    assert "boom" in caplog.text
    assert "changed" not in caplog.text  # conflicts are daily bread


async def recorded(cluster: Cluster, *messages: str) -> list[Object]:
    """Record events on one object and return what has been written."""
    subject = await cluster.create(CONFIG_MAPS, {"metadata": {"name": "subject", "namespace": "default"}})
    recorder = EventRecorder(cluster.api, "tester", cluster.pace, host="node-1")
    task = asyncio.create_task(recorder.run())
    for message in messages:
        recorder.event(subject, "Warning", "Testing", message)
    await recorder.flush()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [event for event in cluster.all(EVENTS) if event["reason"] == "Testing"]


async def test_an_event_has_the_recorded_shape_and_counts_repetitions(cluster: Cluster) -> None:
    (event,) = await recorded(cluster, "again", "again", "again")
    assert event["count"] == 3
    assert event["source"] == {"component": "tester", "host": "node-1"}
    assert event["type"] == "Warning"
    assert event["involvedObject"]["kind"] == "ConfigMap"
    assert event["involvedObject"]["name"] == "subject"
    assert event["reportingComponent"] == "tester"
    assert name_of(event).startswith("subject.")


async def test_many_similar_events_are_combined(cluster: Cluster) -> None:
    events = await recorded(cluster, *(f"pod {number}" for number in range(COMBINE_AFTER + 5)))
    combined = [event for event in events if event["message"].startswith("(combined from similar events): ")]
    assert len(events) == COMBINE_AFTER
    assert [event["count"] for event in combined] == [6]
    assert combined[0]["message"].endswith("pod 14")


async def test_stopping_leaves_no_task_behind() -> None:
    cluster = Cluster()
    before = asyncio.all_tasks()
    async with cluster:
        await cluster.add_nodes(1)
        await cluster.create(PODS, bare_pod("web"))
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100m", 100), ("2", 2000), ("1.5", 1500), ("1Ki", 1024_000), ("1e3", 1_000_000), ("1n", 1), (4, 4000)],
)
def test_quantities_are_read_as_kube_reads_them(text: str | int, expected: int) -> None:
    assert milli(text) == expected


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1KiB", "one"])
def test_what_is_no_quantity_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        milli(text)
