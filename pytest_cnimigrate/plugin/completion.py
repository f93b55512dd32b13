"""Closing the record: every collected step ends up with an outcome, in JUnit and in the journal.

A run can end with steps that nobody reported: it was interrupted, a worker died for good, or the report of
a finished step was still on its way. Here each of them gets what the journal knows of it, else "not run".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import pytest

from pytest_cnimigrate.plugin.attempt import NOT_RUN_AFTER
from pytest_cnimigrate.plugin.catalog import Step
from pytest_cnimigrate.plugin.chronicle import who
from pytest_cnimigrate.run.journal import Record, read_journal
from pytest_cnimigrate.run.scenario_run import ScenarioRun


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a step that has not been reported."""

    step: Step
    location: tuple[str, int | None, str]
    outcome: str
    """`passed`, `failed`, `skipped` or `not-run`."""
    message: str
    after: str = ""
    """For `not-run`: the node id that the scenario stopped in."""
    known: bool = False
    """Whether the journal has it already."""

    def reports(self) -> Iterator[pytest.TestReport]:
        """The reports that pytest would have made."""
        path, line, _ = self.location
        if self.outcome == "passed":
            yield self._report("call", "passed", None)
        elif self.outcome == "failed":
            yield self._report("call", "failed", self.message)
        else:
            yield self._report("setup", "skipped", (path, (line or 0) + 1, self.message))
        yield self._report("teardown", "passed", None)

    def _report(
        self,
        when: Literal["setup", "call", "teardown"],
        outcome: Literal["passed", "failed", "skipped"],
        longrepr: Any,
    ) -> pytest.TestReport:
        return pytest.TestReport(
            nodeid=self.step.nodeid,
            location=self.location,
            keywords={},
            outcome=outcome,
            longrepr=longrepr,
            when=when,
            user_properties=self._properties(),
        )

    def _properties(self) -> list[tuple[str, object]]:
        return step_properties(self.step, after=self.after if self.outcome == "not-run" else None)


def step_properties(step: Step, *, after: str | None) -> list[tuple[str, object]]:
    """The JUnit properties of a step; `after` is where the scenario stopped if the step was not run."""
    properties: list[tuple[str, object]] = [
        ("scenario", step.scenario),
        ("phase", step.phase),
        ("kind", step.kind),
        ("title", step.title),
    ]
    if after is not None:
        properties.append((NOT_RUN_AFTER, after))
    return properties


def collected_steps(run: ScenarioRun) -> dict[str, tuple[Step, tuple[str, int | None, str]]]:
    """The steps that the journal says were collected, by node id, each with its location."""
    found = {}
    for record in read_journal(run.journal.path):
        if record["event"] == "collected":
            for item in record["items"]:
                path, line, domain = item["location"]
                step = Step(
                    nodeid=item["nodeid"],
                    scenario=run.scenario.name,
                    phase=item["phase"],
                    kind=item["kind"],
                    always=False,
                    title=item["title"],
                )
                found[step.nodeid] = (step, (path, line, domain))
    return found


def endings(run: ScenarioRun, reported: set[str], *, why: str) -> list[Ending]:
    """What became of the collected steps that are not in `reported`.

    `why` says how the run ended, for steps of which the journal knows no more than that they are missing.
    """
    records = read_journal(run.journal.path)
    finished = {record["nodeid"]: record for record in records if record["event"] == "test-finished"}
    started = {record["nodeid"]: record for record in records if record["event"] == "test-started"}
    closed = next((record for record in records if record["event"] == "gate-closed"), None)
    steps = collected_steps(run)
    running = next((nodeid for nodeid in steps if nodeid in started and nodeid not in finished), None)
    ran = [nodeid for nodeid in steps if nodeid in finished and finished[nodeid]["outcome"] != "not-run"]
    after = str(closed["nodeid"]) if closed else running or (ran[-1] if ran else "the start")
    reason = f"not run: {closed['reason']}" if closed else f"not run: {why}"
    found = []
    for nodeid, (step, location) in steps.items():
        if nodeid in reported:
            continue
        if nodeid in finished:
            found.append(_on_record(step, location, finished[nodeid], after))
        elif nodeid in started:
            message = f"{why} during this step; the cluster may be half way, see {run.journal.path}"
            found.append(Ending(step, location, "failed", message))
        else:
            found.append(Ending(step, location, "not-run", reason, after=after))
    return found


def write_endings(run: ScenarioRun, found: list[Ending]) -> None:
    """Put the endings that the journal does not have yet into it. Raises `JournalError`."""
    for ending in found:
        if not ending.known:
            run.journal.append(
                "test-finished",
                sync=False,  # There may be thousands; the line that ends the run is waited for.
                **who(ending.step),
                outcome=ending.outcome,
                seconds=0.0,
                message=ending.message,
                details="",
                when="interrupt" if ending.outcome == "failed" else "setup",
            )


def note_interruption(run: ScenarioRun, by: str) -> None:
    """Write that a scenario was interrupted, once, and not if it was through. Raises `JournalError`.

    Both the controller and the worker may come to say so.
    """
    records = read_journal(run.journal.path)
    finished = {record["nodeid"] for record in records if record["event"] == "test-finished"}
    told = any(record["event"] == "interrupted" for record in records)
    if not told and not (finished and finished >= set(collected_steps(run))):
        run.journal.append("interrupted", signal=by)


def outcome_of(run: ScenarioRun, *, refused: bool) -> str:
    """How the scenario ended: `passed`, `failed`, `interrupted`, `refused`, `skipped` or `not-run`."""
    if refused:
        return "refused"
    records = read_journal(run.journal.path)
    if any(record["event"] == "interrupted" for record in records):
        return "interrupted"
    outcomes = {record["outcome"] for record in records if record["event"] == "test-finished"}
    for outcome in ("failed", "not-run", "passed"):
        if outcome in outcomes:
            return outcome
    return "skipped" if outcomes else "not-run"


def _on_record(step: Step, location: tuple[str, int | None, str], record: Record, after: str) -> Ending:
    outcome = cast("str", record["outcome"])
    message = record.get("details") or record.get("message", "")
    return Ending(step, location, outcome, message, after=after, known=True)
