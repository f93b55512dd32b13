"""Writing the course of a scenario into its journal, from the process that carries it out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pytest_cnimigrate.plugin.attempt import Attempt
from pytest_cnimigrate.plugin.catalog import ActiveScenario, Step
from pytest_cnimigrate.plugin.gate import Gate, Stop
from pytest_cnimigrate.plugin.phase_texts import phase_text
from pytest_cnimigrate.run.journal import Record, read_journal
from pytest_cnimigrate.run.scenario_run import ScenarioRun


class Chronicle:
    """One scenario in the process that carries it out: its gate, and the journal's lines about its steps."""

    def __init__(self, active: ActiveScenario, run: ScenarioRun, steps: Sequence[tuple[Step, Any]]) -> None:
        self.active = active
        self.run = run
        self.gate = Gate()
        self._steps = steps
        self._last_of_phase = {step.phase: step.nodeid for step, _ in steps}
        self._outcomes: dict[str, list[str]] = {}
        self._begun: dict[str, float] = {}
        self._entered = False

    @property
    def last(self) -> str:
        """The node id of the scenario's last step."""
        return self._steps[-1][0].nodeid

    def announce(self) -> None:
        """Write down what was collected, unless another process has done so."""
        records = read_journal(self.run.journal.path)
        if any(record["event"] == "collected" for record in records):
            return
        self.run.journal.append(
            "collected",
            sync=True,
            items=[
                {
                    "nodeid": step.nodeid,
                    "phase": step.phase,
                    "kind": step.kind,
                    "title": step.title,
                    "location": location,
                }
                for step, location in self._steps
            ],
        )

    def enter(self, me: Mapping[str, Any]) -> None:
        """Take the scenario over, before its first step; close its gate if it belongs to somebody else.

        A worker that takes the place of a dead one is given the rest of its scenario. Whatever the other had
        in hand may be half done, and its cluster must not be made anew, so nothing more is run.
        """
        if self._entered:
            return
        self._entered = True
        records = read_journal(self.run.journal.path)
        owners = [record for record in records if record["event"] == "owner"]
        if owners:
            self.gate.close(_taken_over(owners[-1], records, self.run))
            for record in records:
                if record["event"] == "test-finished":
                    self._outcomes.setdefault(record["phase"], []).append(record["outcome"])
            return
        self.announce()
        self.run.journal.append("owner", **me)

    def start(self, attempt: Attempt) -> None:
        """Write that a step begins (and its phase, if it is the first)."""
        step = attempt.step
        if step.phase not in self._begun:
            self._begun[step.phase] = attempt.begun
            title, text = phase_text(self.active.modules[step.phase], step.phase)
            self.run.journal.append("phase-started", phase=step.phase, title=title, text=text)
        self.run.journal.append("test-started", **who(step))

    def fail(self, attempt: Attempt) -> None:
        """A step failed: close the gate."""
        stop = self.gate.failed(attempt.step, at_once=attempt.without_base)
        if stop is not None:
            reason = f"{stop.reason}: {attempt.message}" if attempt.message else stop.reason
            self.run.journal.append("gate-closed", phase=stop.phase, nodeid=stop.nodeid, reason=reason)

    def finish(self, attempt: Attempt) -> None:
        """Write how a step ended."""
        step = attempt.step
        self._outcomes.setdefault(step.phase, []).append(attempt.outcome)
        self.run.journal.append(
            "test-finished",
            **who(step),
            outcome=attempt.outcome,
            seconds=attempt.seconds,
            message=attempt.message,
            details=attempt.details,
            when=attempt.when,
        )

    def finish_phase(self, step: Step, config: pytest.Config) -> None:
        """Write the end of a phase if this was its last step, and tell other plugins."""
        phase = step.phase
        if self._last_of_phase[phase] != step.nodeid:
            return
        outcome = phase_outcome(self._outcomes.get(phase, []))
        seconds = 0.0
        if phase in self._begun:
            seconds = round(time.monotonic() - self._begun[phase], 3)
        self.run.journal.append("phase-finished", phase=phase, outcome=outcome, seconds=seconds)
        try:
            config.hook.pytest_cnimigrate_phase_finished(run=self.run, phase=phase, outcome=outcome)
        except Exception as error:  # An extension's mistake must not leave a migration half way.
            self.run.journal.append("note", text=f"an extension failed after phase {phase}: {error!r}")


def phase_outcome(outcomes: Sequence[str]) -> str:
    """What the outcomes of a phase's steps add up to: the worst of them."""
    for outcome in ("failed", "not-run", "passed"):
        if outcome in outcomes:
            return outcome
    return "skipped"


def open_step(records: Sequence[Record]) -> Record | None:
    """The `test-started` of a step that has no end on record, or None."""
    begun: dict[str, Record] = {}
    for record in records:
        if record["event"] == "test-started":
            begun[record["nodeid"]] = record
        elif record["event"] == "test-finished":
            begun.pop(record["nodeid"], None)
    return next(iter(begun.values()), None)


def who(step: Step) -> dict[str, Any]:
    """A step, as journal lines name it."""
    return {"nodeid": step.nodeid, "phase": step.phase, "kind": step.kind, "title": step.title}


def _taken_over(owner: Record, records: Sequence[Record], run: ScenarioRun) -> Stop:
    began = open_step(records)
    closed = next((record for record in records if record["event"] == "gate-closed"), None)
    latest = began or closed or next((r for r in reversed(records) if r["event"] == "test-finished"), owner)
    during = f'during "{began["title"]}"' if began else "before the scenario was through"
    reason = f"worker {owner['worker']} died {during}"
    return Stop(
        phase=latest.get("phase", run.scenario.phases[0]),
        nodeid=latest.get("nodeid", ""),
        reason=closed["reason"] if closed and not began else reason,
        for_good=True,
    )
