"""The verdict on a run, in sentences: for the top of the page and the end of the terminal's output."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_cnimigrate.report.model import Outcome, Phase, RunState, RunSummary, Step
from pytest_cnimigrate.report.words import clock, count, duration, listing, number, shorten

SIMULATOR = "sim"
"""The provider that is a rehearsal stage and not a cluster."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run."""

    state: RunState
    headline: str
    """One sentence that stands by itself."""
    sentences: tuple[str, ...]
    """What else somebody must know at once, most urgent first."""

    @property
    def good(self) -> bool:
        return self.state is RunState.PASSED

    def __str__(self) -> str:
        return " ".join((self.headline, *self.sentences))


def verdict(summary: RunSummary) -> Verdict:
    """What became of the run that the summary tells of."""
    if summary.state is RunState.PASSED:
        return Verdict(summary.state, f"{_undertaking(summary)} went through.", _sums(summary))
    sentences = [
        *_never_begun(summary),
        *_failures(summary),
        *_changes_in_doubt(summary),
        *_without_end(summary),
        *_gaps(summary),
        *_not_run(summary),
        *_changes_in_place(summary),
    ]
    return Verdict(summary.state, _headline(summary), tuple(sentences))


def _undertaking(summary: RunSummary) -> str:
    return "The rehearsal" if summary.provider == SIMULATOR else "The migration"


def _headline(summary: RunSummary) -> str:
    where = _place(summary, summary.stopped_in)
    match summary.state:
        case RunState.FAILED:
            return f"Stopped {where}."
        case RunState.INTERRUPTED:
            by = f" by {summary.interrupted_by}" if summary.interrupted_by else ""
            return f"Interrupted{by} {where}."
        case RunState.BROKEN_OFF:
            return f"The record breaks off {where}: the run was killed, or is still going."
        case RunState.INCOMPLETE if _went_through_as_picked(summary):
            picked = sum(bool(phase.steps) for phase in summary.phases)
            return f"What was picked went through: {count(picked, 'phase')} of {len(summary.phases)}."
        case RunState.INCOMPLETE if _begun(summary):
            return "Not complete: nothing failed, but there is not a good end of everything on record."
        case _:
            return "Nothing was run." if summary.complete else "There is no record of a run."


def _went_through_as_picked(summary: RunSummary) -> bool:
    """Whether all that is missing is phases that were never asked for, as with `pytest -k preflight`."""
    return (
        not summary.exit_status
        and not summary.unreadable
        and not any(change.in_doubt for change in summary.changes)
        and any(phase.steps for phase in summary.phases)
        and all(
            phase.outcome in ((Outcome.PASSED, Outcome.SKIPPED) if phase.steps else (Outcome.NOT_RUN,))
            for phase in summary.phases
        )
    )


def _never_begun(summary: RunSummary) -> list[str]:
    """Why nothing was run: a run that is refused leaves a note and nothing else."""
    return [] if _begun(summary) or not summary.notes else [_sentence(summary.notes[-1].text)]


def _place(summary: RunSummary, phase: Phase | None) -> str:
    if phase is None:
        return "before the first phase" if not _begun(summary) else "between two phases"
    return f"in phase {phase.number} of {len(summary.phases)}, “{phase.title}”"


def _begun(summary: RunSummary) -> bool:
    return any(phase.outcome is not Outcome.NOT_RUN for phase in summary.phases)


def _sums(summary: RunSummary) -> tuple[str, ...]:
    checks = sum(step.outcome is Outcome.PASSED for step in summary.checks)
    parts = [
        count(len(summary.phases), "phase"),
        f"{count(checks, 'check')} passed",
        count(sum(change.in_place for change in summary.changes), "change"),
    ]
    lost = summary.pair_seconds_lost
    if lost is not None:
        parts.append(f"{number(lost)} pair-seconds of reachability lost")
    parts.append(f"in {duration(summary.seconds)}")
    sentences = [f"{', '.join(parts)}."]
    skipped = summary.count(Outcome.SKIPPED)
    if skipped:
        noun = "step" if any(s.is_action for s in summary.steps if s.outcome is Outcome.SKIPPED) else "check"
        sentences.append(f"{count(skipped, noun)} {_were(skipped)} skipped.")
    return tuple(sentences)


def _failures(summary: RunSummary) -> list[str]:
    failures = summary.failures
    if not failures:
        gate = summary.gate
        return [_sentence(gate.reason)] if gate and gate.reason else []
    first = failures[0]
    told = [
        f"{_what(first)} failed{_during(first)}: {_sentence(shorten(first.message, 300) or 'no message')}"
    ]
    if len(failures) > 1:
        titles = [f"“{step.title}”" for step in failures[1:]]
        told.append(f"{len(failures) - 1} more failed: {listing(titles, most=3)}.")
    return told


def _what(step: Step) -> str:
    return f"The {'action' if step.is_action else 'check'} “{step.title}”"


def _during(step: Step) -> str:
    return f" in its {step.when}" if step.when in ("setup", "teardown") else ""


def _without_end(summary: RunSummary) -> list[str]:
    told = [
        f"{_what(step)} began{_at(step)} and has no end on record."
        for step in summary.steps
        if step.outcome is Outcome.UNFINISHED
    ]
    if not summary.complete and summary.ended:
        told.append(f"The last line on record is from {clock(summary.ended)} UTC.")
    return told


def _gaps(summary: RunSummary) -> list[str]:
    if not summary.unreadable:
        return []
    return [f"{count(summary.unreadable, 'line')} in the middle of the journal cannot be read."]


def _at(step: Step) -> str:
    return f" at {clock(step.started)} UTC" if step.started else ""


def _not_run(summary: RunSummary) -> list[str]:
    left = summary.count(Outcome.NOT_RUN)
    phases = [phase for phase in summary.phases if phase.outcome is Outcome.NOT_RUN]
    told = [f"{count(left, 'step')} {_were(left)} not run"] if left else []
    if phases:
        told.append(f"{count(len(phases), 'phase')} {_were(len(phases))} not begun")
    return [f"{'; '.join(told)}."] if told else []


def _changes_in_doubt(summary: RunSummary) -> list[str]:
    doubtful = [change for change in summary.changes if change.in_doubt]
    if not doubtful:
        return []
    named = listing([f"“{change.description}” (change {change.id})" for change in doubtful], most=3)
    began = "began and did not come to a good end"
    return [f"Look here first: {named} {began}, so what it touches may be half way."]


def _changes_in_place(summary: RunSummary) -> list[str]:
    made = sum(change.in_place for change in summary.changes)
    undone = sum(change.state.value == "undone" for change in summary.changes)
    if not made and not undone:
        return ["No change has been made."] if not any(c.in_doubt for c in summary.changes) else []
    told = [f"{count(made, 'change')} {_were(made)} made and {'is' if made == 1 else 'are'} in place."]
    if undone:
        told.append(f"{count(undone, 'change')} {_were(undone)} undone.")
    return told


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
