"""The API server's process, seen from a benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Server:
    """A running API server."""

    kubeconfig: Path
    orders: IO[str]
    answers: IO[str]

    def ask(self, **order: Any) -> dict[str, Any]:
        """Give an order (see `api_server.py`) and wait for the answer."""
        self.orders.write(json.dumps(order) + "\n")
        self.orders.flush()
        answer: dict[str, Any] = json.loads(self.answers.readline())
        return answer


@contextmanager
def api_server(folder: Path) -> Iterator[Server]:
    """An API server with nothing in it; its kubeconfig is put into the folder."""
    command = [sys.executable, str(Path(__file__).with_name("api_server.py"))]
    with subprocess.Popen(  # noqa: S603  # our own interpreter and program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("both are pipes")
        path = folder / "kubeconfig"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(process.stdout.readline())
        try:
            yield Server(path, process.stdin, process.stdout)
        finally:
            process.stdin.close()
            process.wait(10)
