"""The runbook entry of a phase: its module's docstring, read without importing the module."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from pytest_cnimigrate.plugin.catalog import headline, in_words


def phase_text(module: Path, phase: str) -> tuple[str, str]:
    """Title (the docstring's first line, else the phase's name in words) and the rest of the docstring.

    Not imported, because under pytest-xdist the controller imports no test module. A module that cannot be
    read has no docstring here; pytest tells what is wrong with it.
    """
    try:
        docstring = ast.get_docstring(ast.parse(module.read_bytes()), clean=False)
    except (OSError, SyntaxError, ValueError):
        docstring = None
    clean = inspect.cleandoc(docstring or "")
    return headline(clean) or in_words(phase).capitalize(), clean.partition("\n")[2].strip()
