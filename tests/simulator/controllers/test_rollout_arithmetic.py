"""Whatever becomes ready or fails on the way, a rollout keeps its promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_cnimigrate.simulator.controllers.rollout import (
    Replicas,
    daemon_limits,
    deployment_limits,
    resolve,
    scale_down_old,
    scale_in_proportion,
    scale_up_new,
)

int_or_percent = st.one_of(st.integers(0, 12), st.integers(0, 100).map(lambda n: f"{n}%"))


@given(
    replicas=st.integers(0, 12),
    max_surge=int_or_percent,
    max_unavailable=int_or_percent,
    luck=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40),
)
def test_a_rollout_never_breaks_its_limits_and_ends_when_pods_become_available(
    replicas: int, max_surge: int | str, max_unavailable: int | str, luck: list[tuple[float, bool]]
) -> None:
    surge, unavailable = deployment_limits(replicas, max_surge, max_unavailable)
    old, old_available = replicas, replicas
    new, new_available = 0, 0
    # After the drawn luck runs out every pod becomes available, so the rollout has to end.
    reported = old_available
    for share, fresh in [*luck, *[(1.0, True)] * (4 * replicas + 4)]:
        # The old ReplicaSet's status may lag behind what it has given up.
        reported = old_available if fresh else reported
        new_set, old_set = Replicas("new", new, new_available), Replicas("old", old, reported)
        grown = scale_up_new(replicas, surge, new_set, [old_set])
        if grown != new:
            new = grown
        else:
            old = scale_down_old(replicas, unavailable, new_set, [old_set]).get("old", old)
            old_available = min(old_available, old)
        assert new + old <= max(replicas + surge, replicas)
        # Pods that were asked to go are counted as gone at once, the worst case.
        assert new_available + old_available >= replicas - unavailable
        new_available = max(new_available, round(new * share))
    assert (new, old) == (replicas, 0)


@given(data=st.data(), replicas=st.integers(1, 12), unavailable=st.integers(0, 12))
def test_replacing_broken_old_pods_leaves_enough_that_can_still_become_available(
    data: st.DataObject, replicas: int, unavailable: int
) -> None:
    unavailable = min(unavailable, replicas)
    new_wanted = data.draw(st.integers(0, replicas))
    new = Replicas("new", new_wanted, data.draw(st.integers(0, new_wanted)))
    old_wanted = data.draw(st.integers(0, replicas))
    old = Replicas("old", old_wanted, data.draw(st.integers(0, old_wanted)))
    size = scale_down_old(replicas, unavailable, new, [old]).get("old", old.wanted)
    # New pods that are not available yet may never be (a bad image): old ones must not be given up for them.
    if size < old.wanted:
        assert size + new.available >= replicas - unavailable


@given(
    replicas=st.integers(0, 20),
    surge=st.integers(0, 5),
    sizes=st.lists(st.integers(1, 15), min_size=1, max_size=4),
    room=st.integers(0, 10),
)
def test_scaling_in_the_middle_of_a_rollout_fills_the_allowed_size_and_never_undercuts_it(
    replicas: int, surge: int, sizes: list[int], room: int
) -> None:
    before = sum(sizes) + room  # the ceiling that the sets were sized for
    sets = [Replicas(f"rs-{n}", size, size, before) for n, size in enumerate(sizes)]
    result = scale_in_proportion(replicas, surge, sum(sizes), sets)
    assert all(size >= 0 for size in result.values())
    allowed = replicas + surge if replicas else 0
    total = sum(result.values())
    if sum(sizes) <= allowed or replicas == 0:
        assert total == allowed
    else:  # rounding may leave a few for the next step, as in kube
        assert allowed <= total <= sum(sizes)


@given(nodes=st.integers(0, 1000), max_unavailable=int_or_percent)
def test_a_daemonset_update_can_always_move(nodes: int, max_unavailable: int | str) -> None:
    surge, unavailable = daemon_limits(nodes, 0, max_unavailable)
    assert surge == 0
    assert unavailable >= 1


def test_percentages_round_as_kube_rounds_them() -> None:
    assert deployment_limits(5, "25%", "25%") == (2, 1)
    assert daemon_limits(15, 0, "10%") == (0, 2)
    assert deployment_limits(1, 0, "25%") == (0, 1)


@pytest.mark.parametrize("value", ["25", "x%", "", "-5%"])
def test_what_is_neither_number_nor_percentage_is_named(value: str) -> None:
    with pytest.raises(ValueError, match="neither a number nor a percentage"):
        resolve(value, 10, round_up=True)
