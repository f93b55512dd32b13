"""What only the JUnit file of a scenario run has. The one place that knows pytest's JUnit writer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


def add_suite_properties(config: pytest.Config, properties: Mapping[str, str]) -> None:
    """Add properties to the test suite.

    `record_testsuite_property` does nothing under pytest-xdist (pytest-dev/pytest#7767), so this is done
    in the controller, on the writer itself.
    """
    writer = _writer(config)
    if writer is not None:
        for name, value in properties.items():
            writer.add_global_property(name, value)


def add_error(config: pytest.Config, nodeid: str, text: str) -> None:
    """Add a test case that is an error, for a run that was over before any test.

    An empty JUnit file reads as "nothing to complain about".
    """
    writer = _writer(config)
    if writer is not None:
        report = pytest.TestReport(
            nodeid=nodeid,
            location=(nodeid.partition("::")[0], None, nodeid),
            keywords={},
            outcome="failed",
            longrepr=text,
            when="setup",
        )
        writer.pytest_runtest_logreport(report)


def _writer(config: pytest.Config) -> Any:
    """Pytest's JUnit writer, or None if no file is written or pytest keeps it elsewhere by now."""
    try:
        from _pytest.junitxml import xml_key
    except ImportError:
        return None
    return config.stash.get(xml_key, None)
