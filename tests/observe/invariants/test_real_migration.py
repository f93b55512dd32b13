"""Every rule is silent while a real migration goes well, and speaks up where it did not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from recorded_watches import IN_PLACE, NODE_POOL, arrivals, tracked

from pytest_cnimigrate.observe.invariants import BUILT_IN, Context, Judge, Ledger, instances

CONTEXT = Context(
    old_nodes="cni=aws-cni",
    new_nodes="ng=cilium",
    fence_key="cni",
    fence_value="aws-cni",
    old_cni="kube-system/kindnet",
    old_cni_pods="k8s-app=kindnet",
)
SWITCHED = "io.cilium.migration/cilium-default"
"""The label of a node that was migrated in place."""
IN_PLACE_CONTEXT = replace(
    CONTEXT, old_nodes=f"!{SWITCHED}", new_nodes=f"{SWITCHED}=true", fence_value="none", strategy="in-place"
)

WENT_WELL_UNTIL = "20:39:49"


def change(number, time, kind, *, done="", **parameters):
    """What a journal would have said of what was done by hand then."""
    entry = {"id": number, "change": kind, "parameters": parameters}
    return [
        {"t": f"2026-11-22T{time}Z", "event": "change-started", **entry},
        {"t": f"2026-11-22T{done or time}Z", "event": "change-done", **entry},
    ]


KINDNET = {"namespace": "kube-system", "name": "kindnet"}
GOLDPINGER = {"workload": "Deployment", "namespace": "default", "name": "goldpinger"}
MANIFEST = {"kind": "DaemonSet", "metadata": KINDNET}

JOURNAL = [
    *change(1, "20:29:46.000", "apply-object", done="20:29:47.000", manifest=MANIFEST),
    *change(2, "20:31:17.300", "fence-daemonset", done="20:31:17.340", **KINDNET),
    *change(3, "20:31:23.200", "restart-rollout", **GOLDPINGER),
    *change(4, "20:37:59.500", "cordon-node", node="real-control-plane"),
    *change(5, "20:37:59.500", "cordon-node", node="real-worker"),
    *change(6, "20:37:59.500", "cordon-node", node="real-worker2"),
    *change(7, "20:37:59.900", "restart-rollout", **GOLDPINGER),
    *change(8, "20:39:49.600", "delete-daemonset", **KINDNET),
]


def judged(names, context, *, until="", journal=(), waits=0):
    judge = Judge(instances(context, Ledger.of(journal), BUILT_IN))
    for line, state in tracked(arrivals(*names, until=until)):
        judge.hear(line, state)
    judge.tick(line.time + timedelta(seconds=waits))
    return judge.violations


def rules(violations):
    return Counter(violation.invariant for violation in violations)


def test_a_migration_that_goes_well_breaks_no_rule():
    assert judged(NODE_POOL, CONTEXT, until=WENT_WELL_UNTIL, journal=JOURNAL, waits=3600) == []


def test_without_its_journal_the_same_changes_are_somebody_elses():
    found = rules(judged(NODE_POOL, CONTEXT, until=WENT_WELL_UNTIL, waits=60))
    assert set(found) == {"old-cni-changed-by-others", "unexpected-restart", "too-many-nodes-out"}
    assert found["old-cni-changed-by-others"] == 2  # it appeared, and it was fenced
    assert found["unexpected-restart"] == 3 + 5 + 5  # the old CNI's pods, and goldpinger's twice


@pytest.fixture(scope="module")
def to_the_end():
    """The old CNI removed, a probe deleted by hand, a node stopped, the others uncordoned without a CNI."""
    return {
        (violation.invariant, violation.object): violation
        for violation in judged(NODE_POOL, CONTEXT, journal=JOURNAL, waits=60)
    }


def test_nothing_but_what_really_went_wrong_is_told(to_the_end):
    assert set(to_the_end) == {
        ("unexpected-restart", "Pod default/goldpinger-sstp5"),
        ("pod-without-agent", "Pod default/goldpinger-5s46c"),
        ("mesh-below-expected", "Pod default/goldpinger-sstp5"),
        ("mesh-below-expected", "Pod default/goldpinger-l7r58"),
        ("node-without-cni", "Node real-worker"),
    }


def test_a_pod_that_starts_after_the_old_cni_has_gone_is_told_with_its_address(to_the_end):
    """Deleting kindnet did not stop new pods on its nodes."""
    violation = to_the_end["pod-without-agent", "Pod default/goldpinger-5s46c"]
    assert violation.time.strftime("%H:%M:%S") == "20:40:03"
    assert "started on node real-worker with address 10.244.3.8" in violation.sentence


def test_a_stopped_node_is_missed_in_the_mesh(to_the_end):
    violation = to_the_end["mesh-below-expected", "Pod default/goldpinger-l7r58"]
    assert violation.time.strftime("%H:%M") == "20:41"
    assert "no ready probe on real-worker2" in violation.sentence
    assert 'status.conditions[Ready].status: "True" → "False"' in violation.transition


def test_nodes_that_are_opened_without_a_cni_are_told(to_the_end):
    assert "real-worker takes pods" in to_the_end["node-without-cni", "Node real-worker"].sentence


def test_in_place_two_cnis_on_one_node_are_no_violation():
    found = rules(judged(IN_PLACE, IN_PLACE_CONTEXT))
    assert not found.keys() & {"old-cni-on-new-node", "new-cni-on-fenced-node", "node-without-cni"}


def test_the_same_taken_for_a_node_pool_migration_is_one():
    found = judged(IN_PLACE, replace(IN_PLACE_CONTEXT, strategy="node-pool", fence_key="kubernetes.io/os"))
    assert [one.object for one in found if one.invariant == "old-cni-on-new-node"] == [
        "Node real-worker2",
        "Node real-worker",
        "Node real-control-plane",
    ]
    linux = replace(CONTEXT, fence_key="kubernetes.io/os", fence_value="linux")
    found = judged(IN_PLACE, linux, until="20:50:00")
    agents = [one.object for one in found if one.invariant == "new-cni-on-fenced-node"]
    assert len(agents) == 3
    assert all(agent.startswith("Pod kube-system/cilium-") for agent in agents)


def test_the_reboot_of_a_node_is_told_as_the_restart_of_what_ran_there():
    found = judged(IN_PLACE, IN_PLACE_CONTEXT, until="20:52:30")
    restarted = {one.object for one in found if "has been restarted" in one.sentence}
    assert restarted == {
        "Pod kube-system/kube-proxy-fj69m",
        "Pod kube-system/kindnet-jxt4h",
        "Pod kube-system/cilium-8c5l6",
        "Pod default/goldpinger-5dkc2",
    }
