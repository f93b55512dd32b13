"""A recorder fed with what a real cluster said makes the right transitions of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from recorded_watches import IN_PLACE, NODE_POOL, arrivals, raw_events, tracked

from pytest_cnimigrate.observe.record.lines import Mark, Transition
from pytest_cnimigrate.observe.record.sources import recorded
from pytest_cnimigrate.observe.record.state import State
from pytest_cnimigrate.observe.record.tracking import Arrival, Resumption, Tracker

BEGIN = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)


def at(second):
    return BEGIN + timedelta(seconds=second)


def node(name, version="1", uid="", **spec):
    metadata = {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": version}
    return {"kind": "Node", "metadata": metadata, "spec": spec}


class Told:
    """A tracker of nodes, and what it has said so far, in short."""

    def __init__(self, **settings):
        self.state = settings.pop("state", State())
        self.tracker = Tracker(self.state, **settings)
        self.lines = []

    def hears(self, second, kind, obj=None, **more):
        self.lines += self.tracker.take(Arrival("Node", at(second), kind, obj or {}, **more))

    def lists(self, second, *objects):
        self.hears(second, "LISTING")
        for one in objects:
            self.hears(second, "ADDED", one, listed=True)
        self.hears(second, "SYNCED", listed=True)

    def short(self):
        return [
            (line.operation, line.key, line.found_by)
            if isinstance(line, Transition)
            else (line.operation, line.kind)
            for line in self.lines
        ]

    def forget(self):
        self.lines.clear()


@pytest.fixture
def told():
    told = Told()
    told.lists(0, node("a"), node("b"))
    told.hears(0.1, "CONNECTED")
    told.forget()
    return told


@pytest.mark.parametrize("names", [NODE_POOL, IN_PLACE], ids=["node-pool", "in-place"])
def test_a_real_migration_is_followed_object_by_object(names):
    """Every event is one transition, and at the end the state is what the cluster said last."""
    state = State()
    seen = Counter()
    for line, _ in tracked(arrivals(*names), state):
        if isinstance(line, Transition):
            seen[line.kind, line.operation] += 1
    for name in names:
        events = raw_events(name)
        kind = events[0][1]["object"]["kind"]
        by_type = Counter(event["type"] for _, event in events)
        assert seen[kind, "added"] == by_type["ADDED"]
        assert seen[kind, "removed"] == by_type["DELETED"]
        last = {}
        for _, event in events:
            metadata = event["object"]["metadata"]
            key = (
                f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else metadata["name"]
            )
            last[key] = event
        there = {key: event["object"] for key, event in last.items() if event["type"] != "DELETED"}
        assert {key: state.get(kind, key) for key in state.keys(kind)} == {
            key: recorded(obj) for key, obj in there.items()
        }


def test_the_untainting_of_a_real_node_is_told_step_by_step():
    """As facts have it: taint off, 14 ms later CiliumIsUp, 5.5 s later Ready, then the not-ready taints."""
    steps = [
        {change.path.split("/")[2] for change in line.changes}
        for line, _ in tracked(arrivals("10-watch-nodes"))
        if isinstance(line, Transition)
        and line.key == "real-worker3"
        and "20:35:20" <= line.time.strftime("%H:%M:%S") <= "20:35:27"
    ]
    assert steps == [{"taints"}, {"conditions"}, {"conditions"}, {"taints"}, {"taints"}]


def test_what_is_there_at_the_start_is_no_news():
    told = Told()
    told.lists(0, node("a"))
    told.hears(1, "ADDED", node("b"))
    assert told.short() == [("added", "a", "start"), ("synced", "Node"), ("added", "b", "watch")]


def test_a_lost_connection_is_a_gap_even_if_nothing_was_missed(told):
    told.hears(5, "INTERRUPTED", reason="the connection broke")
    assert told.tracker.blind() == {"Node": at(0)}
    told.hears(6, "CONNECTED")
    told.hears(7, "MODIFIED", node("a", "2", unschedulable=True))
    gap, resumed, changed = told.lines
    assert (gap.operation, gap.reason, gap.since) == ("gap", "the connection broke", at(0))
    assert (resumed.operation, resumed.relisted, resumed.since) == ("resumed", False, at(0))
    assert (changed.found_by, changed.since) == ("watch", None)
    assert told.tracker.blind() == {}


def test_what_a_list_makes_up_for_is_told_as_found_by_list(told):
    told.hears(4, "MODIFIED", node("b", "2"))
    told.hears(5, "INTERRUPTED", reason="too old resource version")
    told.hears(6, "DELETED", node("a"), listed=True)
    told.hears(6, "ADDED", node("c"), listed=True)
    told.hears(6, "SYNCED", listed=True)
    assert told.short() == [
        ("gap", "Node"),
        ("removed", "a", "list"),
        ("added", "c", "list"),
        ("resumed", "Node"),
    ]
    removed, resumed = told.lines[1], told.lines[-1]
    assert removed.since == at(4)
    assert removed.old == node("a")
    assert resumed.relisted
    assert "found by list" in told.lines[2].in_words()


def test_a_new_list_finds_what_vanished_and_what_was_replaced(told):
    told.hears(5, "INTERRUPTED", reason="403")
    told.lists(9, node("b", "7", uid="another"))
    assert told.short() == [
        ("gap", "Node"),
        ("removed", "b", "list"),
        ("added", "b", "list"),
        ("removed", "a", "list"),
        ("resumed", "Node"),
    ]


def test_a_connection_that_only_says_that_our_place_is_forgotten_does_not_shorten_the_gap(told):
    """A server that has forgotten accepts the watch, and sends the error in it."""
    told.hears(60, "CONNECTED")
    told.hears(120, "CONNECTED")
    told.hears(120.1, "INTERRUPTED", reason="Expired")
    assert told.lines[-1].since == at(60)


def test_a_second_failure_is_the_same_gap(told):
    told.hears(5, "INTERRUPTED", reason="one")
    told.hears(6, "INTERRUPTED", reason="two")
    assert told.short() == [("gap", "Node")]


def test_a_change_of_nothing_but_the_version_is_no_transition(told):
    told.hears(5, "MODIFIED", node("a", "2"))
    assert told.lines == []


def test_what_changes_with_its_removal_is_told(told):
    told.hears(5, "DELETED", node("a", "9", unschedulable=True))
    (line,) = told.lines
    assert [change.path for change in line.changes] == ["/spec/unschedulable"]
    assert line.new is None


def test_a_recording_that_goes_on_tells_that_nobody_was_there():
    state = State()
    state.put("Node", "a", node("a"))
    told = Told(state=state, resumption=Resumption(41, at(0), frozenset({"Node"})))
    told.lists(600, node("b"))
    assert told.short() == [
        ("gap", "Node"),
        ("added", "b", "list"),
        ("removed", "a", "list"),
        ("resumed", "Node"),
    ]
    assert [line.number for line in told.lines] == [42, 43, 44, 45]
    assert {line.since for line in told.lines} == {at(0)}


def test_a_poll_tells_what_has_changed_since_the_one_before():
    told = Told()
    for second, desired in ((0, 0), (10, 0), (20, 3)):
        told.hears(second, "LISTING", polled=True)
        group = {"kind": "Node", "metadata": {"name": "ng"}, "desired": desired}
        told.hears(second, "ADDED", group, listed=True, polled=True)
        told.hears(second, "SYNCED", listed=True, polled=True)
    assert told.short() == [("added", "ng", "start"), ("synced", "Node"), ("changed", "ng", "poll")]
    assert told.lines[-1].since == at(10)


def test_events_are_written_down_and_not_kept():
    state = State()
    told = [line for line, _ in tracked(arrivals("10-watch-events"), state)]
    transitions = [line for line in told if isinstance(line, Transition)]
    assert len(transitions) == len(raw_events("10-watch-events"))
    assert all(line.new is not None and line.new["reason"] for line in transitions)
    assert list(state.all("Event")) == []
    assert not [line for line in told if isinstance(line, Mark) and line.operation == "gap"]
