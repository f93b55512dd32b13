"""The mesh that measures reachability is itself complete."""

from __future__ import annotations

import pytest
from story import Story, node, pod, workload

from pytest_cnimigrate.observe.invariants.mesh import MeshBelowExpected

SET, DEPLOYMENT = ("DaemonSet", "goldpinger"), ("ReplicaSet", "goldpinger-6d9")
BROKEN = "mesh-below-expected"


def probe(name, on, of=SET):
    return pod(name, on, of=of, namespace="default", ready=True)


def daemonset(generation=1, **status):
    made = workload("DaemonSet", "goldpinger", namespace="default", updateStrategy={"type": "RollingUpdate"})
    made["metadata"]["generation"] = generation
    full = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
    made["status"] = {"observedGeneration": 1, **full} | status
    return made


@pytest.fixture
def story():
    story = Story(MeshBelowExpected)
    movable = workload("Deployment", "goldpinger", namespace="default", replicas=4)
    story.is_there(
        node("a"),
        node("b"),
        daemonset(),
        movable,
        probe("on-a", "a"),
        probe("on-b", "b"),
        *(probe(f"movable-{index}", "a", DEPLOYMENT) for index in range(4)),
    )
    return story


def test_a_complete_mesh_is_fine(story):
    story.time_passes(600)
    assert story.violations == []


def test_a_node_whose_probe_is_deleted_is_told(story):
    story.is_deleted(10, probe("on-a", "a"))
    story.time_passes(13)
    story.time_passes(60)
    assert story.violations == [(BROKEN, "Pod default/on-a")]
    assert "no ready probe on a" in story.judge.violations[0].sentence


def test_a_probe_that_is_replaced_at_once_has_not_been_missing(story):
    story.is_deleted(10, probe("on-a", "a"))
    story.comes(11, probe("on-a-2", "a"))
    story.time_passes(60)
    assert story.violations == []


def test_a_rollout_may_take_one_probe_at_a_time(story):
    story.changes(9, daemonset(), metadata__generation=2)
    story.changes(
        9.5, daemonset(), status=daemonset(updatedNumberScheduled=0, observedGeneration=2)["status"]
    )
    story.is_deleted(10, probe("on-a", "a"))
    story.time_passes(60)
    assert story.violations == []
    story.is_deleted(61, probe("on-b", "b"))
    story.time_passes(65)
    assert story.violations == [(BROKEN, "Pod default/on-b")]


def test_the_last_probe_of_a_rollout_may_take_its_time(story):
    """As soon as it is made, every probe is of the new template; it is available later."""
    story.changes(9, daemonset(), metadata__generation=2)
    story.is_deleted(10, probe("on-a", "a"))
    late = daemonset(observedGeneration=2, numberAvailable=1)["status"]
    story.changes(11, daemonset(), status=late)
    story.time_passes(60)
    assert story.violations == []
    story.comes(61, probe("on-a-2", "a"))
    story.changes(62, daemonset(), status=late | {"numberAvailable": 2})
    story.is_deleted(70, probe("on-b", "b"))
    story.time_passes(75)
    assert story.violations == [(BROKEN, "Pod default/on-b")]


def test_a_node_that_goes_takes_its_probe_along(story):
    story.is_deleted(10, probe("on-a", "a"))
    story.goes(11, node("a"))
    story.time_passes(60)
    assert story.violations == []


def test_a_group_that_the_run_takes_away_takes_its_probes_along(story):
    story.we_change(5, "scale-nodegroup", name="ng-1", desired=0, captured={"desired": 2})
    story.becomes_ready(10, probe("on-a", "a"), ready=False)
    story.time_passes(60)
    assert story.violations == []


def test_a_rolling_update_of_the_movable_probes_leaves_three_of_four(story):
    """25 % of 4 may be missing."""
    story.is_deleted(10, probe("movable-0", "a", DEPLOYMENT))
    story.time_passes(60)
    assert story.violations == []
    story.is_deleted(70, probe("movable-1", "a", DEPLOYMENT))
    story.time_passes(80)
    assert story.violations == [(BROKEN, "Pod default/movable-1")]
    assert "2 movable probes are ready, at least 3 are expected" in story.judge.violations[0].sentence


def test_probes_that_are_wanted_in_addition_first_have_to_come(story):
    movable = workload("Deployment", "goldpinger", namespace="default")
    story.changes(10, movable, spec__replicas=8)
    story.time_passes(60)
    assert story.violations == []


def test_removing_the_mesh_is_not_losing_it(story):
    story.goes(10, daemonset(), workload("Deployment", "goldpinger", namespace="default"))
    story.is_deleted(11, probe("on-a", "a"))
    story.is_deleted(11, probe("movable-0", "a", DEPLOYMENT))
    story.is_deleted(11, probe("movable-1", "a", DEPLOYMENT))
    story.time_passes(60)
    assert story.violations == []
