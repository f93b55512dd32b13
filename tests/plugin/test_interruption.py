"""Crashes and interruptions: no action is repeated, no process is left, nothing on record is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from scenario_project import Project

# A cluster that is a process, as the embedded one is, and takes a moment to go.
CLUSTER = """
import subprocess, sys, time

@pytest.fixture(scope="session")
def cluster(scenario_run):
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for pytest, which then takes this down
    )
    log = scenario_run.folder / "cluster.txt"
    log.write_text(f"{process.pid}\\n")
    yield process
    time.sleep(0.3)
    process.kill()
    process.wait()
    process.stdin.close()
    with log.open("a") as file:
        file.write("down\\n")
"""

SOURCE = {
    "before": "def test_before(cluster):\n    pass\n",
    "middle": '''
        import os, pathlib, pytest, time

        @pytest.mark.action
        def test_first(migrate, cluster):
            """Do the first thing."""
            migrate("first")
            {during}

        def test_check(cluster):
            pass
    ''',
    "after": """
        import pytest

        def test_after(cluster):
            pass

        @pytest.mark.always
        def test_evidence(cluster):
            pass
    """,
}
EXPECTED = {
    "test_before": "passed",
    "test_first": "failed",
    "test_check": "not-run",
    "test_after": "not-run",
    "test_evidence": "not-run",
}
HANGS = "pathlib.Path('hangs').touch(); time.sleep(60)"


def scenario(project: Project, during: str) -> None:
    project.scenario({phase: text.format(during=during) for phase, text in SOURCE.items()}, conftest=CLUSTER)


def is_alive(pid: int) -> bool:
    """Whether a process is there and not just waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def results(project: Project) -> dict[str, str]:
    """Test -> the tag of its JUnit result; every test just once."""
    import xml.etree.ElementTree as ET

    suite = ET.parse(project.root / "out/move/junit.xml").getroot()[0]  # noqa: S314  # our own file
    cases = [(c.attrib["name"], [e.tag for e in c if e.tag != "properties"]) for c in suite.iter("testcase")]
    assert len({name for name, _ in cases}) == len(cases)
    return {name: tags[0] if tags else "" for name, tags in cases}


JUNIT = {
    "test_before": "",
    "test_first": "failure",
    "test_check": "skipped",
    "test_after": "skipped",
    "test_evidence": "skipped",
}


@pytest.mark.parametrize("restarts", [[], ["--max-worker-restart=0"]])
def test_a_worker_that_dies_never_repeats_an_action(project: Project, restarts: list[str]) -> None:
    scenario(project, "os._exit(3)")
    result = project.run(*restarts, workers=2)
    assert result.ret != 0
    assert project.changes() == ["first"]
    assert project.outcomes() == EXPECTED
    assert results(project) == JUNIT | {"test_first": "error"}
    finished = [r for r in project.journal() if r["event"] == "test-finished" and r["outcome"] == "failed"]
    (owner,) = [r["worker"] for r in project.journal() if r["event"] == "owner"]
    message = f"worker {owner} died during this step; the cluster may be half way"
    assert finished[0]["message"].startswith(message)
    closed = [r for r in project.journal() if r["event"] == "gate-closed"]
    assert [record["reason"] for record in closed] == [f'worker {owner} died during "Do the first thing"']
    # Only one cluster was made: that of the worker that died.
    assert len(project.cluster()) == 1
    assert project.journal()[-1]["event"] == "run-finished"


def test_a_worker_that_dies_before_it_has_collected_is_replaced(project: Project) -> None:
    scenario(project, "pass")
    dies_once = """
        import os, pathlib

        def pytest_collection(session):
            if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
                os._exit(3)
    """
    project.pytester.makeconftest(dies_once)
    result = project.run(workers=2)
    assert result.ret == 0
    assert set(project.outcomes().values()) == {"passed"}
    assert project.changes() == ["first"]
    assert [r["event"] for r in project.journal()].count("collected") == 1


def test_a_worker_that_dies_between_two_steps_is_not_replaced_by_one_that_goes_on(project: Project) -> None:
    scenario(project, "pass")
    conftest = project.root / "scenarios/move/conftest.py"
    dies = """
def pytest_runtest_logfinish(nodeid):
    import os
    if "test_first" in nodeid and "PYTEST_XDIST_WORKER" in os.environ:
        os._exit(3)
"""
    conftest.write_text(conftest.read_text() + dies)
    result = project.run(workers=2)
    assert result.ret != 0
    assert project.changes() == ["first"]
    assert project.outcomes() == EXPECTED | {"test_first": "passed"}
    assert len(project.cluster()) == 1
    assert results(project) == JUNIT | {"test_first": ""}
    reasons = {r["message"] for r in project.journal() if r.get("outcome") == "not-run" and "nodeid" in r}
    (owner,) = [r["worker"] for r in project.journal() if r["event"] == "owner"]
    assert reasons == {f"not run: worker {owner} died before the scenario was through"}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_interrupted_run_takes_its_cluster_down_and_says_what_was_not_run(
    project: Project, name: str, workers: str
) -> None:
    scenario(project, HANGS)
    with project.start("-n", workers) as process:
        wait_for((project.root / "hangs").exists)
        if name == "SIGINT":  # Ctrl-C goes to the whole group, the others to the one process.
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.Signals[name])
        output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    pid, *rest = project.cluster()
    assert rest == ["down"], output
    assert not is_alive(int(pid))
    assert project.outcomes() == EXPECTED
    assert results(project) == JUNIT
    assert project.changes() == ["first"]
    signals = {record["signal"] for record in project.journal() if record["event"] == "interrupted"}
    assert signals == {name}
    assert project.journal()[-1]["outcome"] == "interrupted"
    assert "Interrupted by" in output
    assert "Traceback" not in output


def test_a_second_sigterm_does_not_break_the_teardown_off(project: Project) -> None:
    scenario(project, HANGS)
    with project.start("-n0") as process:
        wait_for((project.root / "hangs").exists)
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: "interrupted" in (project.root / "out/move/move/journal.jsonl").read_text())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert project.cluster()[1:] == ["down"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_row_of_ctrl_c_may_break_the_teardown_off_but_never_the_record(
    project: Project, workers: str
) -> None:
    scenario(project, HANGS)
    with project.start("-n", workers) as process:
        wait_for((project.root / "hangs").exists)
        while process.poll() is None:
            # From the first that is noticed until it has ended by itself.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        output, _ = process.communicate(timeout=60)
    assert project.outcomes() == EXPECTED
    assert project.journal()[-1]["outcome"] == "interrupted"
    assert (project.root / "out/move/index.html").exists(), output


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_killed_run_leaves_a_journal_that_tells_how_far_it_came(project: Project, workers: str) -> None:
    scenario(project, HANGS)
    with project.start("-n", workers) as process:
        wait_for((project.root / "hangs").exists)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    events = [record["event"] for record in project.journal()]
    assert events[-1] == "change-done"
    assert events.count("test-started") == 2
    os.kill(int(project.cluster()[0]), signal.SIGKILL)  # Nobody was left to take it down.
    # The next run is not kept out by the dead one, and moves its record aside.
    scenario(project, "pass")
    result = project.run_inline()
    assert result.ret == 0
    assert len(list((project.root / "out/move/previous").glob("*/move/journal.jsonl"))) == 1


def test_an_interruption_before_the_first_test_leaves_no_empty_record(project: Project) -> None:
    scenario(project, "pass")
    project.pytester.makeconftest("def pytest_collection(): raise KeyboardInterrupt")
    with project.start() as process:
        process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert results(project) == {"run": "error"}
    assert project.journal()[-1]["outcome"] == "interrupted"


def test_a_scenario_that_was_through_is_not_called_interrupted(project: Project) -> None:
    scenario(project, "scenario_run.scenario.name == 'two' and time.sleep(60)")
    folder = project.root / "scenarios/move"
    module = folder / "test_20_middle.py"
    module.write_text(
        module.read_text()
        .replace("test_first(", "test_first(scenario_run, ")
        .replace("migrate(", "pathlib.Path(scenario_run.scenario.name).touch(); migrate(")
    )
    for name in ("one", "two"):
        project.scenario_file(folder, name=name, phases=list(SOURCE), file=f"{name}.yaml")
    files = [f"--cni-scenario=scenarios/move/{name}.yaml" for name in ("one", "two")]
    with project.start(*files, "--cni-out=both") as process:
        wait_for((project.root / "two").exists)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert project.journal("one", "both")[-1]["outcome"] == "passed"
    assert project.journal("two", "both")[-1]["outcome"] == "interrupted"


def test_ending_the_session_from_within_a_test_is_on_record(project: Project) -> None:
    scenario(project, "pytest.exit('enough', returncode=7)")
    result = project.run_inline()
    assert result.ret == 7
    assert project.outcomes() == EXPECTED
    assert results(project) == JUNIT
    assert project.cluster()[1:] == ["down"]


def test_a_teardown_that_fails_after_an_interruption_is_one_line(
    project: Project,
) -> None:
    scenario(project, HANGS)
    conftest = project.root / "scenarios/move/conftest.py"
    conftest.write_text(conftest.read_text() + "    raise RuntimeError('the cloud is gone')\n")
    with project.start() as process:
        wait_for((project.root / "hangs").exists)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "WARNING: teardown failed: RuntimeError: the cloud is gone" in output.splitlines()
    assert project.outcomes() == EXPECTED
    assert (project.root / "out/move/index.html").exists()
