"""The course of a run in the operator's words: from journal records to lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_cnimigrate.run.journal import Record

# A change that takes longer is announced, so that nobody wonders what is going on.
_ANNOUNCE_AFTER = 3.0

# What is being waited for is told after so long without any other line, and again as it changes.
_TELL_EVERY = 3.0

_INDENT = " " * 11


@dataclass(frozen=True, slots=True)
class Line:
    """A line for the terminal."""

    text: str
    tone: str = ""
    """`heading`, `good`, `bad`, `warn`, `dim` or plain."""
    t: str = ""
    """When that happened, as in the journal."""


class Narrator:
    """Tells one scenario's journal, record by record."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phases: list[str] = []
        self._pending: dict[object, tuple[float, Record]] = {}
        self._changes_told = 0
        self._not_run: list[Record] = []
        self._awaited: Record | None = None
        self._told_at = clock()

    def tell(self, record: Record) -> Iterator[Line]:
        """The lines for the next record; none for most."""
        self._awaited = record if record["event"] == "note" and record.get("awaited") else None
        if self._awaited:
            return
        for line in self._lines(record):
            self._told_at = self._clock()
            yield line

    def _lines(self, record: Record) -> Iterator[Line]:
        is_not_run = record["event"] == "test-finished" and record.get("outcome") == "not-run"
        if self._not_run and not is_not_run and record["event"] != "phase-finished":
            yield from self.flush()
        match record["event"]:
            case "run-started":
                self._phases = [phase["name"] for phase in record["phases"]]
            case "collected":
                yield from self._collected(record)
            case "phase-started":
                yield self._heading(record)
            case "test-started":
                self._changes_told = 0
            case "test-finished" if is_not_run:
                self._not_run.append(record)
            case "test-finished":
                yield from self._finished(record)
            case "note":
                yield _line("", record, record["text"], "dim")
            case "interrupted":
                yield _line("STOPPED", record, f"{record['signal']}: taking down what was set up", "bad")
            case event if event.startswith("change-"):
                yield from self._change(event, record)

    def overdue(self) -> Iterator[Line]:
        """Lines for what has been going on for a while: changes under way, and what is waited for."""
        if self._awaited and self._clock() - self._told_at >= _TELL_EVERY:
            yield _line("", self._awaited, self._awaited["text"], "dim")
            self._told_at, self._awaited = self._clock(), None
        for key, (since, record) in list(self._pending.items()):
            if self._clock() - since >= _ANNOUNCE_AFTER:
                del self._pending[key]
                yield _line("doing", record, f"{record['description']} …", "dim")

    def flush(self) -> Iterator[Line]:
        """The steps that were not run, in one line."""
        if self._not_run:
            first = self._not_run[0]
            phases = len({record["phase"] for record in self._not_run})
            tests = _count(len(self._not_run), "test")
            reason = first.get("message", "").removeprefix("not run: ")
            yield _line("not run", first, f"{tests} in {_count(phases, 'phase')}", "warn")
            if reason:
                yield _line("", first, reason, "warn")
            self._not_run = []

    def _heading(self, record: Record) -> Line:
        name = record["phase"]
        place = f" {self._phases.index(name) + 1} of {len(self._phases)}" if name in self._phases else ""
        return Line(f"phase{place}: {record['title']}", "heading", record["t"])

    def _collected(self, record: Record) -> Iterator[Line]:
        picked = {item["phase"] for item in record["items"]}
        left_out = [phase for phase in self._phases if phase not in picked]
        if left_out:
            text = f"{len(self._phases) - len(left_out)} of {len(self._phases)} phases; without "
            yield _line("picked", record, text + ", ".join(left_out), "warn")

    def _change(self, event: str, record: Record) -> Iterator[Line]:
        if event == "change-started":
            self._pending[record["id"]] = (self._clock(), record)
            return
        self._pending.pop(record["id"], None)
        self._changes_told += 1
        description = record["description"]
        if event == "change-done":
            yield _line("changed", record, description, "good")
        elif event == "change-held":
            yield _line("kept", record, f"{description} (already so)")
        elif event == "change-undone":
            yield _line("undone", record, description.removeprefix("undo: "), "warn")
        elif event == "change-failed":
            yield _line("FAILED", record, description, "bad")

    def _finished(self, record: Record) -> Iterator[Line]:
        title, message = record["title"], record.get("message", "")
        if record["outcome"] == "failed":
            yield _line("FAILED", record, title, "bad")
            if message:
                yield _line("", record, message, "bad")
        elif record["outcome"] == "skipped":
            yield _line("skipped", record, f"{title} ({message})" if message else title, "warn")
        elif record["kind"] != "action":
            yield _line("ok", record, title, "good")
        elif not self._changes_told:  # Else its changes have told what it did.
            yield _line("done", record, title, "good")


def _line(word: str, record: Record, text: str, tone: str = "") -> Line:
    first, *rest = text.splitlines() or [""]
    whole = "\n".join([f"  {word:<8} {first}", *(f"{_INDENT}{line}" for line in rest)])
    return Line(whole.rstrip(), tone, record["t"])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
