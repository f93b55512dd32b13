"""Hooks that other plugins and conftest files can implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_cnimigrate.run.scenario_run import ScenarioRun


@pytest.hookspec
def pytest_cnimigrate_phase_finished(run: ScenarioRun, phase: str, outcome: str) -> None:
    """A phase is over.

    Called in the process that ran it: a worker under pytest-xdist. `outcome` is `passed`, `failed`,
    `skipped` or `not-run`. An exception raised here is noted in the journal and does not stop the run.
    """


@pytest.hookspec
def pytest_cnimigrate_run_finished(run: ScenarioRun) -> None:
    """A scenario is over and its journal complete.

    Called once a scenario, in the process that was started by the user, before the reports are drawn. An
    exception raised here is shown as a warning line.
    """
