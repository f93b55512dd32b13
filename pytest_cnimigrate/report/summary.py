"""From a journal's records to a `RunSummary`: what happened, as plain values.

It counts what is on record and nothing else: a step that was collected and has no end is *not run* or
*unfinished*, never passed, whatever the last line claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pytest_cnimigrate.report import fields
from pytest_cnimigrate.report.folding import Folding, PhaseInWork
from pytest_cnimigrate.report.judgement import phase_outcome, run_state
from pytest_cnimigrate.report.model import Evidence, Phase, RunSummary, Step
from pytest_cnimigrate.run.journal import Record

__all__ = ["summarise"]


def summarise(records: Iterable[Record]) -> RunSummary:
    """What the records of one journal say.

    Records are what `read_journal` returns. If the journal holds several runs, the last is summarised.
    Unknown events and malformed fields are passed over: whatever is on record must stay readable.
    """
    read = Folding()
    for line, record in enumerate(records, start=1):
        read.add(line, record)
    return _sum(read)


def _sum(read: Folding) -> RunSummary:
    changes = tuple(read.changes.values())
    phases = _phases(read)
    named = {phase.name for phase in phases}
    head, end = read.head, read.end or {}
    seconds = fields.number(end, "seconds")
    if seconds is None and read.first and read.last:
        seconds = (read.last - read.first).total_seconds()
    status = fields.number(end, "exit_status")
    exit_status = None if status is None else int(status)
    return RunSummary(
        scenario=fields.text(head, "scenario"),
        title=fields.text(head, "title") or fields.text(head, "scenario"),
        run_id=fields.text(head, "run_id"),
        provider=fields.text(head, "provider"),
        cluster=_cluster(head),
        user=fields.text(head, "user"),
        argv=_argv(head),
        versions=_versions(head),
        circumstances=fields.rest(head, *_HEAD_FIELDS),
        state=run_state(
            phases,
            changes,
            anything=read.line > 0,
            ended=read.end is not None,
            claimed=fields.text(end, "outcome"),
            exit_status=exit_status,
            interrupted=bool(read.interrupted_by),
            gate_closed=read.gate is not None,
            gaps=read.unreadable > 0,
        ),
        complete=read.end is not None,
        started=fields.moment(head) or read.first,
        ended=read.last,
        seconds=seconds,
        exit_status=exit_status,
        interrupted_by=read.interrupted_by,
        gate=read.gate,
        phases=phases,
        measurements=tuple(read.measurements),
        matrices=tuple(read.matrices),
        evidence=tuple(item for item in read.evidence if item.nodeid not in read.steps),
        notes=tuple(read.notes),
        stray_changes=tuple(change for change in changes if change.phase not in named),
        earlier_runs=read.earlier_runs,
        unreadable=read.unreadable,
    )


def _phases(read: Folding) -> tuple[Phase, ...]:
    steps: dict[str, list[Step]] = {}
    evidence: dict[str, list[Evidence]] = {}
    for item in read.evidence:
        evidence.setdefault(item.nodeid, []).append(item)
    for step in read.steps.values():
        found = evidence.get(step.nodeid)
        steps.setdefault(step.phase, []).append(replace(step, evidence=tuple(found)) if found else step)
    return tuple(
        _phase(read, number, phase, tuple(steps.get(phase.name, ())))
        for number, phase in enumerate(read.phases.values(), start=1)
    )


def _phase(read: Folding, number: int, phase: PhaseInWork, steps: tuple[Step, ...]) -> Phase:
    seconds = phase.seconds
    if seconds is None and phase.started and phase.last:
        seconds = (phase.last - phase.started).total_seconds()
    return Phase(
        number=number,
        name=phase.name,
        title=phase.title or phase.name.replace("-", " ") or "Outside any phase",
        text=phase.text,
        outcome=phase_outcome(steps, begun=phase.started is not None, claimed=phase.claimed),
        started=phase.started,
        seconds=seconds,
        steps=steps,
        changes=tuple(change for change in read.changes.values() if change.phase == phase.name),
        notes=tuple(phase.notes),
    )


_HEAD_FIELDS = (
    *("scenario", "title", "run_id", "provider", "cluster", "user", "argv"),
    *("versions", "python", "platform", "phases"),
)


def _cluster(head: Record) -> str:
    said = fields.mapping(head, "cluster")
    if not said:
        return fields.text(head, "cluster")
    return ", ".join(str(value) for value in said.values() if value)


def _argv(head: Record) -> tuple[str, ...]:
    argv = head.get("argv")
    if isinstance(argv, list):
        return tuple(str(word) for word in argv)
    return (argv,) if isinstance(argv, str) else ()


def _versions(head: Record) -> Mapping[str, str]:
    versions = {name: str(value) for name, value in fields.mapping(head, "versions").items()}
    for name in ("python", "platform"):
        value = fields.text(head, name)
        if value:
            versions.setdefault(name, value)
    return versions
