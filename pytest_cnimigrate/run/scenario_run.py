"""One scenario in one run: what fixtures and reports need to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_cnimigrate.run.directory import RunDirectory
from pytest_cnimigrate.run.journal import Journal, read_journal
from pytest_cnimigrate.run.options import RunOptions

if TYPE_CHECKING:  # pydantic and yaml: only once a scenario is there to be read
    from pytest_cnimigrate.run.scenario import Scenario

# An action or check that failed, and whatever else leaves a cluster that somebody may want to look at.
_SIGNS_OF_FAILURE = ("gate-closed", "change-failed", "interrupted")


@dataclass(frozen=True, slots=True)
class ScenarioRun:
    """A scenario, where it runs, and where it leaves its record."""

    scenario: Scenario
    options: RunOptions
    run_id: str
    directory: RunDirectory
    folder: Path
    """`<out>/<scenario name>`."""
    journal: Journal

    @property
    def evidence(self) -> Path:
        """The folder for files that checks leave as evidence."""
        return self.folder / "evidence"

    @property
    def saved(self) -> Path:
        """The folder for what is taken out of the cluster and put back later."""
        return self.folder / "saved"

    def has_failed(self) -> bool:
        """Whether anything has gone wrong so far, by the journal: what `--cni-keep on-failure` asks."""
        return any(
            record["event"] in _SIGNS_OF_FAILURE or record.get("outcome") == "failed"
            for record in read_journal(self.journal.path)
        )


SCENARIO_RUNS = pytest.StashKey[dict[str, ScenarioRun]]()
"""In `config.stash`: the scenarios of this run by name. Absent when no scenario is active."""
