"""What a journal tells, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How a step or a phase ended. The values are the words that people read."""

    FAILED = "failed"
    UNFINISHED = "unfinished"
    """It began, and the record has no end of it."""
    PASSED = "passed"
    SKIPPED = "skipped"
    NOT_RUN = "not run"


class RunState(StrEnum):
    """How a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BROKEN_OFF = "broken off"
    """The journal has no end: the run was killed, or is still going."""
    INCOMPLETE = "incomplete"
    """It ended by itself and nothing failed, yet not everything was run."""
    EMPTY = "empty"
    """Not one step is on record."""


class ChangeState(StrEnum):
    """What became of a change."""

    DONE = "changed"
    HELD = "kept"
    """It was already so; nothing was done."""
    REFUSED = "refused"
    """It failed before it began: nothing was touched."""
    FAILED = "failed"
    """It began and failed: the object may be half way."""
    OPEN = "unfinished"
    """It began, and the record has no end of it."""
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class ChangeEntry:
    """One change, with what was there before it."""

    id: str
    kind: str
    description: str
    parameters: Mapping[str, Any]
    captured: Mapping[str, Any]
    state: ChangeState
    seconds: float | None
    error: str
    phase: str
    nodeid: str
    line: int
    """The journal line (from 1) that first tells of it."""

    @property
    def in_place(self) -> bool:
        """Whether this run made it and it has not been undone."""
        return self.state is ChangeState.DONE

    @property
    def in_doubt(self) -> bool:
        """Whether nobody can say from the record how its object was left."""
        return self.state in (ChangeState.OPEN, ChangeState.FAILED)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file that a step left behind; `path` as the journal has it."""

    name: str
    path: str
    sha256: str
    phase: str
    nodeid: str


@dataclass(frozen=True, slots=True)
class Step:
    """One action or check of the scenario: one test."""

    nodeid: str
    phase: str
    kind: str
    title: str
    outcome: Outcome
    started: datetime | None = None
    seconds: float | None = None
    message: str = ""
    details: str = ""
    when: str = ""
    evidence: tuple[Evidence, ...] = ()

    @property
    def is_action(self) -> bool:
        return self.kind == "action"


@dataclass(frozen=True, slots=True)
class Note:
    """A line that the operator saw while it happened."""

    at: datetime | None
    text: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number that was measured, or an observation that was made on the way (`observed`)."""

    name: str
    value: Any
    unit: str
    phase: str
    observed: bool
    more: Mapping[str, Any]
    """Whatever else the event says, e.g. `class`."""


@dataclass(frozen=True, slots=True)
class PairClass:
    """Ordered pairs of pods from one side to another. A pair is ok, failed or unknown."""

    pairs: int
    ok: int
    unknown: int

    @property
    def failed(self) -> int:
        return max(0, self.pairs - self.ok - self.unknown)


@dataclass(frozen=True, slots=True)
class MatrixReading:
    """Who reached whom, at one moment."""

    at: datetime | None
    phase: str
    pods: int
    total: PairClass
    classes: Mapping[str, PairClass]


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: its runbook entry and what happened in it."""

    number: int
    name: str
    title: str
    text: str
    outcome: Outcome
    started: datetime | None
    seconds: float | None
    steps: tuple[Step, ...]
    changes: tuple[ChangeEntry, ...]
    notes: tuple[Note, ...]

    def count(self, outcome: Outcome) -> int:
        """How many of its steps ended so."""
        return sum(step.outcome is outcome for step in self.steps)

    @property
    def checks(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if not step.is_action)

    @property
    def changed(self) -> int:
        """How many changes were made in it."""
        return sum(change.in_place for change in self.changes)


@dataclass(frozen=True, slots=True)
class Gate:
    """Why a scenario did not go on."""

    phase: str
    nodeid: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """All that one journal says of one run of one scenario."""

    scenario: str
    title: str
    run_id: str
    provider: str
    cluster: str
    user: str
    argv: tuple[str, ...]
    versions: Mapping[str, str]
    circumstances: Mapping[str, Any]
    """What else the first line says, e.g. the host, the folder, settings that were overridden."""
    state: RunState
    complete: bool
    """Whether the record has its last line."""
    started: datetime | None
    ended: datetime | None
    """The time of the last line on record."""
    seconds: float | None
    exit_status: int | None
    interrupted_by: str
    gate: Gate | None
    phases: tuple[Phase, ...]
    measurements: tuple[Measurement, ...] = ()
    matrices: tuple[MatrixReading, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    """Evidence that belongs to no step on record."""
    notes: tuple[Note, ...] = ()
    """Notes from before the first phase."""
    stray_changes: tuple[ChangeEntry, ...] = ()
    """Changes from outside any phase."""
    earlier_runs: int = 0
    """Runs that the same journal holds before this one."""
    unreadable: int = 0
    """Lines in the middle of the journal that cannot be read: nobody knows what they said."""

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for phase in self.phases for step in phase.steps)

    @property
    def checks(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if not step.is_action)

    @property
    def failures(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.outcome is Outcome.FAILED)

    @property
    def changes(self) -> tuple[ChangeEntry, ...]:
        """Every change, in the order of the journal."""
        found = [change for phase in self.phases for change in phase.changes]
        return tuple(sorted([*found, *self.stray_changes], key=lambda change: change.line))

    def count(self, outcome: Outcome) -> int:
        """How many steps ended so."""
        return sum(phase.count(outcome) for phase in self.phases)

    @property
    def stopped_in(self) -> Phase | None:
        """The phase that a run which did not go through stopped in; None if it stopped before any."""
        if self.gate is not None:
            for phase in self.phases:
                if phase.name == self.gate.phase:
                    return phase
        for outcomes in ((Outcome.FAILED,), (Outcome.UNFINISHED,)):
            for phase in self.phases:
                if phase.outcome in outcomes:
                    return phase
        return None

    @property
    def pair_seconds_lost(self) -> float | None:
        """Seconds that ordered pairs of pods could not reach each other, summed; None if not measured.

        These are the measurements in the unit `pair-seconds`. Those without a `class` are totals and win
        over the breakdown by class, so that nothing is counted twice.
        """
        lost = [m for m in self.measurements if m.unit == "pair-seconds" and isinstance(m.value, int | float)]
        totals = [m for m in lost if "class" not in m.more] or lost
        return float(sum(m.value for m in totals)) if totals else None
