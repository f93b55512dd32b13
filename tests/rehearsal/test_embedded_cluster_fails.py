"""When the embedded cluster itself cannot start or dies, the run ends at once and in plain words."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cnimigrate.run.journal import read_journal

ROOT = Path(__file__).parents[2]


def command(out: Path, *settings: str) -> list[str]:
    arguments = ["scenarios/node_pool", "--cni-out", str(out), "-p", "no:cacheprovider"]
    for setting in ("simulator.speed=60", *settings):
        arguments += ["--cni-set", setting]
    return [sys.executable, "-m", "pytest", *arguments]


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run(
            command(tmp_path / "out", f"simulator.port={port}"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    shown = result.stdout.partition("= ERRORS =")[2].partition("generated xml file")[0]
    lines = [line for line in shown.splitlines() if line.strip("=_- ")]
    assert lines[1:] == [
        f"the embedded cluster did not start: port {port} of 127.0.0.1 is in use: "
        "stop what listens there, or choose another port"
    ]
    assert (tmp_path / "out" / "index.html").exists()


def test_a_cluster_that_is_killed_ends_the_run_long_before_any_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    run = subprocess.Popen(
        command(tmp_path / "out", "timeouts.rollout=10m", "timeouts.mesh=10m"),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert run.stdout is not None
    seen = []
    for line in run.stdout:
        seen.append(line)
        if "phase 3 of 13" in line:
            (entry,) = (tmp_path / "cnimigrate" / "simulators").glob("*.json")
            os.kill(json.loads(entry.read_text())["pid"], signal.SIGKILL)
            break
    output = "".join(seen) + run.communicate(timeout=60)[0]
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "the embedded cluster was killed by SIGKILL; what it said last is in " in output
    assert "urllib3" not in output
    records = read_journal(tmp_path / "out" / "node-pool" / "journal.jsonl")
    assert records[-1]["event"] == "run-finished"
    assert records[-1]["seconds"] < 60
    assert not any(r["event"] == "phase-started" and r["phase"] == "fence-old-cni" for r in records)
