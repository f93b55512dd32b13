"""The status word of a test that was not run."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TypeAlias

import pytest

from pytest_cnimigrate.plugin.attempt import NOT_RUN_AFTER
from pytest_cnimigrate.plugin.state import State

_Status: TypeAlias = tuple[str, str, str | tuple[str, Mapping[str, bool]]]


class Status:
    """Not run is neither passed nor skipped: a skip is the author's decision that a step does not apply."""

    def __init__(self, state: State) -> None:
        self._state = state

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> Generator[None, _Status, _Status]:
        """The category is one word, so that `2 notrun` reads like pytest's own counts."""
        category, letter, word = yield
        if report.skipped and was_not_run(report):
            category, letter, word = "notrun", "-", ("NOT RUN", {"yellow": True, "bold": True})
        if self._state.live and _property(report, "scenario"):
            letter = ""  # Live lines tell it.
        return category, letter, word


def was_not_run(report: pytest.CollectReport | pytest.TestReport) -> bool:
    """Whether a report tells of a step that was not run."""
    return _property(report, NOT_RUN_AFTER) is not None


def _property(report: pytest.CollectReport | pytest.TestReport, name: str) -> object:
    properties = getattr(report, "user_properties", ())
    return next((value for key, value in properties if key == name), None)
