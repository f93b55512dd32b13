"""A project with scenarios, to run pytest in."""

from __future__ import annotations

import pytest
from scenario_project import Project

# Imported here once: pytester forgets after each run in this process what was imported in it, and importing
# these takes longer than most of the tests.
import pytest_cnimigrate.fixtures
import pytest_cnimigrate.plugin.activation
import pytest_cnimigrate.report.page
import pytest_cnimigrate.report.verdict
import pytest_cnimigrate.run.scenario  # noqa: F401


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """An empty project, and an environment that says nothing about it."""
    for name in ("CLUSTER", "KEEP", "OUT"):
        monkeypatch.delenv(f"CNIMIGRATE_{name}", raising=False)
    for name in ("CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_AUTO_NUM_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    # Processes of their own share compiled modules, wherever the environment says they should go.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "pycache"))
    return Project(pytester)
