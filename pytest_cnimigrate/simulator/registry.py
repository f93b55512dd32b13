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
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

STOP_SECONDS = 10.0
"""How long a process is given to end by itself."""


def registry_folder() -> Path:
    """`$XDG_STATE_HOME/cnimigrate/simulators`, or the same below `~/.local/state`."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "cnimigrate" / "simulators"


@dataclass(frozen=True, slots=True)
class Entry:
    """An embedded cluster that runs, or has left its file behind."""

    pid: int
    cluster: str
    server: str
    started: str
    path: Path
    alive: bool

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
        folder = registry_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / f"{os.getpid()}.json"
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        content = {"pid": os.getpid(), "cluster": cluster, "server": server, "started": started}
        os.write(self._descriptor, json.dumps(content).encode())

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def entries() -> Iterator[Entry]:
    """Every embedded cluster of this user on this machine, and every leftover."""
    for path in sorted(registry_folder().glob("*.json")):
        try:
            content = json.loads(path.read_text())
            alive = _is_locked(path)
        except (OSError, ValueError):
            continue  # it has just gone, or has not written its file yet
        yield Entry(**content, path=path, alive=alive)


def as_json(entry: Entry) -> str:
    """The entry as one line, for people and scripts."""
    return json.dumps(asdict(entry) | {"path": str(entry.path)})


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
