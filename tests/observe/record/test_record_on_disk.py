"""A record on disk gives back every state that there was, whatever became of the process that wrote it."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime

import orjson
import pytest
from recorded_watches import IN_PLACE, NODE_POOL, arrivals, tracked, write_record

from pytest_cnimigrate.model.redaction import REDACTED
from pytest_cnimigrate.observe.record import (
    Mark,
    RecordError,
    State,
    Transition,
    read_record,
    replay,
    state_at,
)
from pytest_cnimigrate.observe.record.lines import as_json
from pytest_cnimigrate.observe.record.reading import resume
from pytest_cnimigrate.observe.record.sources import recorded
from pytest_cnimigrate.observe.record.tracking import Arrival
from pytest_cnimigrate.observe.record.writing import RecordWriter, record_files


def whole(state):
    return {kind: {key: state.get(kind, key) for key in state.keys(kind)} for kind in state.kinds()}


@pytest.mark.parametrize("names", [NODE_POOL, IN_PLACE], ids=["node-pool", "in-place"])
def test_every_state_can_be_had_again(tmp_path, names):
    heard = arrivals(*names)
    write_record(tmp_path, heard)
    state = State()
    for number, ((line, live), again) in enumerate(zip(tracked(heard), replay(tmp_path, state), strict=True)):
        assert again == line
        if number % 50 == 0:
            assert whole(state) == whole(live)
    assert whole(state) == whole(live)


def test_the_state_at_a_moment_can_be_asked_for(tmp_path):
    write_record(tmp_path, arrivals(*NODE_POOL))
    before = state_at(tmp_path, datetime(2026, 11, 22, 20, 39, 49, 700_000, UTC))
    after = state_at(tmp_path, datetime(2026, 11, 22, 20, 39, 49, 730_000, UTC))
    assert before.get("DaemonSet", "kube-system/kindnet") is not None
    assert after.get("DaemonSet", "kube-system/kindnet") is None


def test_a_line_holds_only_what_changed(tmp_path):
    write_record(tmp_path, arrivals("10-watch-pods"))
    lines = [json.loads(line) for line in record_files(tmp_path)[0].read_text().splitlines()]
    changed = [line for line in lines if line["op"] == "changed"]
    assert changed
    assert not any(
        "object" in line or "managedFields" in str(line) for line in lines if line["op"] != "added"
    )
    heard = sum(len(orjson.dumps(one.object)) for one in arrivals("10-watch-pods") if one.type == "MODIFIED")
    assert sum(len(orjson.dumps(line)) for line in changed) < heard / 2


def test_large_files_are_compressed_and_read_all_the_same(tmp_path):
    heard = arrivals("10-watch-pods")
    write_record(tmp_path / "one", heard)
    write_record(tmp_path / "many", heard, rotate_bytes=40_000)
    names = [path.name for path in record_files(tmp_path / "many")]
    assert len(names) > 3
    assert [name for name in names[:-1] if not name.endswith(".gz")] == []
    assert names[-1].endswith(".jsonl")
    assert list(read_record(tmp_path / "many")) == list(read_record(tmp_path / "one"))


def test_a_file_is_not_lost_when_the_process_dies_between_compressing_and_removing(tmp_path):
    write_record(tmp_path, arrivals("10-watch-nodes"))
    before = list(read_record(tmp_path))
    (plain,) = record_files(tmp_path)
    (tmp_path / f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / f"{plain.name}.gz.new").write_bytes(b"half")
    assert list(read_record(tmp_path)) == before


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    write_record(tmp_path, arrivals("10-watch-nodes"))
    (path,) = record_files(tmp_path)
    before = list(read_record(tmp_path))
    path.write_bytes(path.read_bytes()[:-5])
    assert list(read_record(tmp_path)) == before[:-1]


def test_going_on_with_a_record_keeps_what_is_there(tmp_path):
    """The recorder was killed in the middle of a line; the next one goes on from the last whole line."""
    heard = arrivals("10-watch-nodes")
    write_record(tmp_path, heard[:20])
    (path,) = record_files(tmp_path)
    path.write_bytes(path.read_bytes() + b'{"n": 99, "t')
    state, resumption = resume(tmp_path)
    with RecordWriter(tmp_path) as writer:
        mark = Mark(resumption.number + 1, resumption.time, "started")
        writer.append(orjson.dumps(as_json(mark)))
    assert "Node" in resumption.kinds
    assert whole(state_at(tmp_path)) == whole(state)
    assert list(read_record(tmp_path))[-1] == mark


def test_no_record_yet_is_nothing_to_go_on_with(tmp_path):
    state, resumption = resume(tmp_path)
    assert (state.kinds(), resumption) == ([], None)


def test_a_damaged_record_is_refused_with_file_and_line(tmp_path):
    write_record(tmp_path, arrivals("10-watch-nodes"))
    (path,) = record_files(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{broken\n" + b"".join(lines[1:]))
    with pytest.raises(RecordError, match=r"record-000001.jsonl, line 2: the record is damaged"):
        list(read_record(tmp_path))


def test_a_line_that_is_missing_is_noticed(tmp_path):
    write_record(tmp_path, arrivals("10-watch-nodes"))
    (path,) = record_files(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"op":"added"' not in line))
    with pytest.raises(RecordError, match="changed without having been there"):
        list(read_record(tmp_path))


def test_an_empty_folder_is_no_record(tmp_path):
    with pytest.raises(RecordError, match="holds no record"):
        list(read_record(tmp_path))


def test_a_record_of_a_newer_version_is_refused(tmp_path):
    line = {"n": 1, "t": "2026-11-22T20:00:00.000000Z", "op": "started", "kind": "", "format": 99}
    (tmp_path / "record-000001.jsonl").write_bytes(orjson.dumps(line) + b"\n")
    with pytest.raises(RecordError, match="format 99 is newer"):
        list(read_record(tmp_path))


def test_no_secret_reaches_the_disk_or_the_memory(tmp_path):
    pod = {
        "kind": "Pod",
        "metadata": {
            "name": "a",
            "namespace": "b",
            "uid": "1",
            "resourceVersion": "1",
            "managedFields": [{}],
        },
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "env": [{"name": "DB_PASSWORD", "value": "hunter22"}],
                    "args": ["--header=Authorization: Bearer abcdefghijkl"],
                }
            ]
        },
    }
    changed = json.loads(json.dumps(pod).replace("hunter22", "hunter33"))
    changed["metadata"] |= {"resourceVersion": "2", "labels": {"x": "y"}}
    now = datetime(2026, 11, 22, tzinfo=UTC)
    heard = [
        Arrival("Pod", now, kind, recorded(one)) for kind, one in (("ADDED", pod), ("MODIFIED", changed))
    ]
    write_record(tmp_path, heard)
    text = record_files(tmp_path)[0].read_text()
    assert "hunter" not in text
    assert "abcdefghijkl" not in text
    assert "managedFields" not in text
    added, changed_line = list(read_record(tmp_path))
    assert isinstance(added, Transition)
    assert added.new["spec"]["containers"][0]["env"][0]["value"] == REDACTED
    assert [change.path for change in changed_line.changes] == ["/metadata/labels"]


def test_only_its_owner_can_read_a_record(tmp_path):
    write_record(tmp_path, arrivals("10-watch-pods"), rotate_bytes=100_000)
    files = record_files(tmp_path)
    assert {path.suffix for path in files} == {".gz", ".jsonl"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
