"""The record of a run for people: one HTML page, drawn from the journals alone.

`summary` and `verdict` tell what a journal says as plain values (the terminal uses them too); `page` draws
them. This module imports neither jinja2 nor anything heavy: the page is drawn once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["write_report"]


def write_report(out: Path, journals: Sequence[Path]) -> Path:
    """Draw `out/index.html` from the journals (one a scenario) and return its path.

    Call it after the last journal line: the page shows each journal's SHA-256. It works on whatever is
    there: a journal that ends in the middle, a torn last line, a missing file. Raises `OSError` if the page
    cannot be written; a page that was there before is then still the old one.
    """
    from pytest_cnimigrate.report.page import draw  # jinja2 is loaded only when a page is drawn

    return draw(out, journals)
