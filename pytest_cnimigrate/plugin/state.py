"""What the parts of the plugin know together, within one process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pytest_cnimigrate.run.scenario_run import ScenarioRun


@dataclass(slots=True)
class State:
    """The state of this process's part of the run."""

    runs: dict[str, ScenarioRun] = field(default_factory=dict)
    """Scenario name -> run. Empty when nothing will be run (`--collect-only`)."""
    refusal: str = ""
    """Why the run was refused after collection, for the user."""
    journal_error: str = ""
    """The line of the first `JournalError`: from then on nothing is begun any more."""
    live: bool = False
    """Whether live lines replace pytest's dots."""
    interrupted_by: str = ""
    """`SIGINT`, `SIGTERM`, … once the run has been interrupted."""


def interruption(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """What ended the session early; "" for pytest's own doing, such as an error during collection."""
    if isinstance(excinfo.value, pytest.Session.Interrupted):
        return ""
    return "SIGINT" if isinstance(excinfo.value, KeyboardInterrupt) else "pytest.exit"


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def worker_input(config: pytest.Config) -> dict[str, Any]:
    """What the controller told this worker."""
    return cast("dict[str, Any]", config.workerinput)  # type: ignore[attr-defined]  # set by pytest-xdist


def worker_output(config: pytest.Config) -> dict[str, Any]:
    """What this worker will tell the controller when it is done."""
    return cast("dict[str, Any]", config.workeroutput)  # type: ignore[attr-defined]  # set by pytest-xdist


def worker_name(config: pytest.Config) -> str:
    """`gw0`, `gw1`, …, or `main` without pytest-xdist."""
    return str(worker_input(config)["workerid"]) if is_worker(config) else "main"


def is_announcer(config: pytest.Config) -> bool:
    """Whether this process writes down what was collected: the only one, the first worker, or a replacement.

    Replacements, because the first worker may have died before it got there.
    """
    if not is_worker(config):
        return True
    number = int(worker_name(config).removeprefix("gw"))
    return number == 0 or number >= int(worker_input(config)["workercount"])


def owner(config: pytest.Config) -> dict[str, Any]:
    """Who this process is, as it stands in a journal."""
    return {"worker": worker_name(config), "pid": os.getpid()}
