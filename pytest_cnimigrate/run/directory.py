"""The run directory: where a run leaves its journal, reports and evidence.

    <out>/junit.xml  index.html  run.json     of the latest run
    <out>/<scenario>/journal.jsonl  evidence/  saved/
    <out>/previous/<run id>/                  the same of the runs before

One run at a time writes into it: the controller holds a lock (`flock`) for as long as it lives, which the
kernel lets go of when the process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

LOCK_NAME = ".cnimigrate-run"
PREVIOUS = "previous"


class RunDirectoryError(Exception):
    """The run directory cannot be used; the text is one line for the operator."""


def new_run_id(now: datetime | None = None) -> str:
    """An id that sorts by time and does not repeat, e.g. `20261122-213000-ab12` (local time)."""
    moment = now or datetime.now().astimezone()
    return f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class RunDirectory:
    """A run directory, held (`acquire`, the controller) or joined (`attach`, its workers)."""

    def __init__(self, root: Path, *, lock: int | None = None, previous: Path | None = None) -> None:
        self.root = root
        self.previous = previous
        """Where the contents of the run before went, if there was one."""
        self._lock = lock

    @classmethod
    def acquire(cls, root: Path, *, run_id: str) -> RunDirectory:
        """Make the directory, take its lock, and move an earlier run's contents out of the way.

        Raises `RunDirectoryError` if another run holds it (the text names its pid and start), if it holds
        files that no run has left there, or if it cannot be written.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            strangers = _strangers(root)
            if strangers:
                raise RunDirectoryError(
                    f"{root} holds files that are not of an earlier run ({strangers[0]}, …): "
                    "name a new or an empty folder with --cni-out"
                )
            lock = _lock(root)
            try:
                previous = _set_aside(root)
                _describe_lock(lock, run_id)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise unwritable(error, root) from error
        return cls(root, lock=lock, previous=previous)

    @classmethod
    def attach(cls, root: Path) -> RunDirectory:
        """The directory that the controller of this run holds."""
        return cls(root)

    @property
    def junit(self) -> Path:
        return self.root / "junit.xml"

    @property
    def page(self) -> Path:
        return self.root / "index.html"

    def scenario_folder(self, name: str) -> Path:
        """`<out>/<scenario>`, made with its `evidence` and `saved` if need be."""
        folder = self.root / name
        try:
            for part in ("evidence", "saved"):
                (folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(error, folder) from error
        return folder

    def write_run_json(self, content: Mapping[str, Any]) -> None:
        """Write `run.json`, whole or not at all."""
        target = self.root / "run.json"
        draft = self.root / ".run.json.new"
        try:
            draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            draft.replace(target)
        except OSError as error:
            raise unwritable(error, target) from error

    def release(self) -> None:
        """Let the next run have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def unwritable(error: OSError, path: Path) -> RunDirectoryError:
    """The one line for a file or folder that cannot be written."""
    name = error.filename if isinstance(error.filename, str) else path
    return RunDirectoryError(f"cannot write {name}: {error.strerror or error}")


def _strangers(root: Path) -> list[str]:
    """Names in a directory that has never held a run: somebody else's files, not to be moved about."""
    names = sorted(entry.name for entry in root.iterdir())
    return [] if LOCK_NAME in names else names


def _lock(root: Path) -> int:
    descriptor = os.open(root / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(os.pread(descriptor, 4096, 0))
        os.close(descriptor)
        raise RunDirectoryError(
            f"{root} is in use by another run ({holder}): wait for it, or name another folder with --cni-out"
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _holder(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return f"pid {holder['pid']}, started {holder['started']}"
    except (ValueError, KeyError, TypeError):
        return "just starting"  # It has the lock and has not written its name yet.


def _describe_lock(lock: int, run_id: str) -> None:
    started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    content = json.dumps({"pid": os.getpid(), "started": started, "run_id": run_id}).encode()
    os.ftruncate(lock, 0)
    os.pwrite(lock, content, 0)


def _set_aside(root: Path) -> Path | None:
    """Move what an earlier run left to `previous/<its run id>`; None if there is nothing."""
    entries = sorted(entry for entry in root.iterdir() if entry.name not in (LOCK_NAME, PREVIOUS))
    if not entries:
        return None
    target = root / PREVIOUS / _earlier_run_id(root)
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{target.name.partition('.')[0]}.{number}")
    target.mkdir(parents=True)
    for entry in entries:
        entry.rename(target / entry.name)
    return target


def _earlier_run_id(root: Path) -> str:
    """The id that the earlier run left in its lock file, else one from the age of what it left."""
    try:
        run_id = json.loads((root / LOCK_NAME).read_bytes())["run_id"]
        if isinstance(run_id, str) and run_id and "/" not in run_id and not run_id.startswith("."):
            return run_id
    except (OSError, ValueError, KeyError, TypeError):
        pass  # A lock file that was cut short: its run is still worth keeping.
    newest = max(entry.stat().st_mtime for entry in root.iterdir())
    return f"{datetime.fromtimestamp(newest).astimezone():%Y%m%d-%H%M%S}-unknown"
