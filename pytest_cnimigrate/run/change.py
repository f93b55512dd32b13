"""Changes: the only way in which anything is mutated, and how they are carried out.

A change is a small frozen dataclass: its fields are all it needs to know, so it can be written into the
journal and read back from there. It can say what it does, tell whether that already holds, refuse when it
would do harm, remember what was there before, apply itself, and undo itself with what it remembered.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.journal import Journal, Record, read_journal

Captured = dict[str, Any]
"""What was there before a change, as JSON: what undoing it needs."""


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

    def __call__(self, *changes: Change) -> None:
        for change in changes:
            self._carry_out(change)

    def undo(self, *changes: Change) -> None:
        """Undo changes that were made earlier in this journal; one that was never made is left alone."""
        for change in changes:
            self._undo(change)

    def note(self, text: str) -> None:
        """Tell the operator what is going on."""
        self._journal.append("note", text=text)

    def _carry_out(self, change: Change) -> None:
        entry: dict[str, Any] = {
            "id": 1 + max((record["id"] for record in self._started()), default=0),
            "change": change.kind,
            "description": change.describe(),
            "parameters": change.parameters,
        }
        site = Worksite(self._cluster, self.note)
        begun = time.monotonic()

        def seconds() -> float:
            return round(time.monotonic() - begun, 3)

        try:
            if change.holds(self._cluster):
                self._journal.append("change-held", **entry, seconds=seconds())
                return
            reason = change.refusal(self._cluster)
            if reason:
                raise ChangeRefusedError(f"refused to {change.describe()}: {reason}")
            # If this line cannot be written, the change must not happen: append raises.
            self._journal.append("change-started", sync=True, **entry, captured=change.capture(self._cluster))
            change.apply(site)
        except BaseException as error:
            self._journal.append(
                "change-failed",
                sync=True,
                **entry,
                seconds=seconds(),
                error=str(error) or type(error).__name__,
            )
            if isinstance(error, ChangeError) or not isinstance(error, Exception):
                raise
            raise ChangeError(f"could not {change.describe()}: {error}") from error
        self._journal.append("change-done", sync=True, **entry, seconds=seconds())

    def _undo(self, change: Change) -> None:
        made = [record for record in self._started() if self._is_of(record, change)]
        if not made:
            return
        entry: dict[str, Any] = {
            "id": made[-1]["id"],
            "change": change.kind,
            "description": f"undo: {change.describe()}",
            "parameters": change.parameters,
        }
        begun = time.monotonic()
        self._journal.append("undo-started", sync=True, **entry)
        try:
            change.undo(Worksite(self._cluster, self.note), made[-1]["captured"])
        except BaseException as error:
            self._journal.append(
                "change-failed", sync=True, **entry, error=str(error) or type(error).__name__
            )
            if isinstance(error, ChangeError) or not isinstance(error, Exception):
                raise
            raise ChangeError(f"could not undo: {change.describe()}: {error}") from error
        self._journal.append("change-undone", sync=True, **entry, seconds=round(time.monotonic() - begun, 3))

    def _started(self) -> list[Record]:
        return [record for record in read_journal(self._journal.path) if record["event"] == "change-started"]

    @staticmethod
    def _is_of(record: Record, change: Change) -> bool:
        # What stands in the journal went through JSON, where a tuple becomes a list.
        return bool(
            record["change"] == change.kind
            and record["parameters"] == json.loads(json.dumps(change.parameters))
        )
