"""What a run leaves behind: journal, JUnit file, page, run.json."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from scenario_project import THREE_PHASES, Project

from pytest_cnimigrate.plugin.attempt import first_paragraph


def test_the_journal_tells_the_run_from_start_to_end(project: Project) -> None:
    project.scenario(THREE_PHASES)
    project.run_inline("--cni-set", "new_nodes.size=2")
    records = project.journal()
    events = [record["event"] for record in records]
    assert events == [
        "run-started",
        "collected",
        "owner",
        "phase-started",
        *["test-started", "test-finished"] * 2,
        "phase-finished",
        "phase-started",
        *["test-started", "change-started", "change-done", "test-finished"],
        *["test-started", "test-finished"],
        "phase-finished",
        "phase-started",
        *["test-started", "test-finished"],
        "phase-finished",
        "run-finished",
    ]
    head = records[0]
    assert head["scenario"] == "move"
    assert head["provider"] == "sim"
    assert head["cluster"]["name"]
    assert head["argv"][0] == "pytest"
    assert head["overrides"] == ["new_nodes.size=2"]
    assert {"pytest", "pytest-cnimigrate", "kubernetes"} <= set(head["versions"])
    assert head["phases"] == [
        {"name": "look", "title": "Look around", "text": "Nothing is changed here."},
        {"name": "change-it", "title": "Change it", "text": ""},
        {"name": "done", "title": "Done", "text": ""},
    ]
    items = records[1]["items"]
    assert [(item["kind"], item["title"]) for item in items] == [
        ("check", "The cluster answers"),
        ("check", "nodes are ready"),
        ("action", "Label the nodes"),
        ("check", "The labels are there"),
        ("check", "All is well"),
    ]
    assert records[3] | {"t": ""} == {
        "t": "",
        "event": "phase-started",
        "phase": "look",
        "title": "Look around",
        "text": "Nothing is changed here.",
    }
    assert records[-1]["outcome"] == "passed"
    assert records[-1]["exit_status"] == 0


def test_a_failure_is_on_record_with_its_reason_and_details(project: Project) -> None:
    project.scenario(
        {
            "look": '''
                def test_nodes():
                    """All nodes are ready."""
                    ready = 2
                    assert ready == 3, "node ip-10-0-1-12 is not ready\\n\\nkubelet says so"
            '''
        }
    )
    project.run_inline()
    finished = next(r for r in project.journal() if r["event"] == "test-finished")
    assert finished["message"] == "node ip-10-0-1-12 is not ready"
    assert "kubelet says so" in finished["details"]
    assert "assert 2 == 3" in finished["details"]
    assert finished["when"] == "call"
    closed = next(r for r in project.journal() if r["event"] == "gate-closed")
    assert closed["phase"] == "look"
    assert closed["reason"].endswith("node ip-10-0-1-12 is not ready")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AssertionError: two nodes are missing\nassert 1 == 3", "two nodes are missing"),
        ("assert 1 == 3", "assert 1 == 3"),
        (
            "pytest_cnimigrate.run.change.ChangeError: could not label node a: gone",
            "could not label node a: gone",
        ),
        ("KeyError: 'nodes'", "KeyError: 'nodes'"),
        ("Failed: first line\nsecond line\n\nanother paragraph", "first line second line"),
        ("x" * 600, "x" * 499 + "…"),
    ],
)
def test_a_reason_is_one_short_paragraph(text: str, message: str) -> None:
    assert first_paragraph(text) == message


def test_the_junit_file_says_what_was_run_where_with_and_without_workers(project: Project) -> None:
    project.scenario(THREE_PHASES)
    for workers in (0, 2):
        project.run(workers=workers)
        suite = ET.parse(project.root / "out/move/junit.xml").getroot()[0]  # noqa: S314  # our own file
        properties = {p.attrib["name"]: p.attrib["value"] for p in suite.find("properties") or []}
        assert properties["scenario"] == "move"
        assert properties["provider"] == "sim"
        assert properties["run_id"] == project.journal()[0]["run_id"]
        assert properties["version.pytest"] == pytest.__version__


def test_a_junit_file_of_the_users_own_choice_is_respected(project: Project) -> None:
    project.scenario(THREE_PHASES)
    project.run_inline("--junitxml=mine.xml")
    assert (project.root / "mine.xml").exists()
    assert not (project.root / "out/move/junit.xml").exists()


def test_run_json_tells_where_everything_is(project: Project) -> None:
    project.scenario(THREE_PHASES)
    project.run_inline()
    run = json.loads((project.root / "out/move/run.json").read_text())
    assert run["run_id"] == project.journal()[0]["run_id"]
    assert run["scenarios"][0]["journal"] == "move/journal.jsonl"
    assert run["finished"]["outcomes"] == {"move": "passed"}
    assert run["finished"]["exit_status"] == 0


def test_the_run_before_is_kept_and_the_header_says_where(project: Project) -> None:
    project.scenario(THREE_PHASES)
    project.run_inline()
    earlier = project.journal()[0]["run_id"]
    page = (project.root / "out/move/index.html").read_text()
    result = project.run_inline()
    kept = project.root / "out/move/previous" / earlier
    result.stdout.fnmatch_lines(
        [f"run directory: out/move (default); the run before is in {kept.relative_to(project.root)}"]
    )
    assert (kept / "index.html").read_text() == page
    assert (kept / "move/journal.jsonl").exists()


def test_a_page_that_cannot_be_drawn_costs_no_record(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Path:
        raise RuntimeError("no ink")

    project.scenario(THREE_PHASES)
    monkeypatch.setattr("pytest_cnimigrate.report.write_report", fail)
    result = project.run_inline()
    assert result.ret == 1
    warnings = [line for line in result.outlines if line.startswith("WARNING: ")]
    assert len(warnings) == 1
    assert "the page could not be drawn (RuntimeError('no ink'))" in warnings[0]
    assert project.journal()[-1]["event"] == "run-finished"
    assert (project.root / "out/move/junit.xml").exists()


def test_extensions_hear_of_phases_and_the_run_and_cannot_stop_it(project: Project) -> None:
    project.scenario(THREE_PHASES)
    project.pytester.makeconftest(
        """
        heard = []

        def pytest_cnimigrate_phase_finished(run, phase, outcome):
            heard.append((run.scenario.name, phase, outcome))
            if phase == "look":
                raise RuntimeError("clumsy")

        def pytest_cnimigrate_run_finished(run):
            (run.folder / "heard.txt").write_text(repr(heard))
        """
    )
    result = project.run_inline()
    assert result.ret == 0
    heard = (project.root / "out/move/move/heard.txt").read_text()
    assert (
        heard == "[('move', 'look', 'passed'), ('move', 'change-it', 'passed'), ('move', 'done', 'passed')]"
    )
    notes = [record["text"] for record in project.journal() if record["event"] == "note"]
    assert notes == ["an extension failed after phase look: RuntimeError('clumsy')"]


def test_the_run_directory_comes_from_command_line_environment_and_ini_in_this_order(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.scenario(THREE_PHASES)
    project.pytester.makeini("[pytest]\ncni_out = by-ini\ncni_keep = on-failure\n")
    project.run_inline().stdout.fnmatch_lines(
        ["run *: cluster sim (default), keep on-failure (cni_keep)", "run directory: by-ini (cni_out)"]
    )
    monkeypatch.setenv("CNIMIGRATE_OUT", "by-environment")
    monkeypatch.setenv("CNIMIGRATE_KEEP", "always")
    project.run_inline().stdout.fnmatch_lines(
        ["run *keep always (CNIMIGRATE_KEEP)", "run directory: by-environment (CNIMIGRATE_OUT)"]
    )
    project.run_inline("--cni-out=by-hand", "--cni-keep=never").stdout.fnmatch_lines(
        ["run *keep never (--cni-keep)", "run directory: by-hand (--cni-out)"]
    )
    for name in ("by-ini", "by-environment", "by-hand"):
        assert (project.root / name / "move/journal.jsonl").exists()


def test_fixtures_can_ask_whether_anything_has_failed(project: Project) -> None:
    """`--cni-keep on-failure` depends on it."""
    asks = """
        @pytest.fixture(scope="session", autouse=True)
        def asks(scenario_run):
            assert scenario_run.has_failed() is False
            yield
            (scenario_run.folder / "failed.txt").write_text(str(scenario_run.has_failed()))
    """
    for source, answer in (("pass", "False"), ("assert 0", "True")):
        project.scenario({"look": f"def test_look():\n    {source}\n"}, conftest=asks)
        project.run_inline()
        assert (project.root / "out/move/move/failed.txt").read_text() == answer


FULL_DISK = """
import resource, signal, sys

@pytest.fixture
def full_disk(scenario_run):
    # Modules are still imported after this, and cut-off byte code would spoil every later run.
    sys.dont_write_bytecode = True
    # No file may grow beyond this any more: writes fail as on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""


def test_nothing_is_changed_that_cannot_be_recorded(project: Project) -> None:
    action = THREE_PHASES["change-it"].replace("(migrate", "(full_disk, migrate")
    project.scenario(THREE_PHASES | {"change-it": action}, conftest=FULL_DISK)
    with project.start() as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert project.changes() == []
    lines = output.splitlines()
    journal = f"{project.root}/out/move/move/journal.jsonl"
    assert f"WARNING: cannot write {journal}: File too large" in lines
    assert any("JournalError: cannot write" in line for line in lines)
    assert "1 failed, 2 passed, 2 notrun" in lines[-1]
    # pytest's own JUnit file does not fit either: told, not thrown.
    assert any(line.startswith("WARNING: cannot write") and "junit.xml" in line for line in lines)
    assert "INTERNALERROR" not in output
    assert "Traceback" not in output


def test_a_run_directory_that_cannot_be_written_is_one_line(project: Project) -> None:
    project.scenario(THREE_PHASES)
    (project.root / "out").write_text("a file")
    result = project.run_inline()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line.strip()]
    assert lines == [f"ERROR: cannot write {project.root}/out/move: Not a directory"]
