"""Which embedded clusters run on this machine, so that none is left behind unseen.

Each process keeps a file of its own open and locked for as long as it lives; the kernel lets go of the
lock however the process dies. A file without a lock is a leftover; one with a lock tells whom to stop.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

STOP_SECONDS = 10.0
"""How long a process is given to end by itself."""


def registry_folders() -> list[Path]:
    """Where entries may be, the preferred place first.

    `$XDG_STATE_HOME/cnimigrate/simulators`, or the same below `~/.local/state`. Containers often have a home
    that is read-only, or none: then a folder of this user's among the temporary files.
    """
    folders = []
    state = os.environ.get("XDG_STATE_HOME")
    with contextlib.suppress(RuntimeError):  # The user has no home at all.
        folders.append(Path(state or Path.home() / ".local" / "state") / "cnimigrate" / "simulators")
    folders.append(Path(tempfile.gettempdir()) / f"cnimigrate-{os.getuid()}" / "simulators")
    return folders


@dataclass(frozen=True, slots=True)
class Entry:
    """An embedded cluster that runs, or has left its file behind."""

    pid: int
    cluster: str
    server: str
    started: str
    path: Path
    alive: bool
    owner: int = 0
    """The process that has started it, which it ends with unless it is kept."""
    kept: bool = False

    @property
    def in_use(self) -> bool:
        """Whether it belongs to a run, or a terminal, that is still there."""
        return self.alive and not self.kept

    def stop(self) -> bool:
        """End the process; True once it is gone. Its file goes with it."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while _is_locked(self.path):
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.05)
        self.path.unlink(missing_ok=True)
        return True


class Registration:
    """The entry of this very process; closing it removes it."""

    def __init__(self, *, cluster: str, server: str, started: str) -> None:
        self._path, self._descriptor = _create(f"{os.getpid()}.json")
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._content = {
            "pid": os.getpid(),
            "cluster": cluster,
            "server": server,
            "started": started,
            "owner": os.getppid(),
            "kept": False,
        }
        self._write()

    def keep(self) -> None:
        """Note that it lives on without its owner."""
        self._content["kept"] = True
        self._write()

    def _write(self) -> None:
        text = json.dumps(self._content).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def entries() -> Iterator[Entry]:
    """Every embedded cluster of this user on this machine, and every leftover."""
    for path in (path for folder in registry_folders() for path in sorted(folder.glob("*.json"))):
        try:
            if path.stat().st_uid != os.getuid():
                continue  # Anybody may write among the temporary files.
            content = json.loads(path.read_text())
            alive = _is_locked(path)
        except (OSError, ValueError):
            continue  # it has just gone, or has not written its file yet
        yield Entry(**content, path=path, alive=alive)


def as_json(entry: Entry) -> str:
    """The entry as one line, for people and scripts."""
    return json.dumps(asdict(entry) | {"path": str(entry.path)})


def _create(name: str) -> tuple[Path, int]:
    """An open, empty file of this name in the first folder that takes it."""
    *others, last = registry_folders()
    for folder in others:
        with contextlib.suppress(OSError):
            return _create_in(folder, name)
    return _create_in(last, name)


def _create_in(folder: Path, name: str) -> tuple[Path, int]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    path = folder / name
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    return path, os.open(path, flags, 0o600)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
