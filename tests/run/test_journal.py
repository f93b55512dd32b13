"""The journal: nothing written is lost, nothing secret is written, whatever happens to the process."""

from __future__ import annotations

import json
import multiprocessing
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_cnimigrate.run.journal import Journal, JournalError, read_journal


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: a write past it fails with EFBIG, as on a full disk."""
    import signal
    import sys

    # Whatever is imported meanwhile must not leave cut-off byte code behind.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
        sys.dont_write_bytecode = written


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    before = datetime.now(UTC)
    journal.append("note", text="drücke\nweiter")
    journal.append("change-started", id=1, parameters={"node": "a"}, captured={}, path=tmp_path)
    records = read_journal(journal.path)
    assert [record["event"] for record in records] == ["note", "change-started"]
    assert records[0]["text"] == "drücke\nweiter"
    assert records[1]["path"] == str(tmp_path)
    at = datetime.fromisoformat(records[0]["t"])
    assert abs((at - before).total_seconds()) < 5
    assert records[0]["t"].endswith("Z")
    assert len(records[0]["t"]) == len("2026-11-22T21:30:00.123Z")


def test_a_journal_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "nothing.jsonl") == []


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("note", text="whole")
    with journal.path.open("a") as file:
        file.write('{"t":"2026-11-22T21:30:00.000Z","event":"no')
    assert [record["text"] for record in read_journal(journal.path)] == ["whole"]


def test_a_record_appended_to_a_line_cut_off_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"t":"2026-11-22T21:30:00.000Z","event":"note","text":"cut of')
    Journal(path).append("note", text='says {"t": "x"}')
    assert [record["text"] for record in read_journal(path)] == ['says {"t": "x"}']


def test_a_gap_in_the_middle_is_seen(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("note", text="before")
    with journal.path.open("a") as file:
        file.write("\x00\x00 rubbish token=abcdefghijkl\n")
    journal.append("note", text="after")
    records = read_journal(journal.path)
    assert [record["event"] for record in records] == ["note", "unreadable", "note"]
    assert "abcdefghijkl" not in str(records)


def test_many_writers_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=(path, name)) for name in ("gw0", "gw1", "main")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    records = read_journal(path)
    assert len(records) == 3 * 2 * 50
    for name in ("gw0", "gw1", "main"):
        for thread in (0, 1):
            mine = [r["number"] for r in records if (r["worker"], r["thread"]) == (name, thread)]
            assert mine == list(range(50))


def _append_many(path: Path, name: str) -> None:
    journal = Journal(path)

    def work(thread: int) -> None:
        for number in range(50):
            journal.append("note", worker=name, thread=thread, number=number, filler="x" * 3000)

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_full_disk_is_a_journal_error_that_names_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("note", text="fits")
    with disk_of(200), pytest.raises(JournalError) as caught:
        journal.append("change-started", text="x" * 500)
    assert str(journal.path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_records_after_a_full_disk_are_readable(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    with disk_of(100), pytest.raises(JournalError):
        journal.append("note", text="x" * 500)  # 100 bytes of it are there now
    journal.append("note", text="there is room again")
    assert journal.path.stat().st_size > 100
    assert [record.get("text") for record in read_journal(journal.path)][-1] == "there is room again"


def test_a_directory_that_cannot_be_written_is_a_journal_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"cannot write .*file/journal.jsonl: Not a directory"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_what_json_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(TypeError, match="'measurement'"):
        journal.append("measurement", value=object())
    with pytest.raises(TypeError, match="'measurement'"):
        journal.append("measurement", value=float("nan"))
    assert read_journal(journal.path) == []


def test_changes_and_tests_are_on_the_disk_before_anything_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    journal = Journal(tmp_path / "journal.jsonl")
    for event in ("change-started", "change-done", "test-started", "gate-closed", "run-finished"):
        journal.append(event)
    assert len(synced) == 5
    journal.append("note", text="x")
    journal.append("matrix", pods=3)
    assert len(synced) == 5
    journal.append("observation", sync=True, name="x", value=1)
    assert len(synced) == 6


def test_secrets_never_reach_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(
        "run-started",
        argv=["pytest", "--cni-set", "registry.password=hunter2hunter2"],
        kubeconfig={"users": [{"user": {"token": "abc123", "client-key-data": "S2V5"}}]},
        headers={"Authorization": "Bearer eyJhbGciOi.eyJzdWIi.c2ln"},
    )
    text = journal.path.read_text()
    for secret in ("hunter2", "abc123", "S2V5", "eyJhbGciOi"):
        assert secret not in text
    assert json.loads(text)["argv"][:2] == ["pytest", "--cni-set"]
