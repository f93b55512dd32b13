"""Judging a record: as it is written, or long after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from pytest_cnimigrate.observe.invariants.base import Invariant, Violation
from pytest_cnimigrate.observe.invariants.catalog import BUILT_IN, instances
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.ledger import Ledger, read_changes
from pytest_cnimigrate.observe.record.lines import Line, Mark, Transition
from pytest_cnimigrate.observe.record.reading import replay
from pytest_cnimigrate.observe.record.state import State
from pytest_cnimigrate.observe.record.writing import record_files

_SETTLING = timedelta(seconds=2)
"""After a gap, what happened meanwhile comes in all at once; only then does it count how long things last."""


class Judge:
    """Judges a record line by line. `hear` and `tick` fit `Recorder.subscribe`; one thread calls them."""

    def __init__(
        self, invariants: Sequence[Invariant], *, on_violation: Callable[[Violation], None] | None = None
    ) -> None:
        self.violations: list[Violation] = []
        """In the order in which they were found."""
        self._invariants = list(invariants)
        self._by_kind: dict[str, list[Invariant]] = {}
        for invariant in invariants:
            for kind in invariant.kinds:
                self._by_kind.setdefault(kind, []).append(invariant)
        self._on_violation = on_violation
        self._gaps: set[str] = set()
        self._settled: datetime | None = None
        self._state = State()

    def catch_up(self, folder: Path) -> None:
        """Hear what a folder's record holds already, before a recorder goes on with it.

        Violations in it have been told by whoever recorded it, so `on_violation` is not called for them.
        """
        if not record_files(folder):
            return
        told, self._on_violation = self._on_violation, None
        try:
            state = State()
            for line in replay(folder, state):
                self.hear(line, state)
        finally:
            self._on_violation = told

    def hear(self, line: Line, state: State) -> None:
        """Judge the next line of the record; `state` is what it has led to."""
        self._state = state
        self.tick(line.time)
        if isinstance(line, Mark):
            self._note(line)
            return
        for invariant in tuple(self._by_kind.get(line.kind, ())):
            self._ask(invariant, line, lambda rule: rule.judge(line, state))

    def tick(self, now: datetime) -> None:
        """Judge what time alone has brought about."""
        if self._gaps or (self._settled is not None and now < self._settled):
            return
        for invariant in tuple(self._invariants):
            self._ask(invariant, None, lambda rule: rule.elapsed(now, self._state))

    def _note(self, mark: Mark) -> None:
        match mark.operation:
            case "gap":
                self._gaps.add(mark.kind)
            case "resumed":
                self._gaps.discard(mark.kind)
                self._settled = mark.time + _SETTLING
            case "started":
                # Gaps that the recording before left open are found anew.
                self._gaps.clear()
            case _:
                pass

    def _ask(
        self,
        invariant: Invariant,
        transition: Transition | None,
        ask: Callable[[Invariant], Iterable[Violation]],
    ) -> None:
        try:
            found = list(ask(invariant))
        except Exception as error:  # a rule that breaks has not held: nobody knows any more
            self._retire(invariant)
            found = [_broken(invariant, transition, error)]
        for violation in found:
            self.violations.append(violation)
            if self._on_violation is not None:
                self._on_violation(violation)

    def _retire(self, invariant: Invariant) -> None:
        self._invariants.remove(invariant)
        for rules in self._by_kind.values():
            if invariant in rules:
                rules.remove(invariant)


def judge(
    folder: Path,
    journal: Path | Ledger | None = None,
    *,
    context: Context | None = None,
    invariants: Sequence[type[Invariant]] = BUILT_IN,
) -> list[Violation]:
    """The violations in a stored record, in their order.

    `journal` tells what the run itself changed (without one: nothing); `context` is by default what stands
    in the record's folder. Raises `RecordError` and `ContextError`.
    """
    ledger = read_changes(journal) if isinstance(journal, Path) else journal or Ledger()
    court = Judge(instances(context or Context.read(folder), ledger, invariants))
    state = State()
    for line in replay(folder, state):
        court.hear(line, state)
    return court.violations


def _broken(invariant: Invariant, transition: Transition | None, error: Exception) -> Violation:
    what = f"{type(error).__name__}: {error}"
    return Violation(
        invariant=invariant.name,
        object=transition.spoken if transition else "",
        time=transition.time if transition else datetime.now().astimezone(),
        sentence=f"the rule itself failed ({what}), so it is not known whether it held from here on",
        transition=transition.in_words() if transition else "Time passed",
        why=invariant.why,
        number=transition.number if transition else 0,
    )
