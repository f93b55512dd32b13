"""An embedded cluster as a child process.

The child lives as long as its parent holds the pipe to its standard input: however the parent ends, a killed
one too, no process stays behind. `keep` cuts that tie; a kept cluster ends by itself after its time to live.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_cnimigrate.simulator.settings import ClusterSettings

START_SECONDS = 120.0
"""The longest that a cluster may take until its nodes are Ready; a small one takes about 4 s."""
STOP_SECONDS = 10.0


class SimulatorError(Exception):
    """The embedded cluster did not come up; the text says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach an embedded cluster."""

    pid: int
    server: str
    cloud: str
    """Endpoint URL of the AWS API."""
    kubeconfig: dict[str, Any] = field(repr=False)
    """Holds a token: write it to files with mode 0600 only."""


class SimulatorProcess:
    """A running child."""

    def __init__(self, child: subprocess.Popen[str], address: Address, log: Path) -> None:
        self._child = child
        self._log = log
        self.address = address

    @classmethod
    def start(cls, settings: ClusterSettings, log: Path, *, keep_hours: float = 8.0) -> SimulatorProcess:
        """Start a cluster and return once its nodes are Ready and its workloads run.

        What it logs goes to `log`. Raises `SimulatorError`.
        """
        with log.open("ab") as output:
            child = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [
                    sys.executable,
                    "-m",
                    "pytest_cnimigrate.simulator",
                    "serve",
                    "--keep-hours",
                    str(keep_hours),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                # Ctrl-C is for the parent: it needs the cluster while it tears down.
                start_new_session=True,
            )
        try:
            return cls(child, _greet(child, settings, log), log)
        except BaseException:
            _end(child)
            raise

    def keep(self) -> None:
        """Let the cluster live on when this process ends."""
        if self._child.stdin:
            with contextlib.suppress(OSError):
                self._child.stdin.write("keep\n")
                self._child.stdin.flush()
                # Once it has answered, nobody takes it for a part of this run any more.
                _line(self._child, STOP_SECONDS)
            with contextlib.suppress(OSError):
                self._child.stdin.close()
        if self._child.stdout:
            self._child.stdout.close()
        # It is not ours to wait for any more; without this Popen would warn of it.
        self._child.returncode = 0

    def stop(self) -> None:
        """End the cluster and wait until it is gone."""
        _end(self._child)

    def why_ended(self) -> str:
        """That the cluster is no more, and where to look for the reason; "" while it runs."""
        status = self._child.poll()
        if status is None:
            return ""
        how = f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
        return f"the embedded cluster {how}; what it said last is in {self._log}"


def _greet(child: subprocess.Popen[str], settings: ClusterSettings, log: Path) -> Address:
    """Hand over the settings and wait for the address."""
    assert child.stdin is not None  # noqa: S101  # for the type checker: it is a pipe
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(json.dumps(settings.as_json()) + "\n")
        child.stdin.flush()
    begun = time.monotonic()
    line = _line(child, START_SECONDS)
    if not line:
        child.wait()
        if time.monotonic() - begun >= START_SECONDS:
            raise SimulatorError(f"it was not ready after {START_SECONDS:g} s: {_last_words(log)}")
        raise SimulatorError(f"the embedded cluster ended before it was ready: {_last_words(log)}")
    answer = json.loads(line)
    if "error" in answer:
        raise SimulatorError(answer["error"])
    return Address(**answer)


def _line(child: subprocess.Popen[str], seconds: float) -> str:
    """The next line of what the child says; empty if it ends, or is ended for taking too long."""
    assert child.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
    # A readline cannot time out.
    watchdog = threading.Timer(seconds, child.kill)
    watchdog.start()
    try:
        return child.stdout.readline()
    finally:
        watchdog.cancel()


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1].strip()} (all of it in {log})" if lines else f"it said nothing (see {log})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(child: subprocess.Popen[str]) -> None:
    if child.stdin:
        with contextlib.suppress(OSError):
            child.stdin.close()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout:
        child.stdout.close()


def write_kubeconfig(kubeconfig: dict[str, Any], path: Path) -> None:
    """Write a kubeconfig that only its owner can read. JSON is YAML."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(kubeconfig, file, indent=2)
        file.write("\n")
