"""Waiting: as long as it takes, not longer, and with a reason at every moment."""

from __future__ import annotations

import threading

import pytest

from pytest_cnimigrate.kube.errors import ApiTimeout, Attempt, Forbidden, TooManyRequests
from pytest_cnimigrate.observe.waiting import Deadline, NotYet, Ready, WaitHopeless, WaitTimeout, wait_for

ATTEMPT = Attempt("list", "nodes", "https://cluster")


class FakeClock:
    """Time that passes only in `sleep`, and when a probe takes some."""

    def __init__(self):
        self.now = 100.0
        self.pauses = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return FakeClock()


def script(*results):
    """A probe that says one thing after the other, the last for ever."""
    left = list(results)

    def probe():
        result = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(result, Exception):
            raise result
        return result

    return probe


def test_what_holds_already_is_not_waited_for(clock):
    assert wait_for(script(Ready(7)), what="x", timeout=0, clock=clock) == 7
    assert clock.pauses == []


def test_the_probes_value_comes_back_once_it_is_ready(clock):
    probe = script(NotYet("1 of 3"), NotYet("2 of 3"), Ready("all"))
    assert wait_for(probe, what="three nodes", timeout=60, interval=2, clock=clock) == "all"
    assert clock.pauses == [2, 2]


def test_a_time_out_says_what_was_awaited_how_long_what_was_seen_last_and_what_to_do(clock):
    with pytest.raises(WaitTimeout) as caught:
        wait_for(
            script(NotYet("2 of 3 nodes are Ready")),
            what="3 Ready nodes",
            timeout=90,
            interval=10,
            advice="Look at the node group's events.",
            clock=clock,
        )
    assert str(caught.value) == (
        "gave up waiting for 3 Ready nodes after 1 min 30 s; last seen: 2 of 3 nodes are Ready."
        " Look at the node group's events."
    )
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.observation == "2 of 3 nodes are Ready"


def test_the_last_look_is_at_the_deadline_itself(clock):
    looks = []

    def probe():
        looks.append(clock.now)
        return NotYet("no")

    with pytest.raises(WaitTimeout):
        wait_for(probe, what="x", timeout=2.5, interval=1, clock=clock)
    assert looks == [100.0, 101.0, 102.0, 102.5]


def test_it_must_hold_several_times_in_a_row_if_asked(clock):
    said = []
    probe = script(Ready(1), Ready(2), NotYet("flapped"), Ready(3), Ready(4), Ready(5), Ready(6))
    found = wait_for(probe, what="x", timeout=60, successes=3, on_progress=said.append, clock=clock)
    assert found == 5
    assert said == [
        "holds, 1 of 3 times in a row",
        "holds, 2 of 3 times in a row",
        "flapped",
        "holds, 1 of 3 times in a row",
        "holds, 2 of 3 times in a row",
    ]


def test_progress_is_told_only_when_there_is_news(clock):
    said = []
    probe = script(NotYet("a"), NotYet("a"), NotYet("b"), NotYet("b"), NotYet("a"), Ready(1))
    wait_for(probe, what="x", timeout=60, on_progress=said.append, clock=clock)
    assert said == ["a", "b", "a"]


def test_a_hopeless_wait_ends_at_once_with_the_reason(clock):
    hopes = iter([None, "the node group is CREATE_FAILED: no capacity"])
    with pytest.raises(WaitHopeless) as caught:
        wait_for(
            script(NotYet("0 of 3 nodes")),
            what="3 nodes",
            timeout=600,
            hopeless=lambda: next(hopes),
            clock=clock,
        )
    assert str(caught.value) == (
        "stopped waiting for 3 nodes after 1 s: the node group is CREATE_FAILED: no capacity;"
        " last seen: 0 of 3 nodes."
    )
    assert not isinstance(caught.value, TimeoutError)


def test_nobody_asks_for_hope_once_it_holds(clock):
    assert wait_for(script(Ready(1)), what="x", timeout=1, hopeless=lambda: "none", clock=clock) == 1


def test_an_api_server_in_trouble_is_a_reason_to_wait(clock):
    said = []
    probe = script(
        ApiTimeout(ATTEMPT, "no answer"), TooManyRequests(ATTEMPT, "slow down", status=429), Ready(1)
    )
    assert wait_for(probe, what="x", timeout=60, on_progress=said.append, clock=clock) == 1
    assert "no answer" in said[0]
    assert "slow down" in said[1]


def test_trouble_interrupts_a_row_of_successes(clock):
    probe = script(Ready(1), ApiTimeout(ATTEMPT, "no answer"), Ready(2), Ready(3), Ready(4))
    assert wait_for(probe, what="x", timeout=60, successes=2, clock=clock) == 3


def test_trouble_while_asking_for_hope_is_no_lost_hope(clock):
    def hopeless():
        raise ApiTimeout(ATTEMPT, "no answer")

    probe = script(NotYet("a"), Ready(1))
    assert wait_for(probe, what="x", timeout=60, hopeless=hopeless, clock=clock) == 1


@pytest.mark.parametrize("error", [Forbidden(ATTEMPT, "no right"), ZeroDivisionError("a bug")])
def test_what_cannot_heal_is_raised_at_once(clock, error):
    with pytest.raises(type(error)):
        wait_for(script(error), what="x", timeout=60, clock=clock)
    assert clock.pauses == []


def test_nested_waits_share_one_deadline(clock):
    deadline = Deadline.after(10, clock=clock)
    wait_for(script(*[NotYet("a")] * 6, Ready(1)), what="first", timeout=deadline)
    with pytest.raises(WaitTimeout, match="second after 4 s"):
        wait_for(script(NotYet("b")), what="second", timeout=deadline)
    with pytest.raises(WaitTimeout, match="third after 0 s"):
        wait_for(script(NotYet("c")), what="third", timeout=deadline)
    assert clock.now == 110.0


def test_an_inner_limit_never_outlives_the_outer_one(clock):
    outer = Deadline.after(10, clock=clock)
    assert outer.within(3).remaining() == 3
    assert outer.within(30).remaining() == 10
    clock.sleep(12)
    assert outer.remaining() == 0.0


def test_a_reason_is_owed():
    with pytest.raises(ValueError, match="needs a reason"):
        NotYet("")


def test_an_event_ends_the_pause():
    """With a real event and a pause that nobody would want to sit out."""
    event = threading.Event()
    state = {"ready": False}

    def probe():
        if state["ready"]:
            return Ready("now")
        state["ready"] = True
        event.set()  # what a watch would do
        return NotYet("not yet")

    assert wait_for(probe, what="x", timeout=60, interval=60, wake=event) == "now"
