"""The fixture that ties everything else to the scenario of the requesting test."""

from __future__ import annotations

import pytest

from pytest_cnimigrate.run.scenario_run import SCENARIO_RUNS, ScenarioRun


@pytest.fixture(scope="session")
def scenario_run(request: pytest.FixtureRequest) -> ScenarioRun:
    """The run of this test's scenario.

    The plugin gives every test of a phase module its scenario's name as the (hidden) parameter, so session
    fixtures that use this one are made once for each scenario.
    """
    name = getattr(request, "param", None)
    if name is None:
        raise pytest.UsageError(f"{request.node.nodeid or 'this test'} is not part of a scenario")
    return request.config.stash[SCENARIO_RUNS][name]
