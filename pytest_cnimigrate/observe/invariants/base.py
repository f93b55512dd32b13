"""What an invariant is: a rule that holds at every moment of a migration, judged at every transition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.ledger import Ledger
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that did not hold."""

    invariant: str
    """The rule's name."""
    object: str
    """`Pod kube-system/aws-node-x7k2p`."""
    time: datetime
    sentence: str
    """What happened, for an operator."""
    transition: str
    """The object's last transition in words, from before to after."""
    why: str
    """The rule's reason."""
    number: int
    """The transition's place in the record."""

    def __str__(self) -> str:
        when = self.time.strftime("%H:%M:%S.%f")[:-3]
        return (
            f"{when} UTC: {self.sentence}. {self.transition} (line {self.number} of the record). "
            f"Rule {self.invariant}: {self.why}"
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "invariant": self.invariant,
            "object": self.object,
            "time": self.time.isoformat(),
            "sentence": self.sentence,
            "transition": self.transition,
            "why": self.why,
            "number": self.number,
        }


class Invariant(ABC):
    """A rule. One object judges one record from its start: it may keep what it needs of the transitions.

    A rule must not cost more on a larger cluster: it looks at the transition, and asks the state for single
    objects or by an index, never for all.
    """

    name: ClassVar[str]
    """In messages and reports: `old-cni-on-new-node`."""
    why: ClassVar[str]
    """The reason, with its source: one or two sentences."""
    kinds: ClassVar[Collection[str]]
    """The kinds whose transitions it wants to see."""

    def __init__(self, context: Context, ledger: Ledger) -> None:
        self.context = context
        self.ledger = ledger

    @classmethod
    def applies(cls, context: Context) -> bool:
        """Whether the rule is for this kind of migration at all."""
        return True

    @abstractmethod
    def judge(self, transition: Transition, state: State) -> Iterable[Violation]:
        """The violations that a transition brings about; `state` is what it has led to."""

    def elapsed(self, now: datetime, state: State) -> Iterable[Violation]:
        """The violations that time brings about: called often, and never during a gap in the record."""
        return ()

    def violation(self, transition: Transition, sentence: str, *, time: datetime | None = None) -> Violation:
        """A violation of this rule by this transition."""
        return Violation(
            invariant=self.name,
            object=transition.spoken,
            time=time or transition.time,
            sentence=sentence,
            transition=transition.in_words(),
            why=self.why,
            number=transition.number,
        )


@dataclass(frozen=True, slots=True)
class Overdue(Generic[Key]):
    """Something that has lasted too long."""

    key: Key
    transition: Transition
    """That began it."""
    time: datetime
    """When it became too long."""


class Lasting(Generic[Key]):
    """Things that may be so for a while: each is told once when it has lasted longer.

    The cost of asking does not depend on how many there are.
    """

    def __init__(self, seconds: float) -> None:
        self._patience = timedelta(seconds=seconds)
        # In the order of their beginning, so that the first is the first to be overdue.
        self._begun: dict[Key, Transition] = {}
        self._told: set[Key] = set()

    def __contains__(self, key: Key) -> bool:
        return key in self._begun or key in self._told

    def begin(self, key: Key, transition: Transition) -> None:
        """It is so since this transition, unless it has been so before."""
        if key not in self:
            self._begun[key] = transition

    def end(self, key: Key) -> None:
        """It is not so any more."""
        self._begun.pop(key, None)
        self._told.discard(key)

    def overdue(self, now: datetime) -> Iterator[Overdue[Key]]:
        """What has lasted too long by now and has not been told."""
        while self._begun:
            key, transition = next(iter(self._begun.items()))
            due = transition.time + self._patience
            if due > now:
                return
            del self._begun[key]
            self._told.add(key)
            yield Overdue(key, transition, due)
