"""Whatever makes no sense is refused in one line, with exit code 4, before anything is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scenario_project import THREE_PHASES, Project


def refusal(result: pytest.RunResult) -> str:
    """The one line of a refused run."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("ERROR: ")
    return lines[0].removeprefix("ERROR: ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--cni-cluster", "moon"], "--cni-cluster: 'moon' is not one of sim, kind, eks or context"),
        (
            ["--cni-cluster", "kind"],
            "--cni-cluster kind: this version carries only the embedded cluster",
        ),
        (["--cni-keep", "maybe"], "--cni-keep: 'maybe' is not one of never, on-failure or always"),
        (["--cni-set", "size"], "--cni-set size: should be key=value, such as new_nodes.size=5"),
        (["--cni-set", "such=1"], "--cni-set such=1: such: is not a key"),
        (["--cni-set", "new_nodes.size=many"], "new_nodes.size"),
        (["-x"], "-x/--maxfail makes no sense with a scenario"),
        (["--maxfail=2"], "-x/--maxfail makes no sense with a scenario"),
        (["--stepwise"], "--stepwise makes no sense with a scenario"),
        (["--setup-only"], "--setup-only makes no sense with a scenario"),
        (["--continue-on-collection-errors"], "--continue-on-collection-errors makes no sense"),
        (["--dist", "each", "--tx", "popen"], "--dist each makes no sense with a scenario"),
        (["-d", "--tx", "2*ssh=host"], "--tx 2*ssh=host makes no sense with a scenario"),
        (["--cni-set", "simulator.faults=[no-such]"], "simulator.faults.0: no fault is named 'no-such'"),
        (["--cni-scenario", "scenarios/move/nothing.yaml"], "nothing.yaml: there is no such file"),
        (["--cni-scenario", "scenarios/move"], "scenarios/move: it is not a file"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(project: Project, arguments: list[str], line: str) -> None:
    project.scenario(THREE_PHASES)
    result = project.run_inline(*arguments)
    assert line in refusal(result)
    assert not (project.root / "out").exists()


@pytest.mark.parametrize(
    "arguments", [["--cni-out", "x"], ["--cni-cluster", "sim"], ["--cni-set", "a=1"], ["--cni-keep", "never"]]
)
def test_options_without_a_scenario_are_refused(project: Project, arguments: list[str]) -> None:
    project.pytester.makepyfile("def test_ordinary(): pass")
    line = refusal(project.run_inline(*arguments))
    assert line.startswith(f"{arguments[0]} was given, but there is no scenario under the paths of this run")


def test_an_environment_variable_with_a_wrong_value_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.scenario(THREE_PHASES)
    monkeypatch.setenv("CNIMIGRATE_KEEP", "later")
    assert refusal(project.run_inline()).startswith("CNIMIGRATE_KEEP: 'later' is not one of")


def test_an_ini_value_that_is_wrong_is_named(project: Project) -> None:
    project.scenario(THREE_PHASES)
    project.pytester.makeini("[pytest]\ncni_cluster = moon\n")
    assert refusal(project.run_inline()).startswith("cni_cluster: 'moon' is not one of")


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "not YAML": (lambda text: text.replace("phases:", "phases: ["), "scenario.yaml:"),
    "an unknown key": (lambda text: text + "surprise: 1\n", "surprise"),
    "a wrong type": (lambda text: text.replace("size: 3", "size: three"), "new_nodes.size"),
    "a missing manifest": (lambda text: text.replace("goldpinger-ds", "nothing-ds"), "nothing-ds.yaml"),
    "another version": (lambda text: text.replace("cnimigrate/v1", "cnimigrate/v9"), "apiVersion"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_malformed_scenario_is_refused_with_its_line(project: Project, what: str) -> None:
    folder = project.scenario(THREE_PHASES)
    change, named = BROKEN[what]
    path = folder / "scenario.yaml"
    path.write_text(change(path.read_text()))
    line = refusal(project.run_inline())
    assert "scenario.yaml" in line
    assert named in line
    assert not (project.root / "out").exists()


PHASE = "from pytest_cnimigrate.checks import nodes\ndef test_look(cluster): pass\n"


@pytest.mark.parametrize("content", ["", "phases: []\n", "\0\1\2"])
def test_a_scenario_file_that_does_not_say_what_it_is_is_named(project: Project, content: str) -> None:
    folder = project.scenario({"look": PHASE})
    (folder / "scenario.yaml").write_text(content)
    line = refusal(project.run_inline("scenarios/move"))
    assert line == f"{folder}/scenario.yaml is not a scenario: it does not begin with a line " + (
        "apiVersion: cnimigrate/v1"
    )


@pytest.mark.parametrize("path", ["scenarios/move", "scenarios/move/test_10_look.py"])
def test_phases_without_a_scenario_file_are_refused(project: Project, path: str) -> None:
    folder = project.scenario({"look": PHASE})
    (folder / "scenario.yaml").rename(folder / "other.yaml")
    line = refusal(project.run_inline(path))
    assert line == f"{folder} holds phases of a scenario, but there is no {folder}/scenario.yaml"
    assert project.run_inline("--cni-scenario", f"{path.partition('/test_')[0]}/other.yaml").ret == 0


def test_phases_numbered_one_by_one_are_missed_by_such_a_number(project: Project) -> None:
    folder = project.scenario(THREE_PHASES)
    for number, path in enumerate(sorted(folder.glob("test_*.py")), start=1):
        path.rename(folder / f"test_{number:02}{path.name.removeprefix(f'test_{number}0')}")
    (folder / "test_03_done.py").unlink()
    assert f"{folder}/test_03_done.py would be one" in refusal(project.run_inline())


def _rename(folder: Path) -> None:
    (folder / "test_30_done.py").rename(folder / "test_30_dome.py")


def _remove(folder: Path) -> None:
    (folder / "test_30_done.py").unlink()


def _double(folder: Path) -> None:
    (folder / "test_99_done.py").write_text("def test_it(): pass\n")


def _helper(folder: Path) -> None:
    (folder / "test_helpers.py").write_text("def test_it(): pass\n")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (_rename, "test_30_dome.py is not a phase of {folder}/scenario.yaml: its phases do not list dome"),
        (_remove, "lists phase done, which has no module: {folder}/test_30_done.py would be one"),
        (_double, "test_30_done.py and {folder}/test_99_done.py are both modules of phase done"),
        (_helper, "test_helpers.py is not a phase of {folder}/scenario.yaml: its name is not"),
    ],
)
@pytest.mark.parametrize("workers", ["0", "2"])
def test_phases_and_modules_must_match(
    project: Project, spoil: Callable[[Path], None], line: str, workers: str
) -> None:
    folder = project.scenario(THREE_PHASES)
    spoil(folder)
    result = project.run_inline("-n", workers)
    assert line.format(folder=folder) in refusal(result)
    assert not (project.root / "out").exists()


MUTATING_CHECKS = {
    "directly": "def test_look(migrate): pass\n",
    "through another fixture": """
        import pytest

        @pytest.fixture
        def prepared(migrate):
            return migrate

        def test_look(prepared):
            pass
    """,
}


@pytest.mark.parametrize("how", MUTATING_CHECKS)
def test_a_check_that_asks_for_migrate_is_refused(project: Project, how: str) -> None:
    project.scenario({"look": MUTATING_CHECKS[how]})
    line = refusal(project.run_inline())
    assert "scenarios/move/test_10_look.py::test_look uses the fixture `migrate`" in line
    assert line.endswith("is not marked @pytest.mark.action: a check never mutates")
    assert project.changes() == []


def test_a_check_that_asks_for_migrate_while_it_runs_fails(project: Project) -> None:
    project.scenario(
        {"look": "def test_look(request):\n    request.getfixturevalue('migrate')('label node a')\n"}
    )
    result = project.run_inline()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_look is a check and asked for `migrate`: a check never mutates*"])
    assert project.changes() == []


PICKS = {
    "a later phase": (["scenarios/move/test_30_done.py"], "phase look (test_10_look.py)"),
    "a gap": (
        ["scenarios/move/test_10_look.py", "scenarios/move/test_30_done.py"],
        "phase change-it (test_20_change_it.py)",
    ),
    "part of the last phase": (
        ["scenarios/move/test_10_look.py::test_the_cluster_answers"],
        "test_10_look.py::test_nodes_are_ready",
    ),
    "a keyword": (["-k", "labels_are_there"], "test_10_look.py::test_the_cluster_answers"),
    "a marker": (["-m", "action"], "test_10_look.py::test_the_cluster_answers"),
    "a deselected test": (
        ["--deselect", "scenarios/move/test_20_change_it.py::test_label"],
        "test_20_change_it.py::test_label",
    ),
}


@pytest.mark.parametrize("how", PICKS)
def test_a_part_of_a_scenario_is_picked_without_a_gap_or_not_at_all(project: Project, how: str) -> None:
    project.scenario(THREE_PHASES)
    arguments, missing = PICKS[how]
    line = refusal(project.run_inline(*arguments))
    assert f"was picked without {missing}" in line.replace("scenarios/move/", "")
    assert "phases build on one another" in line
    assert "e.g. pytest scenarios/move" in line
    assert project.changes() == []


def test_what_failed_last_is_not_run_alone(project: Project) -> None:
    spoilt = THREE_PHASES | {"done": "def test_all_is_well():\n    assert 0, 'no'\n"}
    project.scenario(spoilt)
    assert project.run_inline().ret == 1
    line = refusal(project.run_inline("--lf"))
    assert "was picked without phase look (test_10_look.py)" in line
    assert project.changes() == []


def test_a_refused_selection_is_one_line_with_workers_too(project: Project) -> None:
    project.scenario(THREE_PHASES)
    line = refusal(project.run("scenarios/move/test_30_done.py", workers=2))
    assert "was picked without phase look" in line
    assert project.changes() == []
    # A JUnit file without a test case would read as nothing to complain about.
    text = (project.root / "out/move/junit.xml").read_text()
    assert 'errors="1"' in text
    assert "was picked without phase look" in text


def test_the_first_phases_can_be_run_alone(project: Project) -> None:
    project.scenario(THREE_PHASES)
    folder = "scenarios/move"
    result = project.run_inline(f"{folder}/test_10_look.py", f"{folder}/test_20_change_it.py")
    assert result.parseoutcomes() == {"passed": 4}
    result.stdout.fnmatch_lines(["*picked * 2 of 3 phases; without done"])


def test_collecting_only_touches_nothing_and_allows_any_selection(project: Project) -> None:
    project.scenario(THREE_PHASES)
    result = project.run_inline("--collect-only", "-q", "-k", "test_label")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["scenarios/move/test_20_change_it.py::test_label"])
    assert not (project.root / "out").exists()


def test_scenarios_of_one_run_need_different_names(project: Project) -> None:
    one = project.scenario(THREE_PHASES, folder="scenarios/one")
    other = project.scenario(THREE_PHASES, folder="scenarios/other")
    line = refusal(project.run_inline())
    assert line.startswith(f"{other}/scenario.yaml and {one}/scenario.yaml are both named move")


def test_a_scenario_file_outside_the_given_paths_is_refused(project: Project) -> None:
    folder = project.scenario(THREE_PHASES)
    project.pytester.mkdir("tests")
    line = refusal(project.run_inline("tests", "--cni-scenario", "scenarios/move/scenario.yaml"))
    assert line.startswith(f"--cni-scenario {folder}/scenario.yaml lies outside the paths of this run")


def test_a_scenario_too_deep_to_be_found_is_refused_and_not_run_ungated(project: Project) -> None:
    project.scenario(THREE_PHASES, folder="a/b/c/d/e/f")
    line = refusal(project.run_inline())
    assert line.endswith(
        "a/b/c/d/e/f/scenario.yaml lies too deep to be found by itself: give its folder as the path"
    )
    assert project.run_inline("a/b/c/d/e/f").parseoutcomes() == {"passed": 5}


def test_two_runs_into_one_directory_are_refused(project: Project) -> None:
    import fcntl

    project.scenario(THREE_PHASES)
    out = project.root / "elsewhere"
    out.mkdir()
    with (out / ".cnimigrate-run").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = refusal(project.run_inline("--cni-out", "elsewhere"))
    assert line.startswith(f"{out} is in use by another run")
    assert sorted(path.name for path in out.iterdir()) == [".cnimigrate-run"]


def test_a_run_directory_with_other_files_is_refused(project: Project) -> None:
    project.scenario(THREE_PHASES)
    line = refusal(project.run_inline("--cni-out", "."))
    assert "holds files that are not of an earlier run" in line
