"""Reachability over time: pair-seconds lost, counted once, and only where somebody would have missed them."""

from __future__ import annotations

import itertools
import json
import threading
import time

import orjson
import pytest

from pytest_cnimigrate.kube.errors import ApiUnreachable, Attempt
from pytest_cnimigrate.observe.matrix import Matrix
from pytest_cnimigrate.observe.rows import PodRow, Roster, parse_check
from pytest_cnimigrate.observe.sampling import Sampler, Tally

OLD = PodRow("a", "uid-a", "node-a", "old", ("10.0.0.1",))
NEW = PodRow("b", "uid-b", "node-b", "new", ("10.0.0.2",))


def matrix(second, *, failing=(), pods=(OLD, NEW)):
    """The mesh as each prober saw it at a second past noon; `failing` are (prober, target) names."""
    roster = Roster(pods)
    rows = {}
    for prober in pods:
        results = {
            target.name: {
                "OK": (prober.name, target.name) not in failing,
                "PodIP": target.pod_ips[0],
                "PingTime": f"2026-11-22T12:00:{second:02d}.000Z",
                "error": "context deadline exceeded",
            }
            for target in pods
        }
        rows[prober.name] = parse_check(orjson.dumps({"podResults": results}), prober, roster)
    return Matrix(roster, rows)


def test_a_healthy_mesh_loses_nothing_and_says_so_for_every_class():
    tally = Tally()
    for second in (0, 5, 10):
        assert tally.add(matrix(second)) == []
    assert tally.finish() == []
    assert tally.pair_seconds == {"old→old": 0, "old→new": 0, "new→old": 0, "new→new": 0}


def test_a_pair_is_lost_from_its_last_success_to_its_last_failure():
    tally = Tally()
    tally.add(matrix(0))
    tally.add(matrix(5, failing=[("a", "b")]))
    tally.add(matrix(10, failing=[("a", "b")]))
    lines = tally.add(matrix(15))
    assert tally.pair_seconds["old→new"] == 10
    assert tally.pair_seconds["new→old"] == 0
    assert [(line["from"], line["to"], line["seconds"]) for line in lines] == [("a", "b", 5), ("a", "b", 5)]


def test_one_ping_counts_once_however_often_it_is_read():
    tally = Tally()
    tally.add(matrix(0))
    for _ in range(4):
        tally.add(matrix(5, failing=[("b", "a")]))
    tally.add(matrix(10))
    assert tally.pair_seconds["new→old"] == 5


def test_a_pair_that_is_still_unreachable_at_the_end_is_lost():
    tally = Tally()
    tally.add(matrix(0))
    tally.add(matrix(5, failing=[("a", "b")]))
    tally.finish()
    assert tally.pair_seconds["old→new"] == 5


def test_a_pod_that_never_comes_back_was_on_its_way_out_and_is_counted_apart():
    tally = Tally()
    tally.add(matrix(0))
    tally.add(matrix(5, failing=[("b", "a")]))
    lines = tally.add(matrix(10, pods=(NEW,)))
    assert tally.pair_seconds["new→old"] == 0
    assert tally.vanished == 5
    assert [line["vanished"] for line in lines] == [True]


def test_a_pod_that_replaces_another_under_its_name_begins_anew():
    tally = Tally()
    tally.add(matrix(0))
    tally.add(matrix(5, failing=[("a", "b")]))
    replaced = PodRow("b", "uid-other", "node-b", "new", ("10.0.0.2",))
    tally.add(matrix(30, pods=(OLD, replaced)))
    tally.finish()
    assert tally.pair_seconds["old→new"] == 0
    assert tally.vanished == 5


class Readings:
    """What a sampler reads, one after the other; `done` is set when there is nothing more."""

    def __init__(self, *readings):
        self._readings = list(readings)
        self.done = threading.Event()

    def __call__(self):
        reading = self._readings[0]
        if len(self._readings) > 1:
            self._readings.pop(0)
        else:
            self.done.set()
        if isinstance(reading, Exception):
            raise reading
        return reading


def test_the_sampler_runs_in_the_background_and_leaves_a_line_for_each_loss(tmp_path):
    readings = Readings(matrix(0), matrix(5, failing=[("a", "b")]), matrix(10))
    sampler = Sampler(readings, tmp_path / "reachability.jsonl", interval=0.001)
    sampler.start()
    assert readings.done.wait(5)
    losses = sampler.stop()
    assert losses.pair_seconds["old→new"] == 5
    assert losses.samples >= 3
    assert losses.seconds > 0
    lines = [json.loads(line) for line in (tmp_path / "reachability.jsonl").read_text().splitlines()]
    assert [(line["from"], line["to"], line["reason"]) for line in lines] == [
        ("a", "b", "context deadline exceeded")
    ]


def test_a_time_in_which_nothing_could_be_read_is_a_gap_and_not_a_loss(tmp_path):
    gone = ApiUnreachable(Attempt("list", "pods", "http://127.0.0.1:1"), "connection refused")
    readings = Readings(matrix(0), gone, matrix(5))
    sampler = Sampler(readings, tmp_path / "reachability.jsonl", interval=0.001)
    sampler.start()
    assert readings.done.wait(5)
    losses = sampler.stop()
    assert losses.unreadable == 1
    assert set(losses.pair_seconds.values()) == {0}
    assert "connection refused" in (tmp_path / "reachability.jsonl").read_text()


def test_the_last_look_is_at_the_end_so_that_pods_that_have_gone_meanwhile_are_not_lost(tmp_path):
    sampler = Sampler(Readings(matrix(0)), tmp_path / "r.jsonl", interval=60)
    sampler.start()
    assert sampler.stop().samples == 1
    sampler.start()
    assert sampler.stop(look=False).samples == 1


def test_a_slow_mesh_is_not_asked_without_a_pause(tmp_path):
    """A reading of 200 probes takes seconds, all of them through the API server."""
    asked = []

    def slowly():
        asked.append(time.monotonic())
        time.sleep(0.05)
        if len(asked) == 4:
            done.set()
        return matrix(0)

    done = threading.Event()
    sampler = Sampler(slowly, tmp_path / "r.jsonl", interval=0.001)
    sampler.start()
    assert done.wait(5)
    sampler.stop(look=False)
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert min(pauses) > 0.09, "a reading of 50 ms and as long a pause"


def test_a_sampler_that_was_never_started_says_that_it_saw_nothing(tmp_path):
    losses = Sampler(Readings(matrix(0)), tmp_path / "r.jsonl", interval=1).stop()
    assert (losses.samples, losses.seconds) == (0, 0)


@pytest.mark.parametrize("order", [(5, 0), (5, 5)])
def test_an_older_answer_than_the_last_changes_nothing(order):
    tally = Tally()
    first, second = order
    tally.add(matrix(first))
    tally.add(matrix(second, failing=[("a", "b")]))
    tally.finish()
    assert tally.pair_seconds["old→new"] == 0
