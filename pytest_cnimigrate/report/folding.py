"""Taking in a journal, record by record. The one place that knows the journal's events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from pytest_cnimigrate.report import fields
from pytest_cnimigrate.report.judgement import outcome_of, overrules
from pytest_cnimigrate.report.model import (
    ChangeEntry,
    ChangeState,
    Evidence,
    Gate,
    MatrixReading,
    Measurement,
    Note,
    Outcome,
    PairClass,
    Step,
)
from pytest_cnimigrate.run.journal import UNREADABLE, Record


@dataclass
class PhaseInWork:
    name: str
    title: str = ""
    text: str = ""
    started: datetime | None = None
    seconds: float | None = None
    claimed: str = ""
    """The outcome that `phase-finished` names."""
    last: datetime | None = None
    notes: list[Note] = field(default_factory=list)


class Folding:
    """The state of reading: fed record by record."""

    def __init__(self) -> None:
        self.line = 0
        self.earlier_runs = 0
        self.unreadable = 0
        self._handlers: Mapping[str, Callable[[Record], None]] = {
            "run-started": self._run_started,
            "collected": self._collected,
            "phase-started": self._phase_started,
            "test-started": self._test_started,
            "test-finished": self._test_finished,
            "change-started": self._change,
            "change-held": self._change,
            "change-done": self._change,
            "change-failed": self._change,
            "change-undone": self._change,
            "note": self._note,
            "observation": self._measurement,
            "measurement": self._measurement,
            "matrix": self._matrix,
            "evidence": self._evidence_left,
            "gate-closed": self._gate_closed,
            "interrupted": self._interrupted,
            "phase-finished": self._phase_finished,
            "run-finished": self._run_finished,
            UNREADABLE: self._unreadable_line,
        }
        self._begin_run({})

    def _begin_run(self, head: Record) -> None:
        self.head = head
        self.phases: dict[str, PhaseInWork] = {}
        self.steps: dict[str, Step] = {}
        self.changes: dict[int, ChangeEntry] = {}
        self._latest: dict[str, ChangeEntry] = {}
        self.evidence: list[Evidence] = []
        self.notes: list[Note] = []
        self.measurements: list[Measurement] = []
        self.matrices: list[MatrixReading] = []
        self.gate: Gate | None = None
        self.interrupted_by = ""
        self.end: Record | None = None
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._current_phase = ""
        self._current_test = ""

    def add(self, line: int, record: Record) -> None:
        """Take in one record; `line` is its number in the journal."""
        self.line = line
        event = fields.text(record, "event")
        handler = self._handlers.get(event)
        if handler is not None:
            handler(record)
        at = fields.moment(record)
        if at is not None:
            self.first = self.first or at
            self.last = at
            if self._current_phase:
                self.phases[self._current_phase].last = at

    # --- the run -------------------------------------------------------------------------------------

    def _run_started(self, record: Record) -> None:
        if self.head and fields.text(record, "run_id") != fields.text(self.head, "run_id"):
            self.earlier_runs += 1
            self._begin_run(record)
        elif not self.head:
            self.head = record
        for phase in fields.items(record, "phases"):
            self._phase(fields.text(phase, "name"), phase)

    def _collected(self, record: Record) -> None:
        for item in fields.items(record, "items"):
            self._step(item)

    def _interrupted(self, record: Record) -> None:
        self.interrupted_by = fields.text(record, "signal") or "a signal"

    def _unreadable_line(self, record: Record) -> None:
        self.unreadable += 1

    def _gate_closed(self, record: Record) -> None:
        if self.gate is None:
            phase = fields.text(record, "phase") or self._current_phase
            self.gate = Gate(phase, fields.text(record, "nodeid"), fields.text(record, "reason"))

    def _run_finished(self, record: Record) -> None:
        self.end = record
        self._current_phase = ""

    # --- phases and steps ----------------------------------------------------------------------------

    def _phase(self, name: str, said: Record) -> PhaseInWork:
        phase = self.phases.setdefault(name, PhaseInWork(name))
        phase.title = fields.text(said, "title") or phase.title
        phase.text = fields.text(said, "text") or phase.text
        return phase

    def _phase_started(self, record: Record) -> None:
        self._current_phase = fields.text(record, "phase")
        phase = self._phase(self._current_phase, record)
        phase.started = phase.started or fields.moment(record)

    def _phase_finished(self, record: Record) -> None:
        phase = self._phase(fields.text(record, "phase"), {})
        phase.seconds = fields.number(record, "seconds")
        phase.claimed = fields.text(record, "outcome")
        phase.last = fields.moment(record) or phase.last
        if self._current_phase == phase.name:
            self._current_phase = ""

    def _step(self, record: Record) -> Step:
        nodeid = fields.text(record, "nodeid")
        known = self.steps.get(nodeid)
        if known is None:
            phase = fields.text(record, "phase") or self._current_phase
            self._phase(phase, {})
            title = fields.text(record, "title") or nodeid.rpartition("::")[2].replace("_", " ")
            kind = fields.text(record, "kind") or "check"
            known = self.steps[nodeid] = Step(nodeid, phase, kind, title, Outcome.NOT_RUN)
        return known

    def _test_started(self, record: Record) -> None:
        step = self._step(record)
        self._current_test = step.nodeid
        if step.outcome is Outcome.NOT_RUN:
            step = replace(step, outcome=Outcome.UNFINISHED, started=fields.moment(record))
            self.steps[step.nodeid] = step

    def _test_finished(self, record: Record) -> None:
        step = self._step(record)
        if self._current_test == step.nodeid:
            self._current_test = ""
        outcome = outcome_of(fields.text(record, "outcome"))
        if not overrules(outcome, step.outcome):
            return
        self.steps[step.nodeid] = replace(
            step,
            outcome=outcome,
            seconds=fields.number(record, "seconds"),
            message=fields.text(record, "message"),
            details=fields.text(record, "details"),
            when=fields.text(record, "when"),
        )

    # --- what happens inside a step ------------------------------------------------------------------

    def _change(self, record: Record) -> None:
        identity = fields.text(record, "id") or f"line {self.line}"
        verb = fields.text(record, "event").removeprefix("change-")
        known = self._latest.get(identity)
        if known is not None and known.state is not ChangeState.OPEN and verb != "undone":
            known = None  # That one has ended: this is another change, which was given the same id.
        state = {
            "started": ChangeState.OPEN,
            "held": ChangeState.HELD,
            "done": ChangeState.DONE,
            "undone": ChangeState.UNDONE,
            "failed": ChangeState.FAILED if known else ChangeState.REFUSED,
        }[verb]
        known = known or self._new_change(identity, record)
        seconds = fields.number(record, "seconds")
        change = replace(
            known,
            state=state,
            captured=fields.mapping(record, "captured") or known.captured,
            seconds=known.seconds if seconds is None else seconds,
            error=fields.text(record, "error") or known.error,
        )
        self._latest[identity] = self.changes[change.line] = change

    def _new_change(self, identity: str, record: Record) -> ChangeEntry:
        nodeid = fields.text(record, "nodeid") or self._current_test
        return ChangeEntry(
            id=identity,
            kind=fields.text(record, "change"),
            description=fields.text(record, "description") or fields.text(record, "change"),
            parameters=fields.mapping(record, "parameters"),
            captured={},
            state=ChangeState.OPEN,
            seconds=None,
            error="",
            phase=self._phase_of(record, nodeid),
            nodeid=nodeid,
            line=self.line,
        )

    def _phase_of(self, record: Record, nodeid: str) -> str:
        said = fields.text(record, "phase")
        if not said and nodeid in self.steps:
            said = self.steps[nodeid].phase
        said = said or self._current_phase
        if said:
            self._phase(said, {})
        return said

    def _note(self, record: Record) -> None:
        note = Note(fields.moment(record), fields.text(record, "text"))
        name = self._phase_of(record, self._current_test)
        (self.phases[name].notes if name else self.notes).append(note)

    def _measurement(self, record: Record) -> None:
        self.measurements.append(
            Measurement(
                name=fields.text(record, "name"),
                value=record.get("value"),
                unit=fields.text(record, "unit"),
                phase=self._phase_of(record, fields.text(record, "nodeid") or self._current_test),
                observed=record.get("event") == "observation",
                more=fields.rest(record, "name", "value", "unit", "phase", "nodeid"),
            )
        )

    def _matrix(self, record: Record) -> None:
        classes = fields.mapping(record, "classes")
        readings = {
            name.replace("->", "→"): _pair_class(value)
            for name, value in classes.items()
            if isinstance(value, dict)
        }
        total = _pair_class(record)
        if "unknown" not in record:
            total = replace(total, unknown=sum(reading.unknown for reading in readings.values()))
        self.matrices.append(
            MatrixReading(
                at=fields.moment(record),
                phase=self._phase_of(record, self._current_test),
                pods=fields.integer(record, "pods"),
                total=total,
                classes=readings,
            )
        )

    def _evidence_left(self, record: Record) -> None:
        nodeid = fields.text(record, "nodeid") or self._current_test
        self.evidence.append(
            Evidence(
                name=fields.text(record, "name") or fields.text(record, "path"),
                path=fields.text(record, "path"),
                sha256=fields.text(record, "sha256"),
                phase=self._phase_of(record, nodeid),
                nodeid=nodeid,
            )
        )


def _pair_class(record: Record) -> PairClass:
    pairs, ok = fields.integer(record, "pairs"), fields.integer(record, "ok")
    return PairClass(pairs, ok, fields.integer(record, "unknown"))
