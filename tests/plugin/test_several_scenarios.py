"""Several scenarios in one run: one after the other, or side by side, each stopping for itself."""

from __future__ import annotations

import pytest
from scenario_project import THREE_PHASES, Project

FAILING = THREE_PHASES | {
    "change-it": """
        import pytest

        @pytest.mark.action
        def test_label(migrate, cluster, scenario_run):
            migrate("label in " + scenario_run.scenario.name)
            assert scenario_run.scenario.name != "bad", "it is the bad one"

        def test_labels_are_there(cluster):
            pass
    """
}


def two_files(project: Project) -> tuple[str, str]:
    """One folder, two scenario files: what staging and production differ in."""
    folder = project.scenario(FAILING)
    for name in ("good", "bad"):
        project.scenario_file(folder, name=name, phases=list(FAILING), file=f"{name}.yaml")
    return "--cni-scenario=scenarios/move/good.yaml", "--cni-scenario=scenarios/move/bad.yaml"


@pytest.mark.parametrize("workers", ["0", "2", "auto"])
def test_files_of_one_folder_run_the_same_modules_side_by_side(project: Project, workers: str) -> None:
    result = project.run(*two_files(project), workers=workers)
    assert result.ret == 1
    assert result.parseoutcomes() == {"passed": 5 + 2, "failed": 1, "notrun": 2}
    out = "out/good+bad"
    assert set(project.outcomes("good", out).values()) == {"passed"}
    assert project.outcomes("bad", out) == {
        "test_the_cluster_answers[bad]": "passed",
        "test_nodes_are_ready[bad]": "passed",
        "test_label[bad]": "failed",
        "test_labels_are_there[bad]": "not-run",
        "test_all_is_well[bad]": "not-run",
    }
    assert project.changes("good", out) == ["label in good"]
    assert project.changes("bad", out) == ["label in bad"]
    for name in ("good", "bad"):
        assert project.cluster(name, out) == ["up", "down"]
        owners = [record["worker"] for record in project.journal(name, out) if record["event"] == "owner"]
        assert len(owners) == 1
        titles = {r["title"] for r in project.journal(name, out) if r["event"] == "test-finished"}
        assert "The cluster answers" in titles  # without the scenario's name
    if workers != "0":
        assert result.stdout.str().count("2 workers [10 items]") == 1
        assert {project.journal(n, out)[2]["worker"] for n in ("good", "bad")} == {"gw0", "gw1"}
        result.stdout.fnmatch_lines(["*[[]bad] * FAILED *", "*[[]bad] * not run  2 tests in 2 phases"])
    assert (project.root / out / "junit.xml").exists()
    assert (project.root / out / "index.html").exists()


def test_one_file_in_place_of_the_folders_own_leaves_node_ids_as_they_are(project: Project) -> None:
    good, _ = two_files(project)
    result = project.run_inline(good)
    assert result.parseoutcomes() == {"passed": 5}
    assert set(project.outcomes("good")) == {
        "test_the_cluster_answers",
        "test_nodes_are_ready",
        "test_label",
        "test_labels_are_there",
        "test_all_is_well",
    }


def test_scenarios_of_several_folders_run_one_after_the_other(project: Project) -> None:
    project.scenario(FAILING, folder="scenarios/one", name="bad")
    project.scenario(FAILING, folder="scenarios/two", name="good")
    result = project.run_inline("scenarios", "--cni-out", "both")
    assert result.parseoutcomes() == {"passed": 5 + 2, "failed": 1, "notrun": 2}
    for name in ("good", "bad"):
        assert project.cluster(name, "both") == ["up", "down"]
        assert project.changes(name, "both") == [f"label in {name}"]
    # The first cluster is gone before the second is made.
    finished = project.journal("bad", "both")[-2]["t"]
    started = next(r["t"] for r in project.journal("good", "both") if r["event"] == "owner")
    assert finished <= started


def test_an_error_while_a_scenarios_cluster_goes_is_that_scenarios(project: Project) -> None:
    breaks = """
        @pytest.fixture(scope="session", autouse=True)
        def goes_badly(scenario_run):
            yield
            if scenario_run.scenario.name == "first":
                raise RuntimeError("the cluster does not go")
    """
    project.scenario(THREE_PHASES, folder="scenarios/one", name="first", conftest=breaks)
    project.scenario(THREE_PHASES, folder="scenarios/two", name="second", conftest=breaks)
    result = project.run_inline("scenarios", "--cni-out", "both")
    assert result.ret == 1
    assert list(project.outcomes("first", "both").values()) == ["passed"] * 4 + ["failed"]
    assert set(project.outcomes("second", "both").values()) == {"passed"}
    assert project.journal("first", "both")[-1]["outcome"] == "failed"


def test_a_crash_stops_only_the_scenario_that_it_fell_into(project: Project) -> None:
    dies = FAILING | {
        "change-it": FAILING["change-it"].replace(
            'assert scenario_run.scenario.name != "bad", "it is the bad one"',
            'scenario_run.scenario.name == "bad" and __import__("os")._exit(1)',
        )
    }
    folder = project.scenario(dies)
    for name in ("bad", "good", "other"):
        project.scenario_file(folder, name=name, phases=list(dies), file=f"{name}.yaml")
    arguments = [f"--cni-scenario=scenarios/move/{name}.yaml" for name in ("bad", "good", "other")]
    result = project.run(*arguments, "--cni-out=all", workers="2")
    assert result.ret == 1
    assert project.changes("bad", "all") == ["label in bad"]
    for name in ("good", "other"):
        assert set(project.outcomes(name, "all").values()) == {"passed"}
        assert project.changes(name, "all") == [f"label in {name}"]
    assert list(project.outcomes("bad", "all").values()) == ["passed"] * 2 + ["failed"] + ["not-run"] * 2
