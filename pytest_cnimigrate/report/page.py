"""Drawing the page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pytest_cnimigrate.report import words
from pytest_cnimigrate.report.journals import open_journal
from pytest_cnimigrate.report.model import ChangeState, Outcome, RunState
from pytest_cnimigrate.report.verdict import SIMULATOR
from pytest_cnimigrate.report.view import ScenarioView, scenario_view

PAGE = "index.html"

# Colour is never the only carrier: each state has its sign and is spelled out beside it.
_SIGNS = {
    Outcome.PASSED: "✓",
    Outcome.FAILED: "✗",
    Outcome.UNFINISHED: "◐",
    Outcome.SKIPPED: "»",
    Outcome.NOT_RUN: "○",
    ChangeState.DONE: "●",
    ChangeState.HELD: "=",
    ChangeState.REFUSED: "✗",
    ChangeState.FAILED: "✗",
    ChangeState.OPEN: "◐",
    ChangeState.UNDONE: "↶",
    RunState.PASSED: "✓",
    RunState.FAILED: "✗",
    RunState.INTERRUPTED: "◐",
    RunState.BROKEN_OFF: "◐",
    RunState.INCOMPLETE: "◐",
    RunState.EMPTY: "○",
}

_PROVIDERS = {
    SIMULATOR: "embedded cluster (simulated)",
    "kind": "kind, a cluster on this machine",
    "eks": "Amazon EKS",
    "context": "existing cluster, by kubeconfig context",
}


def draw(out: Path, journals: Sequence[Path]) -> Path:
    """Draw `out/index.html`; see `write_report`."""
    scenarios = [
        scenario_view(out, open_journal(path), anchor=f"s{number}")
        for number, path in enumerate(journals, start=1)
    ]
    html = (
        _environment().get_template("page.html.j2").render(scenarios=scenarios, heading=_heading(scenarios))
    )
    return _write(out / PAGE, html)


def _heading(scenarios: Sequence[ScenarioView]) -> str:
    if len(scenarios) == 1:
        return scenarios[0].summary.title or "CNI migration"
    good = sum(view.verdict.good for view in scenarios)
    told = words.count(len(scenarios), "scenario")
    if not scenarios:
        return "No journal"
    return f"{told}: all went through" if good == len(scenarios) else f"{told}: {good} went through"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pytest_cnimigrate.report"),
        autoescape=True,  # everything that comes from a journal is text, never markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": words.clock,
        "command": shlex.join,
        "day": words.day,
        "duration": words.duration,
        "number": words.number,
        "compact": words.compact,
        "token": lambda state: state.name.lower().replace("_", "-"),
        "sign": _SIGNS.__getitem__,
        "provider": lambda name: _PROVIDERS.get(name, name),
    }
    environment.globals |= {"count": words.count, "SIMULATOR": SIMULATOR}
    return environment


def _write(path: Path, text: str) -> Path:
    """Replace the page in one step: whoever has the old one open never sees half a page."""
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path
