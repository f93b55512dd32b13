"""Live lines in the terminal, in place of pytest's dots.

A thread in the controller reads what is appended to the journals and prints it; so the lines are the same
with and without pytest-xdist, whose workers have no terminal. They are shown at pytest's ordinary
verbosity: `-v` shows pytest's own lines (node ids, `NOT RUN`) instead, `-q` its dots.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TextIO

import pytest

from pytest_cnimigrate.plugin.narration import Line, Narrator
from pytest_cnimigrate.run.journal import Record, parse_line
from pytest_cnimigrate.run.scenario_run import ScenarioRun

_POLL_SECONDS = 0.1

_MARKUP: Mapping[str, dict[str, bool]] = {
    "heading": {"bold": True},
    "good": {"green": True},
    "bad": {"red": True},
    "warn": {"yellow": True},
    "dim": {"light": True},
}


def is_wanted(config: pytest.Config) -> bool:
    """Whether the live lines are to be shown."""
    return config.pluginmanager.hasplugin("terminalreporter") and config.get_verbosity() == 0


def replace_dots(config: pytest.Config) -> None:
    """Keep pytest from writing module names and percentages between the live lines."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    reporter.showfspath = False
    # No public switch once pytest has started; without it, one "[100%]" too many is written.
    reporter._show_progress_info = False


class Tail:
    """Reads the records that are appended to a journal, whole lines only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[Record]:
        """The records since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        complete, newline, _ = data.rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        return [record for line in complete.split(b"\n") if (record := parse_line(line)) is not None]


class LiveLines:
    """Prints what happens in the scenarios of this run while it happens."""

    def __init__(self, config: pytest.Config, runs: Iterable[ScenarioRun]) -> None:
        self._writer = config.get_terminal_writer()
        self._output = _own_output()
        runs = list(runs)
        several = len(runs) > 1
        self._told = [
            (f"[{run.scenario.name}] " if several else "", Tail(run.journal.path), Narrator()) for run in runs
        ]
        self._timestamps = not self._writer.hasmarkup or bool(os.environ.get("CI"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="cnimigrate-terminal", daemon=True)

    def start(self) -> None:
        """Begin to print."""
        sys.stdout.flush()  # What pytest has written so far comes first.
        self._thread.start()

    def close(self) -> None:
        """Print what is left, then let go of the terminal."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._tell()
        for prefix, _, narrator in self._told:
            self._print(prefix, narrator.flush())
        if self._output is not sys.stdout:
            self._output.close()

    def _follow(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self._tell()

    def _tell(self) -> None:
        for prefix, tail, narrator in self._told:
            for record in tail.read():
                self._print(prefix, narrator.tell(record))
            self._print(prefix, narrator.overdue())

    def _print(self, prefix: str, lines: Iterable[Line]) -> None:
        text = "".join(self._format(prefix, line) for line in lines)
        if not text:
            return
        try:
            self._output.write(text)
            self._output.flush()
        except (OSError, ValueError):
            pass  # Nobody reads the terminal any more; the journal has it all.

    def _format(self, prefix: str, line: Line) -> str:
        markup = _MARKUP.get(line.tone, {})
        stamp = f"{_local_time(line.t)} " if self._timestamps else ""
        blank = "\n" if line.tone == "heading" else ""
        body = "".join(
            f"{stamp}{prefix}{self._writer.markup(part, **markup) if markup else part}\n"
            for part in line.text.splitlines()
        )
        return blank + body


def _own_output() -> TextIO:
    """A way to the terminal that pytest's capturing does not redirect while a test runs.

    It duplicates the descriptor, because capturing replaces what is behind descriptor 1. Where standard
    output is no file (pytest run within a program), capturing leaves that object alone.
    """
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, ValueError, io.UnsupportedOperation):
        return sys.stdout
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return os.fdopen(descriptor, "w", encoding=encoding, errors="replace")


def _local_time(t: str) -> str:
    try:
        return f"{datetime.fromisoformat(t).astimezone():%H:%M:%S}"
    except ValueError:
        return "--:--:--"
