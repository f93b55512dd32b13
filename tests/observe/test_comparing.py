"""Two records side by side: what took longer, what appeared, what vanished."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from recorded_watches import IN_PLACE, NODE_POOL, arrivals, write_record

from pytest_cnimigrate.observe.comparing import Difference, compare, profile
from pytest_cnimigrate.observe.invariants import Context
from pytest_cnimigrate.observe.record import RecordError
from pytest_cnimigrate.observe.record.tracking import Arrival

REHEARSAL = Path(__file__).parents[1] / "fixtures" / "records" / "node-pool" / "record"

REAL = Context(
    old_nodes="!ng",
    new_nodes="ng=cilium",
    fence_key="cni",
    fence_value="aws-cni",
    old_cni="kube-system/kindnet",
    old_cni_pods="k8s-app=kindnet",
)


@pytest.fixture
def real(tmp_path):
    folder = write_record(tmp_path / "real", arrivals(*NODE_POOL))
    REAL.write(folder)
    return folder


def test_a_record_does_not_differ_from_itself(real):
    assert compare(real, real) == []
    assert compare(REHEARSAL, REHEARSAL) == []


def test_what_a_real_migration_took_is_measured(real):
    found = profile(real)
    # The fence's rollout of three kindnet pods, by the recording's own times: 20:31:17.3 to 20:31:21.2.
    assert found.durations["rollout of DaemonSet kube-system/kindnet"] == [pytest.approx(3.9, abs=0.1)]
    # The new node came at 20:33:13.9, was Ready at 20:35:26.3 and lost its last taint half a second later.
    assert found.durations["new node, until Ready"] == [pytest.approx(132.4, abs=0.1)]
    assert found.durations["new node, until it takes pods"] == [pytest.approx(133.0, abs=0.1)]
    assert found.counts["pods made for DaemonSet kube-system/kindnet"] == 6
    assert found.counts["new nodes gone"] == 1


def test_names_of_pods_and_nodes_do_not_matter(real):
    found = profile(real)
    assert found.counts["pods made for Deployment default/goldpinger"] == 15
    assert not [name for name in (*found.durations, *found.counts, *found.present) if "real-worker" in name]


def test_an_embedded_clusters_time_is_its_own(tmp_path):
    """At speed 40, a node that is there after 1 s has taken 40."""
    fast = profile(REHEARSAL).durations["new node, until Ready"]
    shutil.copytree(REHEARSAL, tmp_path / "slow")
    replace(Context.read(REHEARSAL), speed=1).write(tmp_path / "slow")
    slow = profile(tmp_path / "slow").durations["new node, until Ready"]
    assert fast == [pytest.approx(seconds * Context.read(REHEARSAL).speed) for seconds in slow]


def test_what_took_longer_comes_first(real, tmp_path):
    before = [
        one for one in arrivals(*NODE_POOL) if one.kind != "DaemonSet" or "cilium" not in str(one.object)
    ]
    found = compare(write_record(tmp_path / "other", before), write_record(tmp_path / "late", _late(before)))
    assert found[0].kind == "longer"
    assert found[0].what.startswith("rollout of DaemonSet kube-system/kindnet")
    assert found[0].after - found[0].before == pytest.approx(60, abs=1)
    assert str(found[0]).endswith("3.9 s → 63.9 s")


def _late(heard):
    """The same, but the fenced DaemonSet is complete a minute later."""
    moved = []
    for one in heard:
        time = one.time
        if one.kind == "DaemonSet" and "20:31:21" <= time.strftime("%H:%M:%S") < "20:32":
            time += timedelta(seconds=60)
        moved.append(replace(one, time=time))
    return sorted(moved, key=lambda one: one.time)


def test_what_appeared_and_what_vanished_is_told(real, tmp_path):
    in_place = write_record(tmp_path / "in-place", arrivals(*IN_PLACE))
    appeared = compare(real, REHEARSAL)
    assert Difference("appeared", "Deployment shop/storefront") in appeared
    assert Difference("vanished", "DaemonSet kube-system/kindnet") in appeared
    restarts = [one for one in compare(real, in_place) if "containers restarted" in one.what]
    assert restarts
    assert {one.kind for one in restarts} == {"appeared"}


def test_a_gap_in_a_record_is_a_difference(real, tmp_path):
    heard = arrivals(*NODE_POOL)
    heard.insert(100, Arrival("Pod", heard[99].time, "INTERRUPTED", reason="the connection broke"))
    with_gap = write_record(tmp_path / "gap", heard)
    assert "appeared: gaps in the record of Pod (1)" in map(str, compare(real, with_gap))


def test_no_record_is_an_error(tmp_path):
    with pytest.raises(RecordError):
        compare(tmp_path, tmp_path)
