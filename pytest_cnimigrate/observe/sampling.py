"""Reachability over time: what was lost, for how long, between whom.

A sampler reads the matrix again and again in the background while the run goes on. Each pair's result carries
the time of its ping, so one ping is counted once however often it is read: a failed ping means that its pair
was unreachable since that pair's last ping (or since it was first seen, if there was none).
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pytest_cnimigrate.kube.errors import KubeError
from pytest_cnimigrate.observe.matrix import Matrix
from pytest_cnimigrate.observe.rows import State

PairKey = tuple[str, str]
"""(prober's uid, target's uid)."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What was lost while a sampler ran."""

    seconds: float
    """How long it sampled."""
    samples: int
    """How many matrices it read."""
    unreadable: int
    """How many it could not read: a gap in the record, not a loss."""
    pair_seconds: dict[str, float] = field(default_factory=dict)
    """By class (`old→new`): the time unreachable, added up over its pairs; a class without loss is 0."""


class Tally:
    """Adds up the losses of one matrix after the other."""

    def __init__(self) -> None:
        self._last: dict[PairKey, float] = {}
        self.pair_seconds: dict[str, float] = {}

    def add(self, matrix: Matrix) -> list[dict[str, object]]:
        """Count what is new in this matrix; returns the losses, each as one line for the record."""
        lost: list[dict[str, object]] = []
        for one, other in matrix.counts:
            self.pair_seconds.setdefault(f"{one}→{other}", 0.0)
        present = set()
        for pair in matrix.pairs(State.OK, State.FAILED):
            if pair.ping_time is None:
                continue
            key = (pair.prober.uid, pair.target.uid)
            present.add(key)
            before = self._last.get(key, pair.ping_time)
            self._last[key] = max(before, pair.ping_time)
            if pair.state is State.FAILED and pair.ping_time > before:
                seconds = pair.ping_time - before
                name = f"{pair.prober.node_class}→{pair.target.node_class}"
                self.pair_seconds[name] += seconds
                lost.append(
                    {
                        "from": pair.prober.name,
                        "to": pair.target.name,
                        "class": name,
                        "at": pair.ping_time,
                        "seconds": round(seconds, 3),
                        "reason": pair.reason,
                    }
                )
        # Pods that are gone need not be remembered for ever.
        for key in self._last.keys() - present:
            del self._last[key]
        return lost


class Sampler:
    """Reads the matrix in a thread of its own until it is stopped; every loss is one line in `path`."""

    def __init__(self, read: Callable[[], Matrix], path: Path, *, interval: float) -> None:
        self._read = read
        self._path = path
        self._interval = interval
        self._tally = Tally()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._begun = 0.0
        self._seconds = 0.0
        self._samples = 0
        self._unreadable = 0

    def start(self) -> None:
        """Begin to sample; a sampler that runs goes on."""
        if self._thread is None:
            self._begun = time.monotonic()
            self._thread = threading.Thread(target=self._run, name="reachability", daemon=True)
            self._thread.start()

    def stop(self) -> Losses:
        """End the sampling and say what was lost."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            self._seconds = time.monotonic() - self._begun
        return Losses(self._seconds, self._samples, self._unreadable, dict(self._tally.pair_seconds))

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                matrix = self._read()
            except KubeError as error:
                self._unreadable += 1
                self._write({"t": time.time(), "gap": str(error)})
                continue
            self._samples += 1
            for loss in self._tally.add(matrix):
                self._write({"t": time.time(), **loss})

    def _write(self, line: dict[str, object]) -> None:
        # The record of losses must never end the run; a full disk is the journal's to report.
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
