"""The run directory: one run at a time, and nothing of an earlier run is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_cnimigrate.run.directory import RunDirectory, RunDirectoryError, new_run_id

HOLDER = """
import sys
from pathlib import Path
from pytest_cnimigrate.run.directory import RunDirectory
directory = RunDirectory.acquire(Path(sys.argv[1]), run_id="other-run")
print("held", flush=True)
sys.stdin.read()
"""


def test_run_ids_sort_by_time_and_do_not_repeat() -> None:
    early = new_run_id(datetime(2026, 11, 22, 21, 30, tzinfo=UTC))
    late = new_run_id(datetime(2026, 11, 22, 21, 30, 1, tzinfo=UTC))
    assert early < late
    assert early.startswith("20261122-213000-")
    assert len({new_run_id() for _ in range(50)}) > 40


def test_a_new_directory_is_made_and_empty(tmp_path: Path) -> None:
    directory = RunDirectory.acquire(tmp_path / "a" / "b", run_id="r1")
    assert directory.previous is None
    folder = directory.scenario_folder("move")
    assert sorted(path.name for path in folder.iterdir()) == ["evidence", "saved"]
    directory.release()


def test_a_second_run_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError) as caught:
            RunDirectory.acquire(tmp_path / "out", run_id="r2")
        assert f"pid {holder.pid}, started {datetime.now().astimezone():%Y-%m-%d}" in str(caught.value)
        assert "\n" not in str(caught.value)
        holder.kill()
    # The kernel has let go of the lock of a killed run.
    RunDirectory.acquire(tmp_path / "out", run_id="r2").release()


def test_what_an_earlier_run_left_is_moved_aside_whole(tmp_path: Path) -> None:
    first = RunDirectory.acquire(tmp_path, run_id="20261122-213000-aaaa")
    (first.scenario_folder("move") / "journal.jsonl").write_text("{}\n")
    first.junit.write_text("<testsuites/>")
    first.release()
    second = RunDirectory.acquire(tmp_path, run_id="20261122-220000-bbbb")
    assert second.previous == tmp_path / "previous" / "20261122-213000-aaaa"
    assert (second.previous / "junit.xml").read_text() == "<testsuites/>"
    assert (second.previous / "move" / "journal.jsonl").read_text() == "{}\n"
    assert not second.junit.exists()
    second.junit.write_text("new")
    second.release()
    third = RunDirectory.acquire(tmp_path, run_id="20261122-223000-cccc")
    kept = sorted(path.name for path in (tmp_path / "previous").iterdir())
    assert kept == ["20261122-213000-aaaa", "20261122-220000-bbbb"]
    third.release()


def test_two_earlier_runs_of_one_id_are_both_kept(tmp_path: Path) -> None:
    for text in ("one", "two", "three"):
        directory = RunDirectory.acquire(tmp_path, run_id="same")
        directory.junit.write_text(text)
        directory.release()
    RunDirectory.acquire(tmp_path, run_id="other").release()
    kept = {path.parent.name: path.read_text() for path in (tmp_path / "previous").glob("*/junit.xml")}
    assert kept == {"same": "one", "same.2": "two", "same.3": "three"}


def test_a_run_killed_before_it_wrote_its_name_is_kept_too(tmp_path: Path) -> None:
    directory = RunDirectory.acquire(tmp_path, run_id="r1")
    directory.junit.write_text("half")
    directory.release()
    (tmp_path / ".cnimigrate-run").write_text("{")
    second = RunDirectory.acquire(tmp_path, run_id="r2")
    assert second.previous is not None
    assert (second.previous / "junit.xml").read_text() == "half"
    second.release()


def test_somebody_elses_files_are_never_moved(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunDirectoryError, match=r"thesis\.txt"):
        RunDirectory.acquire(tmp_path, run_id="r1")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.txt"]


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=r"^cannot write .*file/out: Not a directory$"):
        RunDirectory.acquire(tmp_path / "file" / "out", run_id="r1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunDirectoryError, match="Permission denied"):
        RunDirectory.acquire(tmp_path / "out", run_id="r1")


def test_run_json_is_whole_at_every_moment(tmp_path: Path) -> None:
    directory = RunDirectory.acquire(tmp_path, run_id="r1")
    directory.write_run_json({"run_id": "r1", "finished": None})
    with pytest.raises(TypeError):
        directory.write_run_json({"run_id": object()})
    assert json.loads((tmp_path / "run.json").read_text()) == {"run_id": "r1", "finished": None}
    directory.release()
