"""Judging: as it happens and long after, with a scenario's own rules, and from the command line."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_watches import NODE_POOL, arrivals, write_record
from story import BEGIN, CONTEXT, Story, node, pod

from pytest_cnimigrate.observe.invariants import (
    BUILT_IN,
    Context,
    ContextError,
    Invariant,
    InvariantError,
    JournalTail,
    Judge,
    Ledger,
    instances,
    judge,
    own_invariants,
)
from pytest_cnimigrate.observe.judge import main
from pytest_cnimigrate.observe.record import State, replay

RUN = Path(__file__).parents[2] / "fixtures" / "records" / "node-pool"

REAL = Context(
    old_nodes="cni=aws-cni",
    new_nodes="ng=cilium",
    fence_key="cni",
    fence_value="aws-cni",
    old_cni="kube-system/kindnet",
    old_cni_pods="k8s-app=kindnet",
)


class NoPods(Invariant):
    """Never a pod."""

    name = "no-pods"
    why = "for the sake of the example"
    kinds = ("Pod",)

    def judge(self, transition, state):
        if transition.operation == "added":
            yield self.violation(transition, f"there is a pod, and {state.count('Pod')} in all")


class Breaks(NoPods):
    name = "breaks"

    def judge(self, transition, state):
        raise ZeroDivisionError("of all things")


@pytest.fixture
def record(tmp_path):
    """A real migration with an unhappy end."""
    folder = write_record(tmp_path / "record", arrivals(*NODE_POOL))
    REAL.write(folder)
    return folder


def test_a_violation_names_object_time_and_what_was_before_and_after():
    story = Story(NoPods)
    story.comes(5, pod("web"))
    (violation,) = story.judge.violations
    assert str(violation) == (
        "20:00:05.000 UTC: there is a pod, and 1 in all. Pod shop/web appeared (line 1 of the record). "
        "Rule no-pods: for the sake of the example"
    )
    assert json.loads(json.dumps(violation.as_json()))["object"] == "Pod shop/web"


def test_whoever_listens_hears_of_a_violation_at_once():
    heard = []
    court = Judge([NoPods(CONTEXT, Ledger())], on_violation=heard.append)
    story = Story()
    story.judge = court
    story.comes(1, pod("web"))
    assert heard == court.violations != []


def test_a_rule_that_breaks_is_a_violation_once_and_the_others_go_on():
    story = Story(Breaks, NoPods)
    story.comes(1, pod("a"), pod("b"))
    assert [name for name, _ in story.violations] == ["breaks", "no-pods", "no-pods"]
    assert "ZeroDivisionError: of all things" in story.judge.violations[0].sentence


def test_a_stored_record_is_judged_as_it_was_when_it_was_written(record):
    live = Judge(instances(REAL, Ledger(), BUILT_IN))
    state = State()
    for line in replay(record, state):
        live.hear(line, state)
    assert judge(record) == live.violations != []


def test_a_rule_written_today_can_be_tried_on_an_old_record(record):
    found = judge(record, invariants=[NoPods])
    assert len(found) == sum(line["op"] == "added" and line["kind"] == "Pod" for line in lines(record))


def lines(record):
    return [json.loads(line) for line in (record / "record-000001.jsonl").read_text().splitlines()]


def test_a_judge_that_catches_up_knows_the_past_and_does_not_tell_it_again(record):
    heard = []
    court = Judge([NoPods(REAL, Ledger())], on_violation=heard.append)
    court.catch_up(record)
    assert heard == []
    assert court.violations == judge(record, invariants=[NoPods])
    court.catch_up(record / "nothing-there")


class TestTheContextOfARecord:
    def test_it_is_kept_beside_it(self, record):
        assert Context.read(record) == REAL

    def test_one_that_is_missing_is_told(self, tmp_path):
        with pytest.raises(ContextError, match=r"context\.json is missing"):
            judge(write_record(tmp_path, arrivals("10-watch-nodes")))

    def test_one_of_a_newer_version_is_told(self, record):
        (record / "context.json").write_text(json.dumps({"new_field": 1}))
        with pytest.raises(ContextError, match="new_field is not known to this version"):
            Context.read(record)

    def test_one_that_is_cut_off_is_told(self, record):
        (record / "context.json").write_text("{")
        with pytest.raises(ContextError, match="cannot be read"):
            Context.read(record)

    def test_patience_follows_an_embedded_clusters_clock(self):
        assert CONTEXT.seconds(30) == 30
        assert replace(CONTEXT, speed=20).seconds(30) == 1.5
        assert replace(CONTEXT, speed=1000).seconds(30) == 1


class TestTheJournalIsReadAsItGrows:
    def entry(self, event, second, **more):
        return {
            "t": f"2026-11-22T20:00:{second:02}.000Z",
            "event": event,
            "id": 1,
            "change": "cordon-node",
        } | more

    def changes(self, ledger, second):
        return [change.parameters for change in ledger.changes(("cordon-node",), until=_at(second))]

    def test_a_change_counts_from_its_beginning(self, tmp_path):
        path = tmp_path / "journal.jsonl"
        ledger = Ledger(JournalTail(path))
        assert self.changes(ledger, 30) == []
        text = json.dumps(self.entry("change-started", 10, parameters={"node": "a"}))
        path.write_text(text[:20])
        assert self.changes(ledger, 30) == []
        with path.open("a") as file:
            file.write(text[20:] + "\n" + "no JSON\n")
        assert self.changes(ledger, 30) == [{"node": "a"}]
        assert self.changes(ledger, 5) == []

    def test_what_follows_long_after_its_end_is_not_its_work(self, tmp_path):
        path = tmp_path / "journal.jsonl"
        path.write_text(json.dumps(self.entry("change-started", 10)) + "\n")
        ledger = Ledger(JournalTail(path))
        (change,) = ledger.changes(("cordon-node",), until=_at(59))
        assert change.can_have_caused(_at(50), _at(50))
        with path.open("a") as file:
            file.write(json.dumps(self.entry("change-failed", 20)) + "\n")
        assert list(ledger.changes(("cordon-node",), until=_at(59))) == [change]
        assert change.can_have_caused(_at(21), _at(21))
        assert not change.can_have_caused(_at(50), _at(50))
        # Found by list after a gap: it may have happened in time.
        assert change.can_have_caused(_at(15), _at(50))
        assert not change.can_have_caused(_at(1), _at(9))


def _at(second):
    return BEGIN.replace(second=second)


class TestAScenariosOwnRules:
    def write(self, folder, text):
        (folder / "invariants.py").write_text(textwrap.dedent(text))

    RULE = """
        from pytest_cnimigrate.observe.invariants import Invariant

        class NeverCordoned(Invariant):
            '''Never a cordoned node.'''
            name = "never-cordoned"
            why = "because we say so"
            kinds = ("Node",)

            def judge(self, transition, state):
                if transition.new and transition.new["spec"].get("unschedulable"):
                    yield self.violation(transition, "cordoned")
    """

    def test_they_are_found_by_their_file_and_judge_like_ours(self, tmp_path):
        self.write(tmp_path, self.RULE)
        (rule,) = own_invariants(tmp_path)
        story = Story(rule)
        story.comes(1, node("a", unschedulable=True))
        assert story.violations == [("never-cordoned", "Node a")]

    def test_a_scenario_without_any_is_fine(self, tmp_path):
        assert own_invariants(tmp_path) == ()

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (("import Invariant", "import Inwariant"), "cannot be loaded: ImportError"),
            (('name = "never-cordoned"', ""), "NeverCordoned does not say its name"),
            (('kinds = ("Node",)', ""), "NeverCordoned does not say its kinds"),
            (('("Node",)', '"Node"'), "kinds should be a collection"),
            (("def judge", "def juge"), "does not define judge"),
            (("never-cordoned", "old-cni-on-new-node"), "another invariant named old-cni-on-new-node"),
        ],
    )
    def test_a_mistake_in_them_is_told_with_the_file(self, tmp_path, change, told):
        self.write(tmp_path, self.RULE.replace(*change))
        with pytest.raises(InvariantError, match=told) as error:
            own_invariants(tmp_path)
        assert str(error.value).startswith(str(tmp_path / "invariants.py"))


class TestFromTheCommandLine:
    def test_a_run_in_which_every_rule_held(self, capsys):
        assert main([str(RUN / "record")]) == 0
        assert capsys.readouterr().out == f"{len(BUILT_IN)} rules, 0 violations\n"

    def test_a_run_in_which_one_did_not(self, record, capsys):
        assert main([str(record)]) == 1
        out = capsys.readouterr().out
        assert "pod default/goldpinger-5s46c started on node real-worker" in out

    def test_the_rules_of_a_scenario_take_part(self, record, tmp_path, capsys):
        scenario = tmp_path / "scenario"
        scenario.mkdir()
        (scenario / "invariants.py").write_text(textwrap.dedent(TestAScenariosOwnRules.RULE))
        assert main([str(record), "--scenario", str(scenario)]) == 1
        assert "Rule never-cordoned: because we say so" in capsys.readouterr().out

    def test_two_records_are_compared(self, record, capsys):
        assert main([str(RUN / "record"), "--against", str(record)]) == 0
        assert "appeared: Deployment shop/storefront" in capsys.readouterr().out

    @pytest.mark.parametrize("missing", ["record", "context", "journal"])
    def test_what_cannot_be_judged_is_told_in_one_line(self, tmp_path, capsys, missing):
        folder = tmp_path / "record"
        if missing != "record":
            shutil.copytree(RUN / "record", folder)
        if missing == "context":
            (folder / "context.json").unlink()
        arguments = [str(folder)] + (["--journal", str(tmp_path / "none")] if missing == "journal" else [])
        assert main(arguments) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
