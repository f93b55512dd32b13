"""What the templates are given: the summary of each journal with anchors, links and cut texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_cnimigrate.report import fields
from pytest_cnimigrate.report.attachments import Attachment, Attachments
from pytest_cnimigrate.report.journals import JournalFile
from pytest_cnimigrate.report.model import ChangeEntry, Measurement, Outcome, Phase, RunSummary, Step
from pytest_cnimigrate.report.prose import Block, blocks
from pytest_cnimigrate.report.reachability import HeatTable, heat_table
from pytest_cnimigrate.report.summary import summarise
from pytest_cnimigrate.report.timeline import Bar, Timeline, timeline
from pytest_cnimigrate.report.verdict import Verdict, verdict
from pytest_cnimigrate.report.words import compact, middle_cut, shorten
from pytest_cnimigrate.run.journal import Record

_DETAILS_IN_ALL = 1_000_000
"""Characters of failure details on one page; the journal has the rest."""


@dataclass(frozen=True, slots=True)
class StepView:
    """A step with its anchor; `details` is cut to what a page can bear."""

    anchor: str
    step: Step
    details: str
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """A name and its value; `pretty` if the value needs lines of its own."""

    name: str
    value: str
    pretty: bool


@dataclass(frozen=True, slots=True)
class ChangeView:
    """A change with its anchor, and that of its first line in the appendix."""

    anchor: str
    line_anchor: str
    change: ChangeEntry
    parameters: tuple[Term, ...]
    before: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class PhaseView:
    """A phase with everything that is shown in it."""

    anchor: str
    phase: Phase
    runbook: tuple[Block, ...]
    bar: Bar | None
    steps: tuple[StepView, ...]
    """The steps that ran, in order."""
    not_run: tuple[StepView, ...]
    why_not: str
    """Why the steps that did not run did not, if all have the same reason."""
    changes: tuple[ChangeView, ...]
    observations: tuple[Measurement, ...]
    attachments: tuple[Attachment, ...]
    """Evidence of the phase that belongs to no step."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the journal, for the appendix."""

    anchor: str
    """Empty unless something links to it."""
    at: str
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class ScenarioView:
    """One scenario's part of the page."""

    anchor: str
    summary: RunSummary
    verdict: Verdict
    timeline: Timeline
    phases: tuple[PhaseView, ...]
    failures: tuple[StepView, ...]
    stray_changes: tuple[ChangeView, ...]
    attachments: tuple[Attachment, ...]
    """Evidence from outside any phase."""
    circumstances: tuple[Term, ...]
    measurements: tuple[Measurement, ...]
    heat: HeatTable
    log: tuple[LogLine, ...]
    journal: JournalFile
    journal_href: str
    """Relative to the page; empty if there is no file, or not beside the page."""
    files: tuple[Attachment, ...]
    """Every evidence file, once."""

    @property
    def changes(self) -> tuple[ChangeView, ...]:
        """Every change, in the order of the journal."""
        found = [change for phase in self.phases for change in phase.changes]
        return tuple(sorted([*found, *self.stray_changes], key=lambda view: view.change.line))

    def phase_title(self, name: str) -> str:
        """The title of a phase that a measurement names."""
        return next((phase.title for phase in self.summary.phases if phase.name == name), name)


def scenario_view(out: Path, journal: JournalFile, *, anchor: str) -> ScenarioView:
    """Everything the page says of one journal. Anchors start with `anchor`, so that they are unique."""
    return _Builder(out, journal, anchor).build()


class _Builder:
    def __init__(self, out: Path, journal: JournalFile, anchor: str) -> None:
        self._journal = journal
        self._anchor = anchor
        self._summary = summarise(journal.records)
        self._attachments = Attachments(out, journal.path)
        self._details_limit = max(2_000, min(20_000, _DETAILS_IN_ALL // max(1, len(self._summary.failures))))
        self._step_count = 0
        self._files: dict[tuple[str, str], Attachment] = {}

    def build(self) -> ScenarioView:
        summary = self._summary
        times = timeline(summary)
        phases = tuple(self._phase(phase, times) for phase in summary.phases)
        named = {phase.name for phase in summary.phases}
        stray = tuple(self._attach(item) for item in summary.evidence if item.phase not in named)
        return ScenarioView(
            anchor=self._anchor,
            summary=summary,
            verdict=verdict(summary),
            timeline=times,
            phases=phases,
            failures=tuple(
                view for phase in phases for view in phase.steps if view.step.outcome is Outcome.FAILED
            ),
            stray_changes=tuple(self._change(change) for change in summary.stray_changes),
            attachments=stray,
            circumstances=_terms(
                {
                    name: value
                    for name, value in summary.circumstances.items()
                    if value not in ("", None, [], {})
                }
            ),
            measurements=tuple(item for item in summary.measurements if not item.observed),
            heat=heat_table(summary),
            log=self._log(),
            journal=self._journal,
            journal_href=self._attachments.href(self._journal.path) if self._journal.sha256 else "",
            files=tuple(self._files.values()),
        )

    def _phase(self, phase: Phase, times: Timeline) -> PhaseView:
        steps = tuple(self._step(step) for step in phase.steps)
        not_run = tuple(view for view in steps if view.step.outcome is Outcome.NOT_RUN)
        reasons = {view.step.message.removeprefix("not run: ") for view in not_run}
        return PhaseView(
            anchor=f"{self._anchor}-p{phase.number}",
            phase=phase,
            runbook=blocks(phase.text),
            bar=times.bars.get(phase.name),
            steps=tuple(view for view in steps if view.step.outcome is not Outcome.NOT_RUN),
            not_run=not_run,
            why_not=reasons.pop() if len(reasons) == 1 else "",
            changes=tuple(self._change(change) for change in phase.changes),
            observations=tuple(
                item for item in self._summary.measurements if item.observed and item.phase == phase.name
            ),
            attachments=tuple(
                self._attach(item) for item in self._summary.evidence if item.phase == phase.name
            ),
        )

    def _step(self, step: Step) -> StepView:
        self._step_count += 1
        return StepView(
            anchor=f"{self._anchor}-t{self._step_count}",
            step=step,
            details=middle_cut(step.details.strip("\n"), self._details_limit),
            attachments=tuple(self._attach(item) for item in step.evidence),
        )

    def _attach(self, evidence: Any) -> Attachment:
        found = self._attachments.resolve(evidence)
        return self._files.setdefault((found.path, found.name), found)

    def _change(self, change: ChangeEntry) -> ChangeView:
        return ChangeView(
            anchor=f"{self._anchor}-c{change.line}",
            line_anchor=f"{self._anchor}-l{change.line}",
            change=change,
            parameters=_terms(change.parameters),
            before=_terms(change.captured),
        )

    def _log(self) -> tuple[LogLine, ...]:
        linked = {change.line for change in self._summary.changes}
        return tuple(
            LogLine(
                anchor=f"{self._anchor}-l{line}" if line in linked else "",
                at=fields.text(record, "t"),
                event=fields.text(record, "event"),
                text=_log_text(record),
            )
            for line, record in enumerate(self._journal.records, start=1)
        )


_BULKY = {"details", "items", "phases"}
"""Fields that stand elsewhere on the page, or would drown the line."""


def _log_text(record: Record) -> str:
    parts = []
    for key, value in fields.rest(record).items():
        if value in ("", None, [], {}):
            continue
        if key in _BULKY:
            size = f"{len(value):,}" if isinstance(value, Sequence) else ""
            parts.append(f"{key}=({size} {'characters' if isinstance(value, str) else 'entries'})")
        else:
            parts.append(f"{key}={shorten(compact(value), 160)}")
    return "  ".join(parts)


def _terms(values: Mapping[str, Any]) -> tuple[Term, ...]:
    return tuple(_term(str(name), value) for name, value in values.items())


def _term(name: str, value: Any) -> Term:
    text = compact(value)
    if len(text) <= 100 and "\n" not in text:
        return Term(name, text, pretty=False)
    if not isinstance(value, str):
        text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return Term(name, middle_cut(text, 8_000), pretty=True)
