"""Watches: nothing missed, nothing twice, and a clear end when a version is too old."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from apiserver_samples import config_map, pod

from pytest_cnimigrate.model.resources import CONFIG_MAPS, PODS
from pytest_cnimigrate.simulator.apiserver import store
from pytest_cnimigrate.simulator.apiserver.binding import bind
from pytest_cnimigrate.simulator.apiserver.deletion import DeleteOptions
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import ApiError, WatchEvent
from pytest_cnimigrate.simulator.client.informer import Informer
from pytest_cnimigrate.simulator.client.local import LocalApi


class Recorder:
    """What one watch has seen so far."""

    def __init__(self, events: AsyncIterator[WatchEvent]) -> None:
        self.seen: list[WatchEvent] = []
        self._events = events
        self._task = asyncio.create_task(self._record())

    async def _record(self) -> None:
        async for event in self._events:
            self.seen.append(event)

    async def words(self) -> list[tuple[str, str]]:
        """Type and name of every event, once the loop has delivered all there is."""
        await asyncio.sleep(0.01)
        return [(event.type, event.object["metadata"]["name"]) for event in self.seen]

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture
def api(server: ApiServer) -> LocalApi:
    return LocalApi(server)


async def test_a_watch_hears_what_comes_after_its_list_in_order(api: LocalApi) -> None:
    await api.create(CONFIG_MAPS, config_map("before"), "default")
    _, version = await api.list(CONFIG_MAPS)
    watch = Recorder(api.watch(CONFIG_MAPS, resource_version=version))
    await api.create(CONFIG_MAPS, config_map("a"), "default")
    await api.patch(CONFIG_MAPS, "a", {"data": {"k": "v"}}, "default")
    await api.delete(CONFIG_MAPS, "a", "default")
    assert await watch.words() == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in watch.seen]
    assert versions == sorted(set(versions))
    await watch.stop()


async def test_a_watch_resumes_where_another_one_broke_off(api: LocalApi) -> None:
    first = await api.create(CONFIG_MAPS, config_map("a"), "default")
    await api.create(CONFIG_MAPS, config_map("b"), "default")
    watch = Recorder(api.watch(CONFIG_MAPS, resource_version=first["metadata"]["resourceVersion"]))
    await api.create(CONFIG_MAPS, config_map("c"), "default")
    assert await watch.words() == [("ADDED", "b"), ("ADDED", "c")]
    await watch.stop()


async def test_an_object_that_starts_or_ceases_to_match_comes_and_goes(api: LocalApi) -> None:
    _, version = await api.list(CONFIG_MAPS)
    watch = Recorder(api.watch(CONFIG_MAPS, resource_version=version, label_selector="app=web"))
    await api.create(CONFIG_MAPS, config_map("a"), "default")
    await api.patch(CONFIG_MAPS, "a", {"metadata": {"labels": {"app": "web"}}}, "default")
    await api.patch(CONFIG_MAPS, "a", {"data": {"k": "v"}}, "default")
    await api.patch(CONFIG_MAPS, "a", {"metadata": {"labels": None}}, "default")
    assert await watch.words() == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    last = watch.seen[-1].object
    assert last["metadata"]["labels"] == {"app": "web"}, "the last state that matched"
    await watch.stop()


async def test_a_kubelet_hears_of_the_pods_of_its_node_only(server: ApiServer, api: LocalApi) -> None:
    watches = {
        name: Recorder(api.watch(PODS, resource_version="0", field_selector=f"spec.nodeName={name}"))
        for name in ("n1", "n2")
    }
    for name in ("a", "b"):
        await api.create(PODS, pod(name), "default")
    bind(server, "a", "default", "n1")
    await api.patch(PODS, "b", {"metadata": {"labels": {"x": "y"}}}, "default")
    assert await watches["n1"].words() == [("ADDED", "a")]
    assert await watches["n2"].words() == []
    bind(server, "b", "default", "n2")
    assert await watches["n2"].words() == [("ADDED", "b")]
    listed, _ = await api.list(PODS, field_selector="spec.nodeName=n1,status.phase!=Running")
    assert [obj["metadata"]["name"] for obj in listed] == ["a"]
    for watch in watches.values():
        await watch.stop()


async def test_a_version_that_has_been_compacted_away_is_gone() -> None:
    server = ApiServer(log_limit=10)
    for index in range(40):
        server.create(CONFIG_MAPS, config_map(f"c{index}"), "default")
    with pytest.raises(ApiError, match="too old resource version") as gone:
        server.subscribe(CONFIG_MAPS, resource_version="1")
    assert gone.value.is_gone
    server.subscribe(CONFIG_MAPS, resource_version=str(server.store.version)).close()


async def test_a_version_from_another_life_of_the_server_is_refused(server: ApiServer) -> None:
    with pytest.raises(ApiError, match="Too large resource version: 999999") as refused:
        server.subscribe(CONFIG_MAPS, resource_version="999999")
    assert refused.value.code == 504


async def test_a_watcher_that_does_not_keep_up_is_told_to_list_again(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_PENDING", 50)
    slow = server.subscribe(CONFIG_MAPS, resource_version=str(server.store.version))
    server.create(CONFIG_MAPS, config_map(n="0"), "default")
    for index in range(50):
        server.patch(CONFIG_MAPS, "settings", {"data": {"n": str(index + 1)}}, "default")
    with pytest.raises(ApiError, match="too old") as gone:
        await slow.next()
    assert gone.value.is_gone
    slow.close()


async def test_an_informer_follows_the_server_through_a_compaction(server: ApiServer, api: LocalApi) -> None:
    informer = Informer(api, CONFIG_MAPS)
    task = asyncio.create_task(informer.run())
    await informer.wait_synced()
    server.create(CONFIG_MAPS, config_map("a"), "default")
    server.store.compact()
    server.create(CONFIG_MAPS, config_map("b"), "default")
    await asyncio.wait_for(informer.wait_until(lambda: len(informer) == 2), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_terminating_pod_is_seen_in_every_state_that_a_real_one_shows(
    server: ApiServer, api: LocalApi
) -> None:
    """As recorded: Terminating with its grace, grace 0 when the kubelet is done, gone."""
    created = await api.create(PODS, pod(), "default")
    bind(server, "web", "default", "n1")
    watch = Recorder(api.watch(PODS, resource_version=created["metadata"]["resourceVersion"]))
    await api.delete(PODS, "web", "default")
    server.delete(PODS, "web", "default", options=DeleteOptions(grace_period_seconds=0))
    await watch.words()
    marks = [
        (
            event.type,
            event.object["metadata"].get("deletionGracePeriodSeconds"),
            event.object["metadata"]["generation"],
        )
        for event in watch.seen
    ]
    assert marks == [("MODIFIED", None, 1), ("MODIFIED", 30, 2), ("MODIFIED", 0, 2), ("DELETED", 0, 2)]
    await watch.stop()
