"""How a phase and a run ended, judged from what is on record.

Fails closed: only what has an end on record and ended well is passed. What the journal claims in its last
lines can make the judgement worse, never better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_cnimigrate.report.model import ChangeEntry, Outcome, Phase, RunState, Step

_OUTCOMES: Final = {
    "passed": Outcome.PASSED,
    "failed": Outcome.FAILED,
    "error": Outcome.FAILED,
    "skipped": Outcome.SKIPPED,
    "not-run": Outcome.NOT_RUN,
    "not run": Outcome.NOT_RUN,
    "notrun": Outcome.NOT_RUN,
}
_GRAVITY: Final = (Outcome.NOT_RUN, Outcome.UNFINISHED, Outcome.SKIPPED, Outcome.PASSED, Outcome.FAILED)


def outcome_of(word: str) -> Outcome:
    """The outcome that a `test-finished` event names. A word that nobody knows is not a success."""
    return _OUTCOMES.get(word, Outcome.FAILED)


def overrules(later: Outcome, earlier: Outcome) -> bool:
    """Whether a later end of the same step counts: it does unless it would hide a worse or surer one."""
    return _GRAVITY.index(later) >= _GRAVITY.index(earlier)


def phase_outcome(steps: Sequence[Step], *, begun: bool, claimed: str) -> Outcome:
    """How a phase ended. `claimed` is what `phase-finished` says, empty if there is no such line."""
    found = {step.outcome for step in steps}
    said = _OUTCOMES.get(claimed)
    if Outcome.FAILED in found or said is Outcome.FAILED:
        return Outcome.FAILED
    if Outcome.UNFINISHED in found:
        return Outcome.UNFINISHED
    if not found:
        return (said or Outcome.UNFINISHED) if begun else Outcome.NOT_RUN
    if found == {Outcome.NOT_RUN}:
        # Begun, and killed before its first test: that is not the same as never begun.
        return Outcome.UNFINISHED if begun and not claimed else Outcome.NOT_RUN
    if Outcome.NOT_RUN in found:
        return Outcome.UNFINISHED
    return Outcome.SKIPPED if found == {Outcome.SKIPPED} else Outcome.PASSED


def run_state(
    phases: Sequence[Phase],
    changes: Sequence[ChangeEntry],
    *,
    anything: bool,
    ended: bool,
    claimed: str,
    exit_status: int | None,
    interrupted: bool,
    gate_closed: bool,
    gaps: bool,
) -> RunState:
    """How a run ended.

    `anything` tells whether there is any record, `claimed` the outcome in `run-finished`, `gaps` whether
    lines of the journal cannot be read.
    """
    outcomes = {phase.outcome for phase in phases} | {
        step.outcome for phase in phases for step in phase.steps
    }
    if not ended and not interrupted:
        return RunState.BROKEN_OFF if anything else RunState.EMPTY
    if interrupted or claimed == "interrupted":
        return RunState.INTERRUPTED
    if Outcome.FAILED in outcomes or gate_closed or claimed == "failed":
        return RunState.FAILED
    if not any(phase.steps for phase in phases):
        return RunState.EMPTY
    left_over = outcomes & {Outcome.NOT_RUN, Outcome.UNFINISHED}
    in_doubt = any(change.in_doubt for change in changes)
    # The exit status is the session's; it speaks for this scenario only if the scenario has no word itself.
    told_otherwise = claimed != "passed" if claimed else bool(exit_status)
    return RunState.INCOMPLETE if left_over or in_doubt or gaps or told_otherwise else RunState.PASSED
