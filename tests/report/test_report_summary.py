"""What is said of a run is what its journal says: no more, and never better."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sample_journal import HELM_MESSAGE, SampleJournal, migration, nodeid, steps_of
from sample_phases import CILIUM, CORDON, DRAIN, FENCE, PHASES, PREFLIGHT, PROBE

from pytest_cnimigrate.report.model import ChangeState, Outcome, RunState
from pytest_cnimigrate.report.summary import summarise
from pytest_cnimigrate.report.verdict import verdict

ALL_STEPS = [nodeid(phase, title) for phase in PHASES for _, title in steps_of(phase)]


def outcomes(summary) -> dict[str, Outcome]:
    return {phase.name: phase.outcome for phase in summary.phases}


def test_a_migration_that_went_through_is_told_in_numbers():
    summary = summarise(migration(provider="eks").records)
    told = verdict(summary)
    assert told.good
    assert told.headline == "The migration went through."
    assert told.sentences == (
        "10 phases, 31 checks passed, 20 changes, 6.5 pair-seconds of reachability lost, in 4 min 20 s.",
        "1 check was skipped.",
    )
    assert [step.nodeid for step in summary.steps] == ALL_STEPS


def test_a_run_on_the_embedded_cluster_is_called_a_rehearsal():
    assert verdict(summarise(migration(provider="sim").records)).headline == "The rehearsal went through."


def test_a_failed_action_names_the_phase_the_reason_and_what_may_be_half_way():
    summary = summarise(migration(failed_action="cilium").records)
    told = verdict(summary)
    assert told.state is RunState.FAILED
    assert told.headline == "Stopped in phase 5 of 10, “Install Cilium on the new nodes”."
    assert told.sentences == (
        f"The action “Install the Helm release cilium” failed: {HELM_MESSAGE}.",
        "Look here first: “install Helm release kube-system/cilium 1.18.3” (change 12) began and did not "
        "come to a good end, so what it touches may be half way.",
        "22 steps were not run; 5 phases were not begun.",
        "11 changes were made and are in place.",
    )
    assert outcomes(summary)["cilium"] is Outcome.FAILED
    assert outcomes(summary)["cordon"] is Outcome.NOT_RUN


def test_a_failed_check_fails_its_phase_and_leaves_the_rest_not_run():
    summary = summarise(migration(failed_checks="fence").records)
    assert outcomes(summary) == {
        phase.name: Outcome.PASSED
        if phase in (PREFLIGHT, PROBE)
        else Outcome.FAILED
        if phase is FENCE
        else Outcome.NOT_RUN
        for phase in PHASES
    }
    assert [step.title for step in summary.failures] == ["The probe still sees every pair"]


def test_a_killed_run_tells_what_it_had_in_hand():
    summary = summarise(migration(killed="drain").records)
    told = str(verdict(summary))
    assert summary.state is RunState.BROKEN_OFF
    assert "in phase 8 of 10, “Drain the old nodes”" in told
    assert "“drain node ip-10-0-13-64” (change 19) began and did not come to a good end" in told
    assert "The action “Drain node by node” began at 21:32:07 UTC and has no end on record." in told
    assert outcomes(summary)["drain"] is Outcome.UNFINISHED
    assert outcomes(summary)["remove-old-cni"] is Outcome.NOT_RUN


def test_an_interrupted_run_names_the_signal_and_the_phase():
    told = verdict(summarise(migration(interrupted="drain").records))
    assert told.state is RunState.INTERRUPTED
    assert told.headline == "Interrupted by SIGTERM in phase 8 of 10, “Drain the old nodes”."


def test_a_run_can_be_told_of_however_little_of_its_journal_is_left():
    records = migration(failed_action="drain").records
    for length in range(len(records)):
        summary = summarise(records[:length])
        assert summary.state is (RunState.BROKEN_OFF if length else RunState.EMPTY)
        assert not verdict(summary).good
        if length > 1:
            assert [step.nodeid for step in summary.steps] == ALL_STEPS


def test_a_missing_end_of_one_step_is_not_made_good_by_the_last_line():
    journal = migration()
    lost = next(record for record in journal.records if record.get("title") == "No old node takes new pods")
    journal.records = [
        record
        for record in journal.records
        if not (record["event"] == "test-finished" and record["nodeid"] == lost["nodeid"])
    ]
    summary = summarise(journal.records)
    assert summary.state is RunState.INCOMPLETE
    assert outcomes(summary)["cordon"] is Outcome.UNFINISHED


def test_a_line_that_cannot_be_read_keeps_a_run_from_being_called_good():
    journal = migration()
    journal.records.insert(40, {"t": "", "event": "unreadable", "text": '{"t":"2026'})
    told = verdict(summarise(journal.records))
    assert told.state is RunState.INCOMPLETE
    assert "1 line in the middle of the journal cannot be read." in told.sentences


def test_a_failure_in_teardown_overrules_an_earlier_pass():
    journal = migration()
    passed = next(record for record in journal.records if record["event"] == "test-finished")
    journal.records.insert(
        -1, {**passed, "outcome": "failed", "message": "left a pod behind", "when": "teardown"}
    )
    summary = summarise(journal.records)
    assert summary.state is RunState.FAILED
    assert "“All nodes are Ready” failed in its teardown: left a pod behind." in verdict(summary).sentences[0]


def test_a_step_that_failed_stays_failed_whatever_comes_later():
    journal = migration(failed_checks="fence")
    failed = next(record for record in journal.records if record.get("outcome") == "failed")
    journal.records.insert(-1, {**failed, "outcome": "passed"})
    assert [step.nodeid for step in summarise(journal.records).failures] == [failed["nodeid"]]


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("done", ChangeState.DONE),
        ("held", ChangeState.HELD),
        ("failed", ChangeState.FAILED),
        ("refused", ChangeState.REFUSED),
        ("open", ChangeState.OPEN),
    ],
)
def test_a_change_is_told_by_how_it_ended(end, state):
    journal = SampleJournal()
    journal.start()
    journal.change(CORDON.changes[0], end)
    (change,) = summarise(journal.records).changes
    assert change.state is state
    assert change.in_doubt is (end in ("failed", "open"))
    assert change.description == "cordon node ip-10-0-11-17"


def test_a_change_keeps_what_was_there_before_it():
    summary = summarise(migration().records)
    scaled = next(
        change for change in summary.changes if change.description == "scale node group ng-1 from 3 to 0"
    )
    assert (scaled.captured, scaled.phase, scaled.seconds) == ({"desired": 3}, "remove-old-nodes", 27.0)


def test_a_change_that_was_undone_is_no_longer_in_place():
    journal = SampleJournal()
    journal.start()
    journal.change(CORDON.changes[0])
    journal.add("change-undone", id=1, change="cordon-node", description="cordon node", seconds=0.2)
    journal.finish("failed", 1)
    summary = summarise(journal.records)
    assert not summary.changes[0].in_place
    assert "1 change was undone." in verdict(summary).sentences


def test_two_changes_under_one_id_are_told_apart():
    journal = SampleJournal()
    journal.start()
    for change in CORDON.changes[:2]:
        journal.change(change)
        journal.next_change = 1
    summary = summarise(journal.records)
    assert [change.description for change in summary.changes] == [
        "cordon node ip-10-0-11-17",
        "cordon node ip-10-0-12-201",
    ]
    assert all(change.in_place for change in summary.changes)


def test_totals_of_lost_reachability_are_not_counted_twice():
    journal = SampleJournal()
    journal.start()
    for name, value in (("old→new", 2), ("new→old", 3)):
        journal.add("measurement", name="lost", value=value, unit="pair-seconds", **{"class": name})
    assert summarise(journal.records).pair_seconds_lost == 5
    journal.add("measurement", name="lost", value=5, unit="pair-seconds")
    assert summarise(journal.records).pair_seconds_lost == 5


def test_reachability_that_nobody_measured_is_not_claimed():
    assert summarise(migration(killed="drain").records).pair_seconds_lost is None


def test_the_last_of_several_runs_in_a_journal_is_told():
    first = migration(failed_action="cilium").records
    again = SampleJournal()
    again.start(run_id="20261123-020000-cd34")
    summary = summarise([*first, *again.records])
    assert (summary.run_id, summary.earlier_runs, summary.failures) == ("20261123-020000-cd34", 1, ())


def test_a_refused_run_tells_why():
    journal = SampleJournal()
    journal.start()
    journal.records = journal.records[:1]
    journal.add("note", text="refused: phase drain cannot be picked without fence")
    journal.finish("refused", 4)
    told = verdict(summarise(journal.records))
    assert told.headline == "Nothing was run."
    assert told.sentences[0] == "refused: phase drain cannot be picked without fence."


def test_malformed_fields_do_not_keep_a_run_from_being_told():
    summary = summarise(
        [
            {"t": 7, "event": "run-started", "phases": "none", "versions": [1], "argv": {}, "cluster": None},
            {"event": "collected", "items": [None, {"nodeid": 3}, "x"]},
            {"event": "matrix", "pods": "many", "classes": [1]},
            {"event": "measurement", "value": [1]},
            {"event": "change-done"},
            {"event": "test-finished", "nodeid": "a.py::test_x", "outcome": "excellent", "seconds": "long"},
            {"event": "something-new"},
            {},
        ]
    )
    assert [step.outcome for step in summary.steps] == [Outcome.NOT_RUN, Outcome.FAILED]


def test_the_terminal_can_sum_up_a_run_without_loading_the_page():
    program = (
        "import sys; import pytest_cnimigrate.report.verdict, pytest_cnimigrate.report.summary;"
        "print([name for name in ('jinja2', 'kubernetes', 'pydantic', 'aiohttp') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_steps_carry_their_evidence():
    summary = summarise(migration().records)
    last = next(step for step in summary.steps if step.nodeid == nodeid(DRAIN, DRAIN.checks[-1]))
    assert [evidence.name for evidence in last.evidence] == ["matrix.json"]
    assert summary.evidence == ()
    assert nodeid(CILIUM, CILIUM.action) in {step.nodeid for step in summary.steps if step.is_action}


def test_a_run_of_the_first_phase_alone_went_through_as_far_as_it_was_picked():
    records = migration().records
    end = next(n for n, record in enumerate(records) if record["event"] == "phase-finished")
    first = records[end]["phase"]
    started, collected = (dict(record) for record in records[:2])
    collected["items"] = [item for item in collected["items"] if item["phase"] == first]
    picked = [started, collected, *records[2 : end + 1], records[-1]]
    told = verdict(summarise(picked))
    assert told.state is RunState.INCOMPLETE
    assert told.headline == "What was picked went through: 1 phase of 10."
    # Had the rest been asked for, it would be another matter.
    told = verdict(summarise([started, records[1], *picked[2:]]))
    assert told.headline.startswith("Not complete: ")
