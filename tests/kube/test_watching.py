"""Watching: one consistent story, whatever happens to the connection."""

from __future__ import annotations

import threading
import time

import pytest

from pytest_cnimigrate.kube.errors import Forbidden
from pytest_cnimigrate.model.resources import NODES


def node(name, version, uid=""):
    return {"metadata": {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": version}}


def nodes(version, *items):
    return {"metadata": {"resourceVersion": version}, "items": list(items)}


def event(kind, obj):
    return {"type": kind, "object": obj}


def told(events):
    return [(one.type, one.object.get("metadata", {}).get("name")) for one in events]


def take(watch, number):
    """The first `number` events."""
    found = []
    for one in watch:
        found.append(one)
        if len(found) == number:
            break
    return found


def test_first_what_is_there_then_what_happens(api, client):
    api.will(
        api.json(nodes("5", node("a", "1"))),
        api.stream(
            event("MODIFIED", node("a", "6")),
            event("BOOKMARK", {"metadata": {"resourceVersion": "8"}}),
            event("DELETED", node("a", "9")),
            stay=True,
        ),
    )
    events = take(client.watch(NODES, label_selector="x=y"), 4)
    assert told(events) == [("ADDED", "a"), ("SYNCED", None), ("MODIFIED", "a"), ("DELETED", "a")]
    query = api.seen[1].query
    assert (query["watch"], query["resourceVersion"], query["allowWatchBookmarks"]) == ("true", "5", "true")
    assert query["labelSelector"] == "x=y"
    assert int(query["timeoutSeconds"]) > 0


def test_a_watch_that_ends_goes_on_from_the_last_bookmark(api, client):
    api.will(
        api.json(nodes("5")),
        api.stream(event("BOOKMARK", {"metadata": {"resourceVersion": "8"}})),
        api.stream(event("ADDED", node("b", "9")), stay=True),
    )
    assert told(take(client.watch(NODES), 2)) == [("SYNCED", None), ("ADDED", "b")]
    assert api.seen[2].query["resourceVersion"] == "8"


@pytest.mark.parametrize("way", ["status", "event"])
def test_a_forgotten_place_is_made_up_for_by_differences(api, client, way):
    """What vanished, was replaced or changed during the gap is told as such."""
    gone = api.status(410, "Expired", "too old resource version")
    if way == "event":
        gone = api.stream(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}))
    api.will(
        api.json(
            nodes("5", node("same", "1"), node("gone", "2"), node("new-uid", "3"), node("changed", "4"))
        ),
        gone,
        api.json(nodes("50", node("same", "1"), node("new-uid", "40", uid="other"), node("changed", "41"))),
        api.stream(stay=True),
    )
    events = take(client.watch(NODES), 10)[5:]
    assert sorted(told(events[:-1])) == [
        ("ADDED", "new-uid"),
        ("DELETED", "gone"),
        ("DELETED", "new-uid"),
        ("MODIFIED", "changed"),
    ]
    assert told(events)[-1] == ("SYNCED", None)
    assert told(events).index(("DELETED", "new-uid")) < told(events).index(("ADDED", "new-uid"))


def test_interruptions_are_survived_and_reported(api, client):
    heard = []
    api.will(
        api.json(nodes("5")),
        api.reset(),
        api.text("", 503),
        api.stream(event("ADDED", node("b", "9")), stay=True),
    )
    assert told(take(client.watch(NODES, on_interruption=heard.append), 2))[1] == ("ADDED", "b")
    assert [type(error).__name__ for error in heard] == ["ApiUnreachable", "ServerError"]
    assert api.seen[3].query["resourceVersion"] == "5"


def test_a_right_that_is_missing_ends_the_watch_with_an_error(api, client):
    api.will(api.json(nodes("5")), api.status(403, "Forbidden", "cannot watch"))
    with pytest.raises(Forbidden, match="cannot watch"):
        list(client.watch(NODES))


def test_a_first_list_that_fails_is_raised(api, client):
    api.will(api.status(403, "Forbidden", "cannot list"))
    with pytest.raises(Forbidden, match="cannot list"):
        list(client.watch(NODES))


def test_a_silent_watch_can_be_stopped_from_another_thread(api, client):
    api.will(api.json(nodes("5")), api.stream(stay=True))
    synced = threading.Event()
    watch = client.watch(NODES)

    def listen():
        for _ in watch:
            synced.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert synced.wait(5)
    while len(api.seen) < 2:  # until it is really waiting for the server
        time.sleep(0.001)
    watch.stop()
    watch.stop()
    listener.join(5)
    assert not listener.is_alive()


def test_a_stopped_watch_does_not_begin(api, client):
    watch = client.watch(NODES)
    watch.stop()
    assert list(watch) == []
    assert api.seen == []


def test_a_silence_longer_than_the_servers_own_limit_is_taken_for_a_dead_connection(api, client):
    from pytest_cnimigrate.kube.listing import list_pages
    from pytest_cnimigrate.kube.watching import Watch

    api.will(
        api.json(nodes("5")),
        api.stream(stay=True),
        api.stream(event("ADDED", node("b", "9")), stay=True),
    )
    heard = []
    transport = client._transport
    watch = Watch(
        transport,
        lambda: list_pages(transport, NODES),
        NODES,
        on_interruption=heard.append,
        server_timeout=0,
        read_slack=0.1,
    )
    assert told(take(watch, 2))[1] == ("ADDED", "b")
    assert [type(error).__name__ for error in heard] == ["ApiTimeout"]


def test_a_stopped_watch_does_not_spoil_the_next_request(api, client):
    """The unread rest of its stream must not be taken for the answer to another request."""
    api.will(api.json(nodes("5")), api.stream(event("ADDED", node("b", "9")), stay=True))
    watch = client.watch(NODES)
    for one in watch:
        if one.type == "ADDED":
            watch.stop()
    api.will(api.json(node("a", "1")))
    assert client.get(NODES, "a")["metadata"]["name"] == "a"


def test_what_a_list_tells_can_be_told_from_what_happens(api, client):
    api.will(
        api.json(nodes("5", node("a", "1"))),
        api.stream(event("MODIFIED", node("a", "6")), stay=True),
    )
    events = take(client.watch(NODES), 3)
    assert [(one.type, one.listed) for one in events] == [
        ("ADDED", True),
        ("SYNCED", True),
        ("MODIFIED", False),
    ]


def test_of_each_object_only_what_is_wanted_is_kept(api, client):
    """A large cluster is not held in memory twice; what vanished is then known by its identity."""
    whole = node("a", "1") | {"spec": {"large": "x"}}
    api.will(
        api.json(nodes("5", whole)),
        api.status(410, "Expired", "too old resource version"),
        api.json(nodes("9")),
        api.stream(stay=True),
    )
    heard = []
    watch = client.watch(
        NODES,
        keep=lambda obj: {"metadata": obj["metadata"]},
        on_interruption=lambda error: heard.append(error.status),
        on_connected=lambda: heard.append("connected"),
    )
    events = take(watch, 4)
    assert events[0].object["spec"] == {"large": "x"}
    assert (events[2].type, events[2].object) == ("DELETED", node("a", "1"))
    assert heard == [410]


def test_pages_that_turn_out_too_old_are_listed_anew_without_losing_a_deletion(api, client):
    def page(version, token, *items):
        return {"metadata": {"resourceVersion": version, "continue": token}, "items": list(items)}

    api.will(
        api.json(page("5", "", node("a", "1"), node("b", "2"))),
        api.status(410, "Expired", "too old resource version"),
        api.json(page("9", "more", node("a", "1"))),
        api.status(410, "Expired", "the continue token is too old"),
        api.json(page("12", "", node("b", "2"))),
        api.stream(stay=True),
    )
    assert told(take(client.watch(NODES), 5))[3:] == [("DELETED", "a"), ("SYNCED", None)]
    assert api.seen[4].query.get("limit") is None


def test_a_server_that_forgets_at_once_is_not_listed_in_a_hot_loop(api, tmp_path):
    from pytest_cnimigrate.kube.retrying import RetryPolicy

    gone = api.status(410, "Expired", "too old resource version")
    for version in ("5", "6", "7"):
        api.will(api.json(nodes(version)), gone)
    api.will(api.json(nodes("8")), api.stream(stay=True))
    with api.client(tmp_path, retries=RetryPolicy(base=0.1, cap=0.1)) as client:
        begun = time.monotonic()
        assert told(take(client.watch(NODES), 4)) == [("SYNCED", None)] * 4
    # Three times forgotten: the second and the third cost a pause of 75 ms at least.
    assert time.monotonic() - begun > 0.15
