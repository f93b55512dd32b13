"""What an operator sees of a failure: the error's own words and the line of the runbook, not our insides."""

from __future__ import annotations

import pytest
from scenario_project import Project

HELPER = """
from pytest_cnimigrate.kube.errors import ApiUnreachable, Attempt
from pytest_cnimigrate.run.change import ChangeError

def ask():
    try:
        raise OSError("socket 17 is gone")
    except OSError as error:
        raise ApiUnreachable(Attempt("list", "nodes", "https://there"), "no connection") from error

def change():
    try:
        ask()
    except ApiUnreachable as error:
        raise ChangeError(f"could not label the nodes: {error}") from error

def stumble():
    try:
        len(5)
    except TypeError as error:
        raise ChangeError(f"could not count the nodes: {error}") from error
"""
FIXTURE = """
import insides
import pytest

@pytest.fixture
def nodes():
    return insides.ask()
"""
SOURCES = {
    "look": """
import pytest
import insides

@pytest.mark.parametrize("what", ["ask", "change", "stumble"])
def test_look(what):
    getattr(insides, what)()

def test_look_at_nodes(nodes):
    pass
"""
}


@pytest.fixture
def told(project: Project) -> Project:
    project.scenario(SOURCES)
    (project.root / "insides.py").write_text(HELPER)
    (project.root / "conftest.py").write_text(FIXTURE)
    project.pytester.syspathinsert()
    return project


def failures(project: Project, *arguments: str) -> dict[str, str]:
    """What the terminal shows of each failure, by the name of the test."""
    result = project.run_inline(*arguments)
    text = result.stdout.str().partition("= FAILURES =")[2]
    errors = result.stdout.str().partition("= ERRORS =")[2].partition("= FAILURES =")[0]
    names = [f"test_look[{what}]" for what in ("ask", "change", "stumble")]
    found = {"fixture": errors}
    for name, following in zip(names, [*names[1:], "generated xml file"], strict=True):
        found[name.partition("[")[2].rstrip("]")] = text.partition(f"_ {name} _")[2].partition(following)[0]
    return found


def test_an_error_that_explains_itself_is_told_with_the_runbooks_line_alone(told: Project) -> None:
    found = failures(told)
    for name in ("ask", "change"):
        assert "cannot list nodes at https://there: no connection" in found[name]
        assert "getattr(insides, what)()" in found[name]
        assert "insides.py" not in found[name]
        assert "socket 17" not in found[name]


def test_of_a_fixture_outside_the_runbook_the_errors_text_is_all_there_is(told: Project) -> None:
    lines = [line for line in failures(told)["fixture"].splitlines() if line.strip("_= ")]
    assert lines[0].strip("_ ") == "ERROR at setup of test_look_at_nodes"
    assert lines[1:] == [
        "cannot list nodes at https://there: no connection. "
        "Check that the API server runs and that this machine can reach its address."
    ]


def test_below_a_mistake_of_ours_the_whole_traceback_is_shown(told: Project) -> None:
    found = failures(told)["stumble"]
    assert "TypeError" in found
    assert "insides.py" in found


def test_full_trace_shows_everything(told: Project) -> None:
    assert "socket 17 is gone" in failures(told, "--full-trace")["ask"]
