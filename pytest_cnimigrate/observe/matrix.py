"""Who reaches whom: goldpinger's results pair by pair, judged.

`/cluster_health` is not used: it never looks at a pair's result, and sees only what the pod that answers can
reach. Here every prober's own row counts, and what is missing is not taken for good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from pytest_cnimigrate.observe import problems
from pytest_cnimigrate.observe.rows import NEVER, PodRow, Roster, Row, State, TargetResult, remap, silent_row


@dataclass(frozen=True, slots=True)
class PairResult:
    """What is known of one ordered pair."""

    prober: PodRow
    target: PodRow
    state: State
    reason: str = ""
    ping_time: float | None = None
    """When, in seconds since 1970 by the prober's clock; comparable only with its own."""
    latency_ms: int = 0

    def __str__(self) -> str:
        text = f"{self.prober} → {self.target}"
        return f"{text}: {self.reason}" if self.reason else text


@dataclass(frozen=True, slots=True)
class Counts:
    """How many pairs there are, and in which state."""

    pairs: int = 0
    ok: int = 0
    failed: int = 0
    stale: int = 0
    unknown: int = 0
    absent: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def as_dict(self) -> dict[str, int]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What has to be there for a green matrix to mean anything (six good pods of seven are not green)."""

    pods: int | None = None
    """How many goldpinger pods, if known: the DaemonSet's desired number and the Deployment's replicas."""
    nodes: frozenset[str] = frozenset()
    """Nodes that need at least one goldpinger pod each."""


@dataclass(frozen=True, slots=True)
class FreshnessBarrier:
    """Where each prober stood at one moment, by its own clock: no two machines' clocks are compared."""

    newest: Mapping[str, float] = field(default_factory=dict)
    """By the prober's uid, when it pinged last."""


class Matrix:
    """The pairs of all goldpinger pods at one moment. Immutable."""

    def __init__(
        self,
        roster: Roster,
        rows: Mapping[str, Row],
        *,
        classes: Mapping[str, str] | None = None,
        expected: Expectation | None = None,
    ) -> None:
        """`rows` by pod name, each in the roster's order; `classes` by node, for messages."""
        self._roster = roster
        self._rows = tuple(
            rows.get(pod.name) or silent_row(roster, pod.silent or "it was not asked") for pod in roster.pods
        )
        self.classes: Mapping[str, str] = classes or {}
        self.expected = expected or Expectation()

    @classmethod
    def joined(
        cls,
        asked: Roster,
        rows: Mapping[str, Row],
        present: Iterable[PodRow],
        *,
        classes: Mapping[str, str],
        expected: Expectation | None = None,
    ) -> Matrix:
        """Rows read from the pods of `asked`, of which only those still `present` count (by uid)."""
        now = Roster(present)
        uids = {pod.name: pod.uid for pod in asked.pods}
        if now.pods == asked.pods:
            return cls(asked, rows, classes=classes, expected=expected)
        kept = {
            pod.name: remap(rows[pod.name], asked, now)
            for pod in now.pods
            if pod.name in rows and uids[pod.name] == pod.uid
        }
        return cls(now, kept, classes=classes, expected=expected)

    @property
    def pods(self) -> tuple[PodRow, ...]:
        return self._roster.pods

    def pair(self, prober: str, target: str) -> PairResult:
        """What is known of one pair, by pod names; raises `KeyError` for a pod that is not there."""
        return self._pair(self._roster.index[prober], self._roster.index[target])

    def pairs(self, *states: State) -> Iterator[PairResult]:
        """All expected pairs, or those in one of `states`."""
        wanted = states or tuple(state for state in State if state is not State.NONE)
        for prober, row in enumerate(self._rows):
            for target, code in enumerate(row.codes):
                if code in wanted:
                    yield self._pair(prober, target)

    def pairs_between(self, one: str, other: str, state: State) -> Iterator[PairResult]:
        """The pairs of two classes that are in a state."""
        slices = self._roster.classes()
        start, end = slices[other]
        for prober in range(*slices[one]):
            codes = self._rows[prober].codes
            target = codes.find(state, start, end)
            while target >= 0:
                yield self._pair(prober, target)
                target = codes.find(state, target + 1, end)

    def probes(self) -> Iterator[tuple[PodRow, TargetResult]]:
        """Every pod's probes of DNS names, TCP and HTTP targets."""
        for pod, row in zip(self.pods, self._rows, strict=True):
            for result in row.probes:
                yield pod, result

    def silent(self) -> list[tuple[PodRow, str]]:
        """The pods that could not be asked, and why."""
        return [(pod, row.silent) for pod, row in zip(self.pods, self._rows, strict=True) if row.silent]

    @cached_property
    def counts(self) -> dict[tuple[str, str], Counts]:
        """The pairs' states by (prober's class, target's class); the own pod included where it was pinged."""
        slices = self._roster.classes()
        counts: dict[tuple[str, str], Counts] = {}
        for prober_class, (first, last) in slices.items():
            for target_class, (start, end) in slices.items():
                number = Counter[State]()
                for row in self._rows[first:last]:
                    for state in State:
                        number[state] += row.codes.count(state, start, end)
                size = (last - first) * (end - start) - number[State.NONE]
                counts[prober_class, target_class] = Counts(
                    size,
                    number[State.OK],
                    number[State.FAILED],
                    number[State.STALE],
                    number[State.UNKNOWN],
                    number[State.ABSENT],
                )
        return counts

    @cached_property
    def total(self) -> Counts:
        return sum(self.counts.values(), Counts())

    @property
    def is_complete(self) -> bool:
        """Whether every expected pod and node is there and every ordered pair has a (fresh) result."""
        return (
            bool(self.pods)
            and not problems.missing(self)
            and self.total.ok + self.total.failed == self.total.pairs
        )

    @property
    def is_good(self) -> bool:
        """Whether it is complete and everything in it succeeded."""
        return not self.problems()

    def barrier(self) -> FreshnessBarrier:
        """Where every prober stands now, to be compared with a later matrix (`since`, `newer_than`).

        A ping that is under way at this moment (goldpinger's PING_TIMEOUT, 300 ms) counts as later.
        """
        return FreshnessBarrier(
            {
                pod.uid: row.newest
                for pod, row in zip(self.pods, self._rows, strict=True)
                if not row.silent and row.newest > NEVER
            }
        )

    def newer_than(self, barrier: FreshnessBarrier) -> bool:
        """Whether every result there is was obtained after the barrier.

        Probers that the barrier does not know count as fresh. Missing results are `is_complete`'s business.
        """
        return not any(any(_stale(row, limit)) for row, limit in self._limited(barrier))

    def since(self, barrier: FreshnessBarrier) -> Matrix:
        """The same matrix in which results from before the barrier are stale, whether good or bad."""
        rows = {pod.name: row for pod, row in zip(self.pods, self._rows, strict=True)}
        for pod, row in zip(self.pods, self._rows, strict=True):
            limit = barrier.newest.get(pod.uid)
            if limit is None or row.silent:
                continue
            stale = list(_stale(row, limit))
            if stale:
                codes = bytearray(row.codes)
                for place in stale:
                    codes[place] = State.STALE
                reasons = row.reasons | dict.fromkeys(stale, "not pinged again yet")
                rows[pod.name] = Row(bytes(codes), row.times, row.latencies, reasons, row.newest, row.probes)
        return Matrix(self._roster, rows, classes=self.classes, expected=self.expected)

    def problems(self) -> list[str]:
        """What is wrong, in the operator's words, the worst first; empty if nothing is."""
        return problems.of(self)

    def summary(self) -> dict[str, Any]:
        """The numbers, for the journal."""
        probes = [result for _, result in self.probes()]
        return {
            "pods": len(self.pods),
            "expected_pods": self.expected.pods,
            **self.total.as_dict(),
            "complete": self.is_complete,
            "classes": {f"{one}→{other}": counts.as_dict() for (one, other), counts in self.counts.items()},
            "probes": {"checked": len(probes), "failed": sum(not result.ok for result in probes)},
        }

    def _pair(self, prober: int, target: int) -> PairResult:
        row = self._rows[prober]
        one, other = self.pods[prober], self.pods[target]
        state = State(row.codes[target])
        if row.silent:
            return PairResult(one, other, state, row.silent)
        pinged = row.times[target]
        return PairResult(
            one,
            other,
            state,
            row.reasons.get(target, ""),
            pinged if pinged > NEVER else None,
            row.latencies[target],
        )

    def _limited(self, barrier: FreshnessBarrier) -> Iterator[tuple[Row, float]]:
        for pod, row in zip(self.pods, self._rows, strict=True):
            limit = barrier.newest.get(pod.uid)
            if limit is not None and not row.silent:
                yield row, limit


def _stale(row: Row, limit: float) -> Iterator[int]:
    """Places of results that are not later than the limit."""
    judged = (State.OK, State.FAILED)
    for place, pinged in enumerate(row.times):
        if pinged <= limit and row.codes[place] in judged:
            yield place
