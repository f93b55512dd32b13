"""Who reached whom, phase by phase: the small table of classes of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_cnimigrate.report.model import MatrixReading, PairClass, RunSummary
from pytest_cnimigrate.report.words import number

_USUAL_CLASSES = ("old→old", "old→new", "new→old", "new→new")


@dataclass(frozen=True, slots=True)
class Cell:
    """One class of pairs at the end of one phase."""

    level: str
    """`all`, `most`, `few`, `unknown` or `none` (no such pairs): the shade."""
    text: str
    words: str
    """The same for those who do not see the shade."""
    lowest: str = ""
    """The worst reading earlier in the phase, if it was worse than the last."""


@dataclass(frozen=True, slots=True)
class Row:
    """The readings of one phase; cells in the order of the table's classes, then all pairs."""

    phase: str
    readings: int
    pods: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class HeatTable:
    """Classes across, phases down."""

    classes: tuple[str, ...]
    rows: tuple[Row, ...]


def heat_table(summary: RunSummary) -> HeatTable:
    """The last reading of every phase that has one, and whether an earlier one in it was worse."""
    classes = list(_USUAL_CLASSES)
    by_phase: dict[str, list[MatrixReading]] = {}
    for reading in summary.matrices:
        by_phase.setdefault(reading.phase, []).append(reading)
        classes.extend(name for name in reading.classes if name not in classes)
    order = [phase.name for phase in summary.phases if phase.name in by_phase]
    order += [name for name in by_phase if name not in order]
    return HeatTable(tuple(classes), tuple(_row(name, by_phase[name], classes) for name in order))


def _row(phase: str, readings: list[MatrixReading], classes: list[str]) -> Row:
    columns = [[reading.classes.get(name) for reading in readings] for name in classes]
    cells = [_cell(column) for column in columns]
    cells.append(_cell([reading.total for reading in readings]))
    return Row(phase, len(readings), readings[-1].pods, tuple(cells))


def _cell(readings: list[PairClass | None]) -> Cell:
    last = readings[-1]
    if last is None or last.pairs == 0:
        return Cell("none", "—", "no such pairs")
    worst = min((reading for reading in readings if reading and reading.pairs), key=_share)
    lowest = f"{number(worst.ok)}/{number(worst.pairs)}" if _share(worst) < _share(last) else ""
    text = f"{number(last.ok)}/{number(last.pairs)}"
    told = f"{number(last.ok)} of {number(last.pairs)} pairs reach each other"
    if last.failed:
        told += f", {number(last.failed)} do not"
    if last.unknown:
        told += f", {number(last.unknown)} unknown"
    return Cell(_level(last), text, told, lowest)


def _share(reading: PairClass) -> float:
    return reading.ok / reading.pairs


def _level(reading: PairClass) -> str:
    if reading.ok >= reading.pairs:
        return "all"
    if not reading.failed:
        return "unknown"
    return "most" if _share(reading) >= 0.9 else "few"
