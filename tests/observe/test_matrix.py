"""The matrix: what a real goldpinger says, and every way in which green would be a lie."""

from __future__ import annotations

import time

import orjson
import pytest

from pytest_cnimigrate.observe import problems
from pytest_cnimigrate.observe.matrix import Counts, Expectation, Matrix
from pytest_cnimigrate.observe.rows import PodRow, Roster, State, parse_check, pod_rows, silent_row

CLASSES = {"real-worker": "old", "real-worker2": "old", "real-worker3": "new"}
OLD_A, OLD_B, NEW = "172.30.0.2", "172.30.0.4", "172.30.0.5"
BY_ADDRESS = {OLD_A: "old", OLD_B: "old", NEW: "new"}
T = "2026-11-22T20:30:45.{:03d}Z"


def pod(name, node="node-a", node_class="old", *, uid="", ip=""):
    return PodRow(name, uid or f"uid-{name}", node, node_class, (ip or f"10.0.0.{ord(name[-1])}",))


def result(target, ok=True, *, at=500, **more):
    """A PodResult as goldpinger writes it."""
    found = {
        "OK": ok,
        "PodIP": target.pod_ips[0],
        "PingTime": T.format(at),
        "status-code": 200 if ok else 504,
    }
    if not ok:
        found["error"] = f'Get "http://{target.pod_ips[0]}:8080/ping": context deadline exceeded'
    return found | more


def mesh(pods, *, at=500, changed=None, probes=None, expected=None, classes=None):
    """A matrix in which all is well but for `changed[prober, target]` (None: no entry)."""
    roster = Roster(pods)
    rows = {}
    for one in pods:
        results = {}
        for other in pods:
            entry = (changed or {}).get((one.name, other.name), result(other, at=at))
            if entry is not None:
                results[other.name] = entry
        body = {"podResults": results} | (probes or {}).get(one.name, {})
        rows[one.name] = parse_check(orjson.dumps(body), one, roster)
    return Matrix(roster, rows, expected=expected, classes=classes)


A, B = pod("a"), pod("b", "node-b")
C, D = pod("c", "node-c", "new"), pod("d", "node-d", "new")
ALL = [A, B, C, D]


def targets(**failing):
    """What /check says of its targets; `failing` is the error of a protocol."""
    return {
        "probeResults": {
            f"{protocol}.example": [{"protocol": protocol} | ({"error": error} if error else {})]
            for protocol, error in ({"dns": "", "tcp": "", "http": ""} | failing).items()
            if error is not None
        }
    }


def test_targets_are_reached_when_every_probe_says_so():
    matrix = mesh([A, C], probes={"a": targets(), "c": targets()})
    assert problems.of_targets(matrix, {"dns", "tcp", "http"}) == []


def test_a_target_that_a_probe_does_not_reach_is_named():
    matrix = mesh([A, C], probes={"a": targets(), "c": targets(tcp="i/o timeout")})
    (problem,) = problems.of_targets(matrix, {"dns", "tcp", "http"})
    assert problem.startswith(
        "new: tcp tcp.example fails from 1 of 1 pod, e.g. c on node node-c: i/o timeout"
    )


def test_a_probe_that_does_not_answer_has_not_reached_its_targets():
    """It would be easy to judge only those that do: on the new nodes that may be none."""
    roster = Roster([A, C])
    rows = {"a": parse_check(targets(), A, roster), "c": silent_row(roster, "context deadline exceeded")}
    (problem,) = problems.of_targets(Matrix(roster, rows), {"dns", "tcp", "http"})
    assert problem.startswith("no answer from 1 of 2 goldpinger pods, e.g. c on node node-c")


def test_a_node_without_a_probe_has_reached_nothing():
    matrix = mesh([A], probes={"a": targets()}, expected=Expectation(nodes=frozenset({"node-a", "node-c"})))
    assert problems.of_targets(matrix, {"dns"}) == ["no goldpinger pod on 1 node: node-c"]
    assert problems.of_targets(mesh([]), {"dns"}) == ["there is no goldpinger pod: nothing was measured"]


def test_a_probe_without_targets_has_measured_nothing():
    """As goldpinger 3.5, which knows only names, or a Deployment that lacks what the DaemonSet has."""
    matrix = mesh([A, C], probes={"a": targets(), "c": targets(tcp=None, http=None)})
    http, tcp = problems.of_targets(matrix, {"dns", "tcp", "http"})
    assert http.startswith(
        "1 goldpinger pod without a http target, e.g. c on node node-c: nothing was measured"
    )
    assert tcp.startswith("1 goldpinger pod without a tcp target")
    assert "goldpinger before 3.6.0 knows only names" in tcp


def test_a_healthy_mesh_of_the_old_cni_alone(recording, matrix_of):
    recorded = recording("20-goldpinger-old-only")
    matrix = matrix_of(recorded.check_all, CLASSES, recorded.pods, Expectation(pods=7))
    assert matrix.problems() == []
    assert matrix.is_complete
    assert matrix.is_good
    assert matrix.counts == {("old", "old"): Counts(pairs=49, ok=49)}


def test_a_pods_own_check_says_the_same_as_its_part_of_check_all(recording):
    recorded = recording("20-goldpinger-old-only")
    roster = Roster(pod_rows(recorded.pods, CLASSES))
    asked = roster.pods[roster.index[recorded.asked]]
    own = parse_check(recorded.check, asked, roster)
    nested = parse_check(recorded.check_all["responses"][asked.name]["response"], asked, roster)
    assert own.codes == nested.codes == bytes([State.OK]) * 7
    assert own.times == nested.times


@pytest.mark.parametrize("side", ["old", "worker3"])
def test_pairs_across_both_cnis_are_counted_in_each_direction(recording, matrix_of, side):
    recorded = recording(f"52-goldpinger-cross-cni-from-{side}")
    matrix = matrix_of(recorded.check_all, CLASSES, recorded.pods)
    assert matrix.summary() == {
        "pods": 8,
        "expected_pods": None,
        "pairs": 64,
        "ok": 64,
        "failed": 0,
        "stale": 0,
        "unknown": 0,
        "absent": 0,
        "complete": True,
        "classes": {
            "new→new": Counts(1, 1).as_dict(),
            "new→old": Counts(7, 7).as_dict(),
            "old→new": Counts(7, 7).as_dict(),
            "old→old": Counts(49, 49).as_dict(),
        },
        "probes": {"checked": 0, "failed": 0},
    }
    assert matrix.pair("goldpinger-l7r58", "goldpinger-lbflz").state is State.OK
    assert matrix.pair("goldpinger-l7r58", "goldpinger-lbflz").ping_time == pytest.approx(1795379821, abs=60)


def test_a_stopped_node_is_reported_as_what_it_is(poll, matrix_of):
    """Pairs to its pod fail, all to one pod; its own row is unknown, which is not failed."""
    (body,) = poll("61-goldpinger-poll-delete-old-cni-and-stop-node")
    matrix = matrix_of(body, BY_ADDRESS)
    first, second, third = matrix.problems()
    assert first == (
        "new→old: 6 of 12 pairs fail, all to goldpinger-l7r58 on node 172.30.0.4,"
        " e.g. goldpinger-ff964486c-5jskz on node 172.30.0.5 → goldpinger-l7r58 on node 172.30.0.4:"
        ' Get "http://10.244.2.2:8080/ping": context deadline exceeded'
    )
    assert second.startswith("old→old: 1 of 4 pairs fails, e.g. goldpinger-5s46c on node 172.30.0.2 →")
    assert third.startswith(
        "no answer from 1 of 8 goldpinger pods, e.g. goldpinger-l7r58 on node 172.30.0.4: Get"
    )
    assert not matrix.is_complete
    assert matrix.total == Counts(pairs=64, ok=49, failed=7, unknown=8)


def test_pods_that_are_gone_leave_no_failures_behind(poll, matrix_of):
    """During a restart goldpinger still reports 504 for pods that no longer exist: 2 lines of a real one."""
    early, late = poll("60-goldpinger-poll-cordon-restart")
    failing = [
        name
        for row in early["responses"].values()
        for name, entry in row["response"]["podResults"].items()
        if not entry["OK"]
    ]
    assert len(failing) > 5
    for body in (early, late):
        matrix = matrix_of(body, BY_ADDRESS)
        assert matrix.total.failed == 0
        # But it is not green either: new pods have not been pinged by everybody yet.
        assert not matrix.is_complete
        assert all("without a result so far" in line for line in matrix.problems())


def test_one_direction_that_fails_is_found_although_the_other_one_works():
    broken = {(one.name, other.name): result(other, ok=False) for one in (A, B) for other in (C, D)}
    matrix = mesh(ALL, changed=broken)
    assert matrix.problems() == [
        "old→new: 4 of 4 pairs fail, e.g. a on node node-a → c on node node-c:"
        ' Get "http://10.0.0.99:8080/ping": context deadline exceeded'
    ]
    assert matrix.counts["new", "old"].failed == 0
    assert [(pair.prober.name, pair.target.name) for pair in matrix.pairs(State.FAILED)] == sorted(broken)


def test_the_worst_direction_comes_first_and_what_pairs_share_is_named():
    changed = {(one.name, "d"): result(D, ok=False) for one in (A, B)}
    changed |= {("c", "a"): result(A, ok=False), ("c", "b"): result(B, ok=False)}
    changed[("d", "a")] = result(A, ok=False)
    lines = mesh(ALL, changed=changed).problems()
    assert [line.split(", e.g.")[0] for line in lines] == [
        "new→old: 3 of 4 pairs fail",
        "old→new: 2 of 4 pairs fail, all to d on node node-d",
    ]


def test_an_example_is_not_a_pod_that_fails_to_reach_itself():
    broken = {(one.name, other.name): result(other, ok=False) for one in ALL for other in ALL}
    assert "old→old: 4 of 4 pairs fail, e.g. a on node node-a → b on node node-b" in "\n".join(
        mesh(ALL, changed=broken).problems()
    )


def test_a_pod_that_left_itself_out_is_not_missing():
    changed = {(one.name, one.name): None for one in ALL}
    matrix = mesh(ALL, changed=changed)
    assert matrix.problems() == []
    assert matrix.total == Counts(pairs=12, ok=12)


def test_a_peer_that_was_not_pinged_yet_is_a_gap_and_not_a_success():
    matrix = mesh(ALL, changed={("a", "c"): None})
    assert matrix.problems() == [
        "old→new: 1 of 4 pairs without a result so far, e.g. a on node node-a → c on node node-c"
    ]
    assert not matrix.is_complete
    assert matrix.pair("a", "c").ping_time is None


def test_six_good_pods_are_not_green_when_seven_are_expected():
    matrix = mesh(ALL, expected=Expectation(pods=5))
    assert matrix.total == Counts(16, 16)
    assert matrix.problems() == ["4 goldpinger pods instead of 5"]
    assert not matrix.is_complete


def test_new_nodes_without_a_probe_are_named():
    expected = Expectation(nodes=frozenset({"node-c", "node-e", "node-f", "node-g", "node-h"}))
    matrix = mesh(ALL, expected=expected, classes={"node-e": "new"})
    assert matrix.problems() == ["no goldpinger pod on 4 nodes: node-e (new), node-f, node-g and 1 more"]


def test_nothing_measured_is_not_good():
    matrix = mesh([])
    assert matrix.problems() == ["there is no goldpinger pod: nothing was measured"]
    assert not matrix.is_complete
    assert not matrix.is_good


def test_a_result_for_an_address_that_the_pod_had_before_counts_neither_way():
    """A pod keeps name and uid when its sandbox is made anew, as after a node's restart."""
    changed = {
        ("a", "c"): result(C, PodIP="10.9.9.9"),
        ("b", "c"): {"OK": False, "error": "Host or pod IP empty, can't make a call", "status-code": 500},
    }
    matrix = mesh(ALL, changed=changed)
    assert matrix.total == Counts(16, 14, stale=2)
    assert matrix.pair("a", "c").reason == "pinged at 10.9.9.9, the pod has 10.0.0.99 now"
    assert matrix.pair("b", "c").reason == "pinged at no address, the pod has 10.0.0.99 now"


def test_an_ipv6_address_may_be_spelt_in_two_ways():
    target = pod("x", ip="2001:db8::1")
    matrix = mesh([target], changed={("x", "x"): result(target, PodIP="2001:0db8:0:0::1")})
    assert matrix.total == Counts(1, 1)


def test_only_results_obtained_after_the_barrier_count():
    before = mesh(ALL, at=500)
    barrier = before.barrier()
    half = mesh(ALL, at=600, changed={("a", "c"): result(C, at=500), ("b", "d"): result(D, ok=False, at=499)})
    assert not half.newer_than(barrier)
    assert half.since(barrier).total == Counts(16, 14, stale=2)
    assert half.since(barrier).problems() == [
        "old→new: 2 of 4 pairs with an old result only, e.g. a on node node-a → c on node node-c:"
        " not pinged again yet"
    ]
    after = mesh(ALL, at=501)
    assert after.newer_than(barrier)
    assert after.since(barrier).is_good
    assert not before.newer_than(barrier)
    assert half.total == Counts(16, 15, failed=1), "the matrix itself has not changed"


def test_each_probers_clock_is_its_own():
    """`a`'s clock is behind: its new pings are older than anybody else's old ones."""
    slow = {("a", other.name): result(other, at=100) for other in ALL}
    barrier = mesh(ALL, at=500, changed=slow).barrier()
    later = {("a", other.name): result(other, at=101) for other in ALL}
    assert mesh(ALL, at=501, changed=later).newer_than(barrier)
    assert not mesh(ALL, at=501, changed=slow).newer_than(barrier)


def test_a_pod_that_came_after_the_barrier_is_fresh_and_one_reborn_under_its_name_too():
    barrier = mesh([A, B], at=500).barrier()
    reborn = pod("b", "node-b", uid="another")
    matrix = mesh(
        [A, reborn], at=400, changed={("a", "a"): result(A, at=501), ("a", "b"): result(reborn, at=501)}
    )
    assert matrix.newer_than(barrier)


def test_a_ping_without_a_time_is_never_fresh():
    barrier = mesh([A, B]).barrier()
    year_one = {
        ("a", "b"): result(B, PingTime="0001-01-01T00:00:00.000Z"),
        ("b", "a"): result(A, PingTime="?"),
    }
    matrix = mesh([A, B], at=600, changed=year_one)
    assert not matrix.newer_than(barrier)
    assert matrix.since(barrier).total.stale == 2


def test_targets_beyond_the_peers_in_both_wire_formats():
    """goldpinger up to 3.5 speaks `dnsResults`, newer ones `probeResults`."""
    probes = {
        "a": {"dnsResults": {"kubernetes.default": {"response-time-ms": 2}}},
        "b": {"dnsResults": {"kubernetes.default": {"error": "no such host"}}},
        "c": {
            "probeResults": {
                "kubernetes.default:443": [{"protocol": "tcp", "error": "i/o timeout"}],
                "kubernetes.default": [{"protocol": "dns", "response-time-ms": 1}],
            }
        },
        "d": {"probeResults": {"kubernetes.default:443": [{"protocol": "tcp", "error": "i/o timeout"}]}},
    }
    matrix = mesh(ALL, probes=probes)
    assert matrix.problems() == [
        "new: tcp kubernetes.default:443 fails from 2 of 2 pods, e.g. c on node node-c: i/o timeout",
        "old: dns kubernetes.default fails from 1 of 2 pods, e.g. b on node node-b: no such host",
    ]
    assert matrix.summary()["probes"] == {"checked": 5, "failed": 3}
    assert matrix.is_complete
    assert not matrix.is_good


def test_display_nodename_is_recognised_instead_of_a_mesh_full_of_gaps():
    roster = Roster(ALL)
    row = parse_check(orjson.dumps({"podResults": {one.node: result(one) for one in ALL}}), A, roster)
    assert "DISPLAY_NODENAME" in row.silent


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null"])
def test_an_answer_that_is_none_makes_the_row_unknown(body):
    row = parse_check(body, A, Roster(ALL))
    assert row.silent
    assert row.codes == bytes([State.UNKNOWN]) * 4


def test_an_empty_check_is_a_row_of_gaps():
    """REFRESH_INTERVAL<=0 switches the pinging off: a quiet goldpinger is not a healthy one."""
    roster = Roster(ALL)
    matrix = Matrix(roster, {one.name: parse_check(b"{}", one, roster) for one in ALL})
    assert matrix.total == Counts(12, absent=12)
    assert not matrix.is_good


def test_pods_that_are_leaving_or_have_ended_do_not_count(recording):
    pods = recording("20-goldpinger-old-only").pods
    pods[0]["metadata"]["deletionTimestamp"] = "2026-11-22T20:31:00Z"
    pods[1]["status"] = {"phase": "Failed", "reason": "TaintToleration"}
    pods[2]["status"] = {"phase": "Pending"}
    rows = pod_rows(pods, CLASSES)
    assert len(rows) == 5
    assert [row.silent for row in rows if row.silent] == ["the pod is Pending"]


def test_pods_that_vanish_or_come_while_we_ask():
    roster = Roster(ALL)
    full = mesh(ALL, changed={("a", "b"): result(B, ok=False), ("c", "b"): result(B, ok=False)})
    rows = dict(zip((one.name for one in full.pods), full._rows, strict=True))
    reborn = pod("d", "node-d", "new", uid="another")
    late = pod("0", "node-c", "new")
    matrix = Matrix.joined(roster, rows, [A, C, reborn, late], classes={})
    assert {one.name for one in matrix.pods} == {"a", "c", "d", "0"}
    assert matrix.total.failed == 0, "b is gone, and with it every failure to reach it"
    assert matrix.pair("a", "c").state is State.OK
    assert matrix.pair("a", "d").state is State.ABSENT, "another pod of the same name"
    assert matrix.pair("d", "a").state is State.UNKNOWN
    assert matrix.pair("a", "0").state is State.ABSENT
    assert matrix.pair("0", "a").state is State.UNKNOWN
    assert not matrix.is_complete


def test_a_thousand_pods_are_judged_in_about_a_second():
    """A million pairs; generous on purpose, so that only a different order of magnitude fails."""
    pods = [
        pod(f"p{i}", f"node-{i}", "old" if i % 2 else "new", ip=f"10.1.{i >> 8}.{i & 255}")
        for i in range(1000)
    ]
    roster = Roster(pods)
    good = parse_check({"podResults": {one.name: result(one) for one in pods}}, pods[0], roster)
    bad = parse_check({"podResults": {one.name: result(one, ok=False) for one in pods}}, pods[1], roster)
    rows = {one.name: bad if i % 2 else good for i, one in enumerate(pods)}
    started = time.perf_counter()
    matrix = Matrix.joined(roster, rows, pods, classes={})
    lines = matrix.problems()
    matrix.summary()
    matrix.since(matrix.barrier()).problems()
    assert time.perf_counter() - started < 3.0
    assert [line.split(",")[0] for line in lines] == [
        "old→new: 250000 of 250000 pairs fail",
        "old→old: 250000 of 250000 pairs fail",
    ]
