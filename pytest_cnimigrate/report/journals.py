"""The journal files that a page is drawn from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_cnimigrate.report.words import legible
from pytest_cnimigrate.run.journal import Record, read_journal, redact


@dataclass(frozen=True, slots=True)
class JournalFile:
    """One journal as it was when the page was drawn."""

    path: Path
    records: tuple[Record, ...]
    sha256: str
    """Of the whole file; empty if it cannot be read."""
    problem: str = ""
    """What is wrong with the file, in a sentence."""


def open_journal(path: Path) -> JournalFile:
    """Read a journal, whatever state it is in.

    The writer has redacted it already. It is done again here, because a page travels further than a journal
    does, and what cannot be printed is made legible.
    """
    try:
        content = path.read_bytes()
        records = tuple(_fit_to_print(redact(dict(record))) for record in read_journal(path))
    except (OSError, ValueError) as error:
        return JournalFile(path, (), "", f"This journal could not be read: {legible(str(error))}.")
    problem = ""
    if content and not content.endswith(b"\n"):
        problem = "The journal's last line is torn: the process ended while it was being written."
    return JournalFile(path, records, hashlib.sha256(content).hexdigest(), problem)


def _fit_to_print(value: Any) -> Any:
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, dict):
        return {legible(str(key)): _fit_to_print(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_fit_to_print(item) for item in value]
    return value
