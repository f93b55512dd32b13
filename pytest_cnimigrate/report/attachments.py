"""Evidence files as links that work wherever the run's folder is copied to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pytest_cnimigrate.report.model import Evidence


@dataclass(frozen=True, slots=True)
class Attachment:
    """A piece of evidence, as the page shows it."""

    name: str
    path: str
    href: str
    """Relative to the page; empty if there is nothing to link to."""
    sha256: str
    """Of the file as it is now, or what the journal says of a file that is gone."""
    problem: str = ""
    """`missing`, `changed since` the journal took its checksum, or `outside the run's folder`."""


class Attachments:
    """Finds the files of one journal's evidence events."""

    def __init__(self, out: Path, journal: Path) -> None:
        self._out = out.resolve()
        self._folders = (journal.resolve().parent, self._out)
        self._digests: dict[Path, str] = {}

    def resolve(self, evidence: Evidence) -> Attachment:
        """The link to the file, or why there is none. A relative path starts at the journal or the page."""
        candidates = [(folder / evidence.path).resolve() for folder in self._folders if evidence.path]
        file = next((path for path in candidates if path.is_file()), None)
        if file is None:
            return Attachment(evidence.name, evidence.path, "", evidence.sha256, "missing")
        href = self.href(file)
        if not href:
            return Attachment(evidence.name, evidence.path, "", evidence.sha256, "outside the run's folder")
        digest = self._digest(file)
        problem = "changed since" if evidence.sha256 not in ("", digest) else ""
        return Attachment(evidence.name, file.relative_to(self._out).as_posix(), href, digest, problem)

    def href(self, file: Path) -> str:
        """The link from the page to a file; empty for a file that is not below the page's folder.

        The page is sent around with its folder: a link out of it would lead nowhere, or anywhere.
        """
        file = file.resolve()
        return quote(file.relative_to(self._out).as_posix()) if file.is_relative_to(self._out) else ""

    def _digest(self, file: Path) -> str:
        known = self._digests.get(file)
        if known is None:
            with file.open("rb") as stream:
                known = self._digests[file] = hashlib.file_digest(stream, "sha256").hexdigest()
        return known
