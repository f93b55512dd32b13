"""The run on a time axis: one bar a phase, in thousandths of the run's length."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pytest_cnimigrate.report.model import Outcome, Phase, RunSummary
from pytest_cnimigrate.report.words import duration

AXIS = 1000.0
_THINNEST = 4.0
"""A phase of a second in a run of an hour must still be seen."""
_MOST_SEGMENTS = 80
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the axis; `kind` is `action` or `failed`."""

    x: float
    width: float
    kind: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One phase on the axis, None in `timeline` for a phase that did not begin."""

    x: float
    width: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars by phase name, and the axis."""

    bars: dict[str, Bar]
    ticks: tuple[Tick, ...]


def timeline(summary: RunSummary) -> Timeline:
    """Where each phase lies. Empty when the record has no times."""
    origin = min((phase.started for phase in summary.phases if phase.started), default=None)
    if origin is None:
        return Timeline({}, ())
    length = max(_offset(phase.started, origin) + (phase.seconds or 0.0) for phase in summary.phases)
    length = max(length, 0.001)
    bars = {phase.name: _bar(phase, origin, length) for phase in summary.phases if phase.started is not None}
    return Timeline(bars, _ticks(length))


def _offset(moment: datetime | None, origin: datetime) -> float:
    return max(0.0, (moment - origin).total_seconds()) if moment else 0.0


def _bar(phase: Phase, origin: datetime, length: float) -> Bar:
    segments = []
    for step in phase.steps:
        if step.started is None or step.seconds is None:
            continue
        kind = "failed" if step.outcome is Outcome.FAILED else "action" if step.is_action else ""
        if kind:
            x, width = _place(_offset(step.started, origin), step.seconds, length)
            segments.append(Segment(x, width, kind))
    x, width = _place(_offset(phase.started, origin), phase.seconds or 0.0, length)
    # Failures are what somebody looks for: they are drawn last, and kept if there are too many.
    segments.sort(key=lambda segment: segment.kind == "failed")
    return Bar(x, width, tuple(segments[-_MOST_SEGMENTS:]))


def _place(offset: float, seconds: float, length: float) -> tuple[float, float]:
    width = min(AXIS, max(_THINNEST, seconds / length * AXIS))
    x = min(offset / length * AXIS, AXIS - width)
    return round(max(0.0, x), 1), round(width, 1)


def _ticks(length: float) -> tuple[Tick, ...]:
    step = next((step for step in _STEPS if length / step <= 6), _STEPS[-1])
    marks = range(0, int(length) + 1, step)
    return tuple(
        Tick(round(mark / length * AXIS, 1), "0" if mark == 0 else _short(mark))
        for mark in marks
        if mark / length <= 0.96  # a label at the very end would hang over the edge
    )


def _short(seconds: int) -> str:
    if seconds % 3600 == 0:
        return f"{seconds // 3600} h"
    return f"{seconds // 60} min" if seconds % 60 == 0 else duration(seconds).replace(".0", "")
