"""Reachability over time: what was lost, for how long, between whom.

A sampler reads the matrix again and again in the background while the run goes on. Each result carries the
time of its ping, so one ping is counted once however often it is read: a failed ping means that its pair
was unreachable since its last ping. Both times are of one prober, so no two clocks are compared.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pytest_cnimigrate.observe.matrix import Matrix, PairResult
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
    vanished: float = 0.0
    """The same over pairs that never recovered because one of their pods went away: its node was being
    removed, or it was deleted. goldpinger goes on to ping such pods for a while; nobody missed them."""


@dataclass(slots=True)
class _Pair:
    """What is known of one pair so far."""

    class_name: str
    pinged: float
    """When, by the prober's clock, it was pinged last."""
    open: list[dict[str, object]] = field(default_factory=list)
    """The losses since its last success: of a kind that only its next success, or its end, will tell."""


class Tally:
    """Adds up the losses of one matrix after the other."""

    def __init__(self) -> None:
        self._pairs: dict[PairKey, _Pair] = {}
        self.pair_seconds: dict[str, float] = {}
        self.vanished = 0.0

    def add(self, matrix: Matrix) -> list[dict[str, object]]:
        """Count what is new in this matrix; returns the losses that are now certain, a line each."""
        for one, other in matrix.counts:
            self.pair_seconds.setdefault(f"{one}→{other}", 0.0)
        certain: list[dict[str, object]] = []
        for result in matrix.pairs(State.OK, State.FAILED):
            if result.ping_time is not None:
                certain += self._count(result, result.ping_time)
        present = {pod.uid for pod in matrix.pods}
        for key in [key for key in self._pairs if not present.issuperset(key)]:
            certain += self._close(self._pairs.pop(key), vanished=True)
        return certain

    def finish(self) -> list[dict[str, object]]:
        """Nothing more comes: what is still unreachable is lost."""
        certain = [line for pair in self._pairs.values() for line in self._close(pair, vanished=False)]
        self._pairs.clear()
        return certain

    def _count(self, result: PairResult, pinged: float) -> list[dict[str, object]]:
        key = (result.prober.uid, result.target.uid)
        name = f"{result.prober.node_class}→{result.target.node_class}"
        pair = self._pairs.setdefault(key, _Pair(name, pinged))
        if pinged <= pair.pinged:
            return []
        since, pair.pinged = pair.pinged, pinged
        if result.state is State.OK:
            return self._close(pair, vanished=False)
        pair.open.append(
            {
                "from": result.prober.name,
                "to": result.target.name,
                "class": pair.class_name,
                "at": pinged,
                "seconds": round(pinged - since, 3),
                "reason": result.reason,
            }
        )
        return []

    def _close(self, pair: _Pair, *, vanished: bool) -> list[dict[str, object]]:
        lines = [line | {"vanished": vanished} for line in pair.open]
        seconds = sum(float(str(line["seconds"])) for line in lines)
        pair.open.clear()
        if vanished:
            self.vanished += seconds
        else:
            self.pair_seconds[pair.class_name] = self.pair_seconds.get(pair.class_name, 0.0) + seconds
        return lines


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
            self._stop.clear()
            self._begun = time.monotonic()
            self._thread = threading.Thread(target=self._run, name="reachability", daemon=True)
            self._thread.start()

    def stop(self, *, look: bool = True) -> Losses:
        """End the sampling and say what was lost, after one last `look`.

        Without it, pairs of a pod that went away since the one before would count as lost.
        """
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            if look:
                self._sample()
            self._seconds += time.monotonic() - self._begun
            self._write_all(self._tally.finish())
        return Losses(
            self._seconds,
            self._samples,
            self._unreadable,
            dict(self._tally.pair_seconds),
            self._tally.vanished,
        )

    def _run(self) -> None:
        pause = self._interval
        while not self._stop.wait(pause):
            begun = time.monotonic()
            self._sample()
            # All answers come through the API server: at most half of the time is spent asking.
            pause = max(self._interval, time.monotonic() - begun)

    def _sample(self) -> None:
        try:
            matrix = self._read()
        except Exception as error:  # whatever it is: a sampler that dies in silence would report no loss
            self._unreadable += 1
            self._write_all([{"gap": str(error) or type(error).__name__}])
        else:
            self._samples += 1
            self._write_all(self._tally.add(matrix))

    def _write_all(self, lines: list[dict[str, object]]) -> None:
        # The record of losses must never end the run; a full disk is the journal's to report.
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            for line in lines:
                file.write(json.dumps({"t": round(time.time(), 3), **line}, ensure_ascii=False) + "\n")
