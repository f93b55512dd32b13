"""What the operator sees while a scenario runs."""

from __future__ import annotations

import re

import pytest
from scenario_project import THREE_PHASES, Project

from pytest_cnimigrate.plugin.narration import Narrator

STAMP = re.compile(r"^\d\d:\d\d:\d\d ", re.MULTILINE)

LINES = [
    "phase 1 of 3: Look around",
    "  ok       The cluster answers",
    "  ok       nodes are ready",
    "",
    "phase 2 of 3: Change it",
    "  changed  label node a",
    "  ok       The labels are there",
    "",
    "phase 3 of 3: Done",
    "  ok       All is well",
]
FAILS = THREE_PHASES | {
    "change-it": THREE_PHASES["change-it"].replace(
        'migrate("label node a")', 'migrate("label node a"); assert 0, "node a is gone"'
    )
}
FAILED_LINES = [
    *LINES[:6],
    "  FAILED   Label the nodes",
    "           node a is gone",
    "  not run  2 tests in 2 phases",
    '           the action "Label the nodes" failed in phase change-it',
]


def story(result: pytest.RunResult) -> list[str]:
    """The live lines, without the time that each starts with."""
    text = "\n".join(result.outlines)
    begun = text.index("phase 1 of 3") - len("00:00:00 ")
    lines = text[begun:].splitlines()
    end = next(n for n, line in enumerate(lines) if line and not STAMP.match(line))
    return [STAMP.sub("", line) for line in "\n".join(lines[:end]).rstrip().splitlines()]


@pytest.mark.parametrize("workers", [0, 2])
def test_phases_changes_and_checks_are_told_in_plain_words(project: Project, workers: int) -> None:
    project.scenario(THREE_PHASES)
    result = project.run(workers=workers)
    assert story(result) == LINES
    assert "[100%]" not in result.stdout.str() or workers


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failure_is_told_with_its_reason_and_what_was_not_run_in_one_line(
    project: Project, workers: int
) -> None:
    project.scenario(FAILS)
    assert story(project.run(workers=workers)) == FAILED_LINES


def test_lines_come_while_a_test_runs_and_its_output_is_captured(project: Project) -> None:
    project.scenario(
        {
            "one": """
                def test_one(scenario_run):
                    print("chatter of a test")
                    scenario_run.journal.append("note", text="waiting for 2 of 3 nodes")
            """
        }
    )
    result = project.run()
    result.stdout.fnmatch_lines(["*:*:*            waiting for 2 of 3 nodes"])
    assert "chatter" not in result.stdout.str()


def test_verbose_and_quiet_show_pytests_own_output(project: Project) -> None:
    project.scenario(FAILS)
    verbose = project.run_inline("-v")
    verbose.stdout.fnmatch_lines(
        ["*test_20_change_it.py::test_label FAILED*", "*test_30_done.py::test_all_is_well NOT RUN*"]
    )
    verbose.stdout.no_fnmatch_line("*phase 1 of 3*")
    quiet = project.run_inline("-q")
    quiet.stdout.fnmatch_lines(["..F--*"])
    quiet.stdout.no_fnmatch_line("*phase 1 of 3*")


def test_without_a_terminal_reporter_the_run_is_the_same(project: Project) -> None:
    project.scenario(THREE_PHASES)
    assert project.run_inline("-p", "no:terminal").ret == 0
    assert set(project.outcomes().values()) == {"passed"}


def test_the_end_says_what_became_of_it_where_the_record_is_and_what_to_type(project: Project) -> None:
    project.scenario(FAILS)
    result = project.run_inline("--cni-out=there")
    result.stdout.fnmatch_lines(
        [
            "*= scenario move =*",
            "Stopped in phase 2 of 3*",
            "*node a is gone*",
            "  page     there/index.html",
            "  junit    there/junit.xml",
            "  journal  there/move/journal.jsonl",
            "  again    pytest *--cni-out=there",
            "*= 1 failed, 2 passed, 2 notrun in *",
        ]
    )


def tell(*records: dict[str, object], clock: object = None) -> list[str]:
    narrator = Narrator(**({"clock": clock} if clock else {}))  # type: ignore[arg-type]
    lines = [line.text for record in records for line in narrator.tell({"t": "", **record})]
    lines += [line.text for line in narrator.overdue()]
    return lines + [line.text for line in narrator.flush()]


CHANGE = {"id": 1, "description": "create node group ng-cilium"}


def test_what_becomes_of_a_change_is_told() -> None:
    lines = tell(
        {"event": "change-held", **CHANGE},
        {"event": "change-started", **CHANGE},
        {"event": "change-failed", **CHANGE, "error": "no"},
        {"event": "change-undone", **CHANGE, "description": "undo: create node group ng-cilium"},
    )
    assert lines == [
        "  kept     create node group ng-cilium (already so)",
        "  FAILED   create node group ng-cilium",
        "  undone   create node group ng-cilium",
    ]


def test_a_change_that_takes_its_time_is_announced_once() -> None:
    now = [0.0]
    narrator = Narrator(clock=lambda: now[0])
    assert not list(narrator.tell({"t": "", "event": "change-started", **CHANGE}))
    assert not list(narrator.overdue())
    now[0] = 5.0
    assert [line.text for line in narrator.overdue()] == ["  doing    create node group ng-cilium …"]
    assert not list(narrator.overdue())


def test_an_action_without_a_change_is_told_as_done() -> None:
    step = {"nodeid": "n", "phase": "p", "kind": "action", "title": "Wait for the nodes"}
    lines = tell({"event": "test-started", **step}, {"event": "test-finished", **step, "outcome": "passed"})
    assert lines == ["  done     Wait for the nodes"]


def test_a_skip_is_told_with_its_reason() -> None:
    step = {"nodeid": "n", "phase": "p", "kind": "check", "title": "The add-on is gone"}
    lines = tell({"event": "test-finished", **step, "outcome": "skipped", "message": "no add-on here"})
    assert lines == ["  skipped  The add-on is gone (no add-on here)"]


def test_an_event_of_a_newer_version_is_passed_over() -> None:
    assert tell({"event": "something-new"}, {"event": "unreadable", "text": "x"}) == []


class StoppedClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def awaited(text: str) -> dict[str, object]:
    return {"t": "2026-11-22T12:00:00.000Z", "event": "note", "text": text, "awaited": True}


def test_what_is_waited_for_is_told_only_when_it_takes_a_while_and_then_not_at_every_change() -> None:
    clock = StoppedClock()
    narrator = Narrator(clock=clock)
    assert list(narrator.tell(awaited("0 of 3 pods"))) == []
    clock.now = 2.0
    assert list(narrator.overdue()) == []
    clock.now = 3.5
    assert [line.text.strip() for line in narrator.overdue()] == ["0 of 3 pods"]
    assert list(narrator.overdue()) == []
    list(narrator.tell(awaited("1 of 3 pods")))
    clock.now = 4.0
    list(narrator.tell(awaited("2 of 3 pods")))
    assert list(narrator.overdue()) == []
    clock.now = 7.0
    assert [line.text.strip() for line in narrator.overdue()] == ["2 of 3 pods"]


def test_what_was_waited_for_is_not_told_once_it_is_there() -> None:
    clock = StoppedClock()
    narrator = Narrator(clock=clock)
    list(narrator.tell(awaited("0 of 3 pods")))
    list(narrator.tell({"t": "2026-11-22T12:00:01.000Z", "event": "phase-finished", "phase": "one"}))
    clock.now = 60.0
    assert list(narrator.overdue()) == []
