"""One step while it is carried out: what its reports add up to."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

import pytest

from pytest_cnimigrate.plugin.catalog import Step
from pytest_cnimigrate.plugin.gate import Stop

NOT_RUN_AFTER = "not_run_after"
"""The JUnit property of a test that was not run: the node id of the step that the scenario stopped in."""

# Names that tell nothing which the message does not: the plainest ones, and this package's own.
_PLAIN_EXCEPTIONS = re.compile(r"^(?:AssertionError|Failed|Exception|pytest_cnimigrate\.[\w.]+): ")

_MESSAGE_LENGTH = 500
_DETAILS_LENGTH = 100_000


@dataclass(slots=True)
class Attempt:
    """A step between its start and its end."""

    item: pytest.Item
    step: Step
    stop: Stop | None
    """Why it is not run, or None if it is."""
    begun: float = field(default_factory=time.monotonic)
    setups: int = 0
    without_base: bool = False
    """Whether a session fixture could not be set up."""
    outcome: str = ""
    when: str = ""
    message: str = ""
    details: str = ""

    def add(self, report: pytest.TestReport) -> None:
        """Take the report of a stage into account; the first failure is the one that is told."""
        if report.failed and self.outcome != "failed":
            self.outcome = "failed"
            self.when = str(report.when)
            self.message = reason_of(report)
            self.details = report.longreprtext[:_DETAILS_LENGTH]
        elif report.skipped and not self.outcome:
            self.outcome = "skipped" if self.stop is None else "not-run"
            self.when = str(report.when)
            self.message = reason_of(report)
        elif report.passed and report.when == "call" and not self.outcome:
            self.outcome = "passed"

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.begun, 3)


def reason_of(report: pytest.TestReport) -> str:
    """Why a test failed or was skipped, in one short paragraph."""
    longrepr = report.longrepr
    if isinstance(longrepr, tuple):
        return longrepr[2].removeprefix("Skipped: ")
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"expected failure: {expected}"
    crash = getattr(longrepr, "reprcrash", None)
    text = str(crash.message) if crash is not None else report.longreprtext
    return first_paragraph(text)


def first_paragraph(text: str) -> str:
    """The first paragraph of an error, without the names of the plainest exceptions and what follows them."""
    lines: list[str] = []
    for line in text.strip().splitlines():
        # What pytest adds to a message of one's own: the values in the assertion.
        if lines and (not line.strip() or line.startswith("assert ")):
            break
        lines.append(line.strip())
    paragraph = " ".join(lines)
    paragraph = _PLAIN_EXCEPTIONS.sub("", paragraph)
    return paragraph if len(paragraph) <= _MESSAGE_LENGTH else f"{paragraph[: _MESSAGE_LENGTH - 1]}…"
