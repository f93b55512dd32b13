"""Changes: the only way in which anything is mutated, and how they are carried out.

A change is a small frozen dataclass: its fields are all it needs to know, so it can be written into the
journal and read back from there. It can say what it does, tell whether that already holds, refuse when it
would do harm, remember what was there before, apply itself, and undo itself with what it remembered.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from pytest_cnimigrate.kube.errors import KubeError
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.attempts import Attempts, Captured
from pytest_cnimigrate.run.journal import Journal, JournalError

__all__ = [
    "Captured",
    "Change",
    "ChangeError",
    "ChangeRefusedError",
    "Migration",
    "Worksite",
    "change_from",
]


class ChangeError(Exception):
    """A change did not come about; the text names the object, the reason and what to do."""


class ChangeRefusedError(ChangeError):
    """A change was not tried, because it would do harm."""


@dataclass(frozen=True, slots=True)
class Worksite:
    """Where a change works: the cluster, and a line to the operator while it takes its time."""

    cluster: Cluster
    note: Callable[[str], None]
    """Tell the operator what is being waited for."""


class Change(ABC):
    """One mutation. Subclasses are frozen dataclasses and are registered by their `kind`."""

    kind: ClassVar[str]
    """The name in the journal, e.g. `label-node`."""
    registry: ClassVar[dict[str, type[Change]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        kind = cls.__dict__.get("kind")
        if kind is not None:
            # dataclass(slots=True) makes a class anew under the same name: that is the same change.
            known = Change.registry.get(kind)
            if known is not None and known.__qualname__ != cls.__qualname__:
                raise TypeError(f"two kinds of change are named {kind!r}: {known} and {cls}")
            Change.registry[kind] = cls

    @abstractmethod
    def describe(self) -> str:
        """What it does, in the operator's words: `label node ip-… with cni=aws-cni`."""

    @abstractmethod
    def holds(self, cluster: Cluster) -> bool:
        """Whether the cluster already is as this change would make it. Reads only."""

    def refusal(self, cluster: Cluster) -> str:
        """Why this change must not be made now, or "" when it may. Reads only."""
        return ""

    def capture(self, cluster: Cluster) -> Captured:
        """What `undo` will need to know of the state before. Reads only."""
        return {}

    @abstractmethod
    def apply(self, site: Worksite) -> None:
        """Make the change. Returns once the API has accepted it; checks wait for what follows from it."""

    @abstractmethod
    def undo(self, site: Worksite, captured: Captured) -> None:
        """Put back what was there before."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields, as they stand in the journal."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


def change_from(kind: str, parameters: dict[str, Any]) -> Change:
    """The change that a journal line tells of. Raises `ChangeError` for a kind that is not known."""
    try:
        cls = Change.registry[kind]
    except KeyError:
        raise ChangeError(
            f"the journal tells of a change of kind {kind!r}, which this version does not know"
        ) from None
    return cls(**parameters)


class Migration:
    """Carries out changes, one after the other, each journalled before and after.

    `migrate(change, …)` in a phase module is a call of this. A change that already holds is kept as it is;
    one that fails or is refused ends the test with a `ChangeError`.
    """

    def __init__(self, cluster: Cluster, journal: Journal) -> None:
        self._cluster = cluster
        self._journal = journal
        self._attempts = Attempts(journal)

    def __call__(self, *changes: Change) -> None:
        for change in changes:
            self._carry_out(change)

    def undo(self, *changes: Change) -> None:
        """Undo changes that were made earlier in this journal.

        A change that was never made here (because it held already), or has been undone since, is left alone.
        One that failed or was cut off may have come about all the same: it is undone if it holds.
        """
        for change in changes:
            self._undo(change)

    def note(self, text: str) -> None:
        """Tell the operator what is going on."""
        self._journal.append("note", text=text, awaited=True)

    def _carry_out(self, change: Change) -> None:
        identity = self._attempts.next_id()
        entry = _entry(identity, change, change.describe())
        begun = time.monotonic()
        try:
            if change.holds(self._cluster):
                self._journal.append("change-held", **entry, seconds=_since(begun))
                return
            reason = change.refusal(self._cluster)
            if reason:
                raise ChangeRefusedError(f"refused to {change.describe()}: {reason}")
            kept = self._attempts.keep(identity, change.capture(self._cluster))
            # If this line cannot be written, the change must not happen: append raises.
            self._journal.append("change-started", sync=True, **entry, **kept)
            change.apply(Worksite(self._cluster, self.note))
        except JournalError:
            raise  # There is no journal to tell it to.
        except BaseException as error:
            self._failed(entry, begun, error)
            if isinstance(error, ChangeError) or not isinstance(error, Exception):
                raise
            raise ChangeError(f"could not {change.describe()}: {error}") from error
        self._journal.append("change-done", sync=True, **entry, seconds=_since(begun))

    def _undo(self, change: Change) -> None:
        attempts = self._attempts.of(change.kind, change.parameters)
        begun = time.monotonic()
        description = f"undo: {change.describe()}"
        try:
            attempt = next((one for one in attempts if one.is_done or change.holds(self._cluster)), None)
        except KubeError as error:
            raise ChangeError(f"could not {description}: {error}") from error
        if attempt is None:
            self.note(f"nothing to undo: this run did not {change.describe()}, or has undone it already")
            return
        entry = _entry(attempt.id, change, description)
        self._journal.append("undo-started", sync=True, **entry)
        try:
            change.undo(Worksite(self._cluster, self.note), self._attempts.recall(attempt))
        except BaseException as error:
            self._failed(entry, begun, error)
            if isinstance(error, ChangeError) or not isinstance(error, Exception):
                raise
            raise ChangeError(f"could not {description}: {error}") from error
        self._journal.append("change-undone", sync=True, **entry, seconds=_since(begun))

    def _failed(self, entry: dict[str, Any], begun: float, error: BaseException) -> None:
        text = str(error) or type(error).__name__
        self._journal.append("change-failed", sync=True, **entry, seconds=_since(begun), error=text)


def _entry(identity: int, change: Change, description: str) -> dict[str, Any]:
    """The fields that every event of a change has."""
    return {
        "id": identity,
        "change": change.kind,
        "description": description,
        "parameters": change.parameters,
    }


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)
