"""The last lines of a run: what became of it, where the record is, what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from pytest_cnimigrate.run.directory import RunDirectory
from pytest_cnimigrate.run.journal import read_journal
from pytest_cnimigrate.run.scenario_run import ScenarioRun


class RunSummaryLines:
    """Writes the summary of a run to pytest's terminal."""

    def __init__(self, config: pytest.Config, directory: RunDirectory, runs: Iterable[ScenarioRun]) -> None:
        self._config = config
        self._directory = directory
        self._runs = list(runs)

    def write(self, terminal: pytest.TerminalReporter, problems: Sequence[str]) -> None:
        """One block a scenario, then the files and the commands."""
        quiet = self._config.get_verbosity() < 0
        for run in self._runs:
            good, headline, sentences = _verdict(run)
            terminal.write_sep("=", f"scenario {run.scenario.name}", bold=True)
            terminal.write_line(headline, green=good, red=not good, bold=True)
            if not quiet:
                for sentence in sentences:
                    terminal.write_line(sentence)
        for problem in problems:
            terminal.write_line(f"WARNING: {problem}", red=True)
        if not quiet:
            for word, text in self._pointers():
                terminal.write_line(f"  {word:<8} {text}")

    def _pointers(self) -> Iterable[tuple[str, str]]:
        if self._directory.page.exists():
            yield "page", self._shown(self._directory.page)
        xml = self._config.getoption("xmlpath", None)
        if xml:
            yield "junit", self._shown(Path(str(xml)))
        for run in self._runs:
            yield "journal", self._shown(run.journal.path)
        yield "again", shlex.join(["pytest", *map(str, self._config.invocation_params.args)])

    def _shown(self, path: Path) -> str:
        here = self._config.invocation_params.dir
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _verdict(run: ScenarioRun) -> tuple[bool, str, Sequence[str]]:
    from pytest_cnimigrate.report.summary import summarise
    from pytest_cnimigrate.report.verdict import verdict

    found = verdict(summarise(read_journal(run.journal.path)))
    return found.good, found.headline, found.sentences
