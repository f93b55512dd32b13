"""Carrying out changes: told to the journal before and after, made once, undone once."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pytest_cnimigrate.kube.errors import ApiTimeout, Attempt
from pytest_cnimigrate.run.change import (
    Captured,
    Change,
    ChangeError,
    ChangeRefusedError,
    Migration,
    Worksite,
    change_from,
)
from pytest_cnimigrate.run.journal import Journal, JournalError, read_journal


@dataclass
class World:
    """Stands in for a cluster: named values, and what happens when one is set."""

    values: dict[str, Any] = field(default_factory=dict)
    trouble: BaseException | None = None
    """Raised by the next apply or undo, after the value has been set if `too_late`."""
    too_late: bool = False
    log: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Paint(Change):
    """Sets one value of the world."""

    kind: ClassVar[str] = "test-paint"

    what: str
    colour: Any

    def describe(self) -> str:
        return f"paint {self.what} {self.colour}"

    def holds(self, cluster: Any) -> bool:
        return self.what in cluster.values and cluster.values[self.what] == self.colour

    def refusal(self, cluster: Any) -> str:
        return "it is listed" if cluster.values.get("listed") == self.what else ""

    def capture(self, cluster: Any) -> Captured:
        return {"before": cluster.values.get(self.what)}

    def apply(self, site: Worksite) -> None:
        site.note(f"brush in hand for {self.what}")
        self._set(site.cluster, self.colour)

    def undo(self, site: Worksite, captured: Captured) -> None:
        self._set(site.cluster, captured["before"])

    def _set(self, world: Any, colour: Any) -> None:
        trouble, world.trouble = world.trouble, None
        if trouble is None or world.too_late:
            world.values[self.what] = colour
            world.log.append(f"{self.what}={colour}")
        if trouble is not None:
            raise trouble


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


@pytest.fixture
def world() -> World:
    return World({"door": "white"})


@pytest.fixture
def migrate(world: World, journal: Journal) -> Migration:
    return Migration(world, journal)  # type: ignore[arg-type]


def events(journal: Journal) -> list[tuple[str, int | None]]:
    return [(record["event"], record.get("id")) for record in read_journal(journal.path)]


def last(journal: Journal) -> Any:
    return read_journal(journal.path)[-1]


# --- making changes ----------------------------------------------------------------------------------------


def test_a_change_is_told_before_and_after_with_what_was_there(migrate, world, journal):
    migrate(Paint("door", "red"))
    started, note, done = read_journal(journal.path)
    assert started["event"] == "change-started"
    assert started["change"] == "test-paint"
    assert started["description"] == "paint door red"
    assert started["parameters"] == {"what": "door", "colour": "red"}
    assert started["captured"] == {"before": "white"}
    assert note["text"] == "brush in hand for door"
    assert (done["event"], done["id"]) == ("change-done", started["id"])
    assert done["seconds"] >= 0
    assert world.values["door"] == "red"


def test_a_change_that_holds_is_kept_as_it_is(migrate, world, journal):
    migrate(Paint("door", "white"))
    assert events(journal) == [("change-held", 1)]
    assert world.log == []


def test_a_change_that_would_do_harm_is_refused_with_the_reason(migrate, world, journal):
    world.values["listed"] = "door"
    with pytest.raises(ChangeRefusedError, match="refused to paint door red: it is listed"):
        migrate(Paint("door", "red"))
    assert events(journal) == [("change-failed", 1)]
    assert last(journal)["error"] == "refused to paint door red: it is listed"
    assert world.log == []


def test_a_change_that_fails_says_what_could_not_be_done_and_the_next_one_is_not_tried(
    migrate, world, journal
):
    world.trouble = ApiTimeout(Attempt("patch", "node a", "https://api"), "no answer within 30 s")
    with pytest.raises(ChangeError, match="could not paint door red: cannot patch node a at https://api"):
        migrate(Paint("door", "red"), Paint("roof", "blue"))
    assert [event for event, _ in events(journal)] == ["change-started", "note", "change-failed"]
    assert "roof" not in world.values


def test_a_change_that_is_interrupted_is_told_as_failed(migrate, world, journal):
    world.trouble = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        migrate(Paint("door", "red"))
    assert last(journal)["event"] == "change-failed"
    assert last(journal)["error"] == "KeyboardInterrupt"


def test_ids_are_unique_whatever_became_of_the_changes(migrate, world, journal):
    migrate(Paint("door", "white"), Paint("door", "red"))
    world.values["listed"] = "roof"
    with pytest.raises(ChangeRefusedError):
        migrate(Paint("roof", "blue"))
    # A fixture of its own in every test, but one journal: also of the run before.
    Migration(world, journal)(Paint("wall", "green"), Paint("wall", "green"))
    assert [pair for pair in events(journal) if pair[0] != "note"] == [
        ("change-held", 1),
        ("change-started", 2),
        ("change-done", 2),
        ("change-failed", 3),
        ("change-started", 4),
        ("change-done", 4),
        ("change-held", 5),
    ]


def test_a_change_does_not_happen_when_the_journal_cannot_be_written(migrate, world, journal, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pytest_cnimigrate.run.journal.os.write", full)
    with pytest.raises(JournalError, match="No space left on device"):
        migrate(Paint("door", "red"))
    assert world.log == []


def test_a_journal_line_tells_which_change_it_was():
    assert change_from("test-paint", {"what": "door", "colour": "red"}) == Paint("door", "red")
    with pytest.raises(ChangeError, match="a change of kind 'time-travel', which this version does not know"):
        change_from("time-travel", {})


def test_two_kinds_of_change_cannot_have_one_name():
    with pytest.raises(TypeError, match="two kinds of change are named 'test-paint'"):
        type("Other", (Paint,), {"kind": "test-paint", "__qualname__": "Other"})


# --- undoing them ------------------------------------------------------------------------------------------


def test_undoing_puts_back_what_was_there_and_says_of_which_change(migrate, world, journal):
    migrate(Paint("door", "red"))
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "white"
    assert events(journal)[-2:] == [("undo-started", 1), ("change-undone", 1)]
    assert last(journal)["description"] == "undo: paint door red"


def test_a_later_run_undoes_what_an_earlier_one_did(migrate, world, journal):
    migrate(Paint("door", "red"))
    reopened = Journal(journal.path)
    Migration(world, reopened).undo(Paint("door", "red"))
    reopened.close()
    assert world.values["door"] == "white"


@pytest.mark.parametrize(
    "change", [Paint("door", "white"), Paint("roof", "blue")], ids=["held", "never tried"]
)
def test_what_this_run_did_not_do_is_not_undone(migrate, world, journal, change):
    migrate(Paint("door", "white"))
    migrate.undo(change)
    assert world.log == []
    assert last(journal)["event"] == "note"
    assert last(journal)["text"].startswith("nothing to undo: this run did not paint")


def test_what_is_undone_is_not_undone_again(migrate, world):
    migrate(Paint("door", "red"))
    migrate.undo(Paint("door", "red"))
    world.values["door"] = "green"
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "green"


def test_what_was_made_again_after_an_undo_can_be_undone_again(migrate, world):
    migrate(Paint("door", "red"))
    migrate.undo(Paint("door", "red"))
    world.values["door"] = "green"
    migrate(Paint("door", "red"))
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "green"


def test_the_newest_of_two_is_undone(migrate, world):
    """Somebody put it back in between (GitOps does): what stood there last is what must stand there again."""
    migrate(Paint("door", "red"))
    world.values["door"] = "yellow"
    migrate(Paint("door", "red"))
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "yellow"
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "yellow"


def test_another_change_of_the_same_kind_is_left_alone(migrate, world):
    migrate(Paint("door", "red"), Paint("roof", "blue"))
    migrate.undo(Paint("door", "red"))
    assert world.values == {"door": "white", "roof": "blue"}


def test_a_change_that_failed_and_did_not_come_about_is_not_undone(migrate, world):
    world.trouble = ApiTimeout(Attempt("patch", "door", "https://api"), "refused")
    with pytest.raises(ChangeError):
        migrate(Paint("door", "red"))
    world.values["door"] = "green"
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "green"
    assert world.log == []


@pytest.mark.parametrize("again", [False, True], ids=["not tried again", "held when tried again"])
def test_a_change_that_failed_and_came_about_all_the_same_is_undone(migrate, world, again):
    """No answer in time, but the server had done it: a held NetworkPolicy must not be lost by that."""
    world.trouble, world.too_late = ApiTimeout(Attempt("patch", "door", "https://api"), "no answer"), True
    with pytest.raises(ChangeError):
        migrate(Paint("door", "red"))
    if again:
        migrate(Paint("door", "red"))
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "white"


def test_a_change_that_was_cut_off_by_a_killed_process_is_undone_if_it_came_about(migrate, world, journal):
    migrate(Paint("door", "red"))
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(line for line in lines if b"change-done" not in line))
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "white"


def test_an_undo_that_failed_can_be_tried_again(migrate, world, journal):
    migrate(Paint("door", "red"))
    world.trouble = ApiTimeout(Attempt("patch", "door", "https://api"), "no answer")
    with pytest.raises(ChangeError, match="could not undo: paint door red: cannot patch door"):
        migrate.undo(Paint("door", "red"))
    assert [event for event, _ in events(journal)][-2:] == ["undo-started", "change-failed"]
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "white"


def test_parameters_that_json_knows_by_another_shape_are_recognised(migrate, world):
    migrate(Paint("door", ("red", "green")))
    migrate.undo(Paint("door", ("red", "green")))
    assert world.values["door"] == "white"


# --- secrets -----------------------------------------------------------------------------------------------

SECRET = {
    "spec": {
        "volumes": [{"secret": {"secretName": "ca"}}],
        "env": [{"name": "API_TOKEN", "value": "t0p-s3cret"}],
    }
}


def test_what_looks_like_a_secret_is_put_back_whole_but_is_not_in_the_journal(migrate, world, journal):
    world.values["door"] = SECRET
    migrate(Paint("door", "red"))
    assert b"t0p-s3cret" not in journal.path.read_bytes()
    (saved,) = (journal.path.parent / "saved").iterdir()
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert json.loads(saved.read_text()) == {"before": SECRET}
    migrate.undo(Paint("door", "red"))
    assert world.values["door"] == SECRET


def test_what_holds_no_secret_is_in_the_journal_alone(migrate, journal):
    migrate(Paint("door", "red"))
    assert not (journal.path.parent / "saved").exists()


def test_a_change_with_a_secret_among_its_own_parameters_is_found_again(migrate, world, journal):
    migrate(Paint("door", {"password": "t0p-s3cret"}))
    assert b"t0p-s3cret" not in journal.path.read_bytes()
    migrate.undo(Paint("door", {"password": "t0p-s3cret"}))
    assert world.values["door"] == "white"


def test_a_change_does_not_happen_when_what_was_there_cannot_be_kept(migrate, world, journal):
    world.values["door"] = SECRET
    (journal.path.parent / "saved").write_text("in the way")
    with pytest.raises(JournalError, match=r"cannot write .*saved"):
        migrate(Paint("door", "red"))
    assert world.values["door"] == SECRET


def test_an_undo_whose_file_is_gone_says_so_and_changes_nothing(migrate, world, journal):
    world.values["door"] = SECRET
    migrate(Paint("door", "red"))
    next((journal.path.parent / "saved").iterdir()).unlink()
    with pytest.raises(
        ChangeError, match=r"could not undo: paint door red: cannot read .*change-1\.json: No such file"
    ):
        migrate.undo(Paint("door", "red"))
    assert world.values["door"] == "red"
