"""The record of a whole rehearsal: no rule is broken in it, and each speaks up when it is tampered with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_cnimigrate.model.objects import Object, copy, key_of
from pytest_cnimigrate.observe.invariants import (
    BUILT_IN,
    Context,
    Invariant,
    Judge,
    Ledger,
    instances,
    judge,
    read_changes,
)
from pytest_cnimigrate.observe.record import State, Transition, read_record, replay
from pytest_cnimigrate.observe.record.tracking import Arrival, Tracker

RUN = Path(__file__).parents[2] / "fixtures" / "records" / "node-pool"
RECORD, JOURNAL = RUN / "record", RUN / "journal.jsonl"


def test_a_rehearsal_that_went_through_breaks_no_rule():
    assert judge(RECORD, JOURNAL) == []


def test_the_record_is_of_a_whole_migration():
    """Else the silence above would say little."""
    kinds = {(line.kind, line.operation) for line in read_record(RECORD)}
    assert {
        ("Node", "added"),
        ("Node", "removed"),
        ("DaemonSet", "removed"),
        ("CiliumNode", "added"),
    } <= kinds


def test_without_the_journal_the_run_itself_is_somebody_else():
    broken = {violation.invariant for violation in judge(RECORD)}
    assert broken == {"old-cni-changed-by-others", "unexpected-restart", "too-many-nodes-out"}


def test_judging_costs_no_look_at_the_whole_cluster():
    """What a transition costs must not grow with the cluster."""

    class Indexed(State):
        def all(self, kind: str) -> Any:
            raise AssertionError("a rule asks for every object of a kind")

        keys = kinds = all

    court = Judge(instances(Context.read(RECORD), read_changes(JOURNAL), BUILT_IN))
    state = Indexed()
    for line in replay(RECORD, state):
        court.hear(line, state)
    assert court.violations == []


Tamper = Callable[[Transition], list[tuple[str, Object]] | None]
"""What is heard instead of a transition: types of events and objects. None: what really happened."""


def tampered(tamper: Tamper) -> list[str]:
    """The rules that are broken when something else had happened."""
    court = Judge(instances(Context.read(RECORD), read_changes(JOURNAL), BUILT_IN))
    tracker = Tracker(State())
    for line in read_record(RECORD):
        if not isinstance(line, Transition):
            continue
        instead = tamper(line)
        if instead is None:
            kind = {"added": "ADDED", "changed": "MODIFIED", "removed": "DELETED"}[line.operation]
            instead = [(kind, line.last)]
        for event, obj in instead:
            # Events keep their own place in time; a made-up version lets every state through.
            heard = Arrival(obj["kind"], line.time, event, obj, listed=line.found_by == "start")
            for told in tracker.take(heard):
                court.hear(told, tracker.state)
    return list(dict.fromkeys(violation.invariant for violation in court.violations))


class Once:
    """Changes the first transition that fits, and lets all others be."""

    def __init__(self, fits: Callable[[Transition], bool], change: Callable[[Object], None]) -> None:
        self.fits = fits
        self.change = change
        self.done = False

    def __call__(self, line: Transition) -> list[tuple[str, Object]] | None:
        if self.done or line.new is None or not self.fits(line):
            return None
        self.done = True
        changed = copy(line.new)
        self.change(changed)
        changed["metadata"]["resourceVersion"] = "tampered"
        return [("MODIFIED" if line.old else "ADDED", changed)]


def is_new_node(line: Transition) -> bool:
    return line.kind == "Node" and "ng-cilium" in str(line.last["metadata"]["labels"])


def is_old_node(line: Transition) -> bool:
    return line.kind == "Node" and not is_new_node(line)


def is_pod_of(line: Transition, name: str) -> bool:
    return line.kind == "Pod" and line.key.split("/")[1].startswith(name)


def test_what_is_not_tampered_with_is_still_fine():
    assert tampered(lambda line: None) == []


def test_a_new_node_without_the_taint():
    assert "new-node-untainted" in tampered(
        Once(lambda line: is_new_node(line) and line.old is None, lambda node: node["spec"].pop("taints"))
    )


def test_an_old_node_that_loses_its_label_late():
    def unlabel(node: Object) -> None:
        del node["metadata"]["labels"]["cni"]

    fenced: list[bool] = []

    def fits(line: Transition) -> bool:
        fenced.extend(line.key == "kube-system/aws-node" and line.operation == "changed" for _ in "x")
        return any(fenced) and is_old_node(line) and "cni" in line.last["metadata"]["labels"]

    assert "old-node-unfenced" in tampered(Once(fits, unlabel))


def test_the_old_cni_on_a_new_node():
    new: list[str] = []

    def fits(line: Transition) -> bool:
        if is_new_node(line) and line.old is None:
            new.append(line.key)
        return bool(new) and is_pod_of(line, "cilium-") and "nodeName" in line.last["spec"]

    def disguise(pod: Object) -> None:
        pod["metadata"]["labels"]["k8s-app"] = "aws-node"

    assert "old-cni-on-new-node" in tampered(Once(fits, disguise))


def test_ciliums_agent_on_an_old_node():
    old = next(line.key for line in read_record(RECORD) if line.kind == "Node" and is_old_node(line))

    def fits(line: Transition) -> bool:
        labels = line.last["metadata"].get("labels") or {}
        return line.kind == "Pod" and labels.get("k8s-app") == "cilium" and "nodeName" in line.last["spec"]

    assert "new-cni-on-fenced-node" in tampered(Once(fits, lambda pod: pod["spec"].update(nodeName=old)))


def test_a_budget_that_is_undercut():
    def fits(line: Transition) -> bool:
        return line.kind == "PodDisruptionBudget" and line.operation == "changed"

    def undercut(budget: Object) -> None:
        budget["status"] |= {"currentHealthy": 0, "desiredHealthy": 1, "expectedPods": 2}

    assert "workload-below-budget" in tampered(Once(fits, undercut))


def test_a_container_that_restarts():
    def fits(line: Transition) -> bool:
        ready = json.dumps({"type": "Ready", "status": "True"})[1:-1]
        return is_pod_of(line, "storefront") and line.operation == "changed" and ready in json.dumps(line.old)

    def restart(pod: Object) -> None:
        pod["status"]["containerStatuses"][0]["restartCount"] = 1

    assert "unexpected-restart" in tampered(Once(fits, restart))


def test_a_pod_deleted_out_of_turn():
    """As the operator's watcher for unmanaged pods does with CoreDNS."""

    def fits(line: Transition) -> bool:
        return is_pod_of(line, "coredns") and line.found_by == "start"

    coredns: list[Object] = []

    def tamper(line: Transition) -> list[tuple[str, Object]] | None:
        if fits(line):
            coredns.append(line.last)
        if coredns and line.kind == "CiliumNode":
            pod = copy(coredns[0])
            coredns.clear()
            pod["metadata"] |= {"deletionTimestamp": "2026-11-22T23:00:00Z", "resourceVersion": "tampered"}
            return [("MODIFIED", pod)]
        return None

    assert "unexpected-restart" in tampered(tamper)


def test_the_old_cni_changed_by_somebody_else():
    """As `cilium install` does."""
    latest: list[Object] = []

    def tamper(line: Transition) -> list[tuple[str, Object]] | None:
        if line.kind == "DaemonSet" and line.key == "kube-system/aws-node" and line.new is not None:
            latest[:] = [line.new]
        if latest and line.kind == "CiliumNode":
            daemonset = copy(latest.pop())
            daemonset["spec"]["template"]["spec"]["nodeSelector"] = {"io.cilium/aws-node-enabled": "true"}
            daemonset["metadata"]["resourceVersion"] = "tampered"
            return [("MODIFIED", daemonset)]
        return None

    assert "old-cni-changed-by-others" in tampered(tamper)


def test_a_probe_that_disappears():
    gone: set[str] = set()

    def tamper(line: Transition) -> list[tuple[str, Object]] | None:
        owner = (line.last["metadata"].get("ownerReferences") or [{}])[0]
        if line.kind == "Pod" and owner.get("kind") == "DaemonSet" and owner.get("name") == "goldpinger":
            ready = any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in line.last["status"].get("conditions", ())
            )
            if line.key in gone:
                return []
            if ready and not gone:
                gone.add(line.key)
                return [("MODIFIED", line.last), ("DELETED", line.last)]
        return None

    assert {"mesh-below-expected", "unexpected-restart"} <= set(tampered(tamper))
    assert gone


def test_two_nodes_drained_at_once():
    """The batch is smaller than what was done."""
    journal = [json.loads(line) for line in JOURNAL.read_text().splitlines()]
    assert {record["change"] for record in journal} >= {"drain-nodes", "cordon-node"}
    without_cordons = [record for record in journal if record["change"] != "cordon-node"]
    rules: list[type[Invariant]] = [rule for rule in BUILT_IN if rule.name == "too-many-nodes-out"]
    found = judge(RECORD, Ledger.of(without_cordons), invariants=rules)
    assert [violation.object.split()[0] for violation in found] == ["Node", "Node"]


def test_agents_that_are_never_ready():
    def tamper(line: Transition) -> list[tuple[str, Object]] | None:
        labels = line.last["metadata"].get("labels") or {}
        if line.kind != "Pod" or labels.get("k8s-app") != "cilium" or line.new is None:
            return None
        changed = copy(line.new)
        for one in changed["status"].get("conditions", ()):
            if one["type"] == "Ready":
                one["status"] = "False"
        return [("MODIFIED" if line.old else "ADDED", changed)]

    assert {"pod-without-agent", "node-without-cni"} <= set(tampered(tamper))


@pytest.mark.parametrize("rule", BUILT_IN, ids=lambda rule: rule.name)
def test_every_rule_says_why_and_what_it_looks_at(rule):
    assert rule.__doc__
    assert len(rule.why) > 40
    assert set(rule.kinds) <= {line.kind for line in read_record(RECORD)}


def test_every_object_of_the_record_has_its_name():
    for line in read_record(RECORD):
        if isinstance(line, Transition):
            assert key_of(line.last) == line.key if line.last else line.kind == "Event"
