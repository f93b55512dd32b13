"""Finding the scenarios of a run: by `--cni-scenario`, or by the paths that pytest was given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import cast

import pytest

SCENARIO_FILE = "scenario.yaml"

# How far below a given path a scenario is looked for: `.` in a project with scenarios/<team>/<name>/.
_DEPTH = 4
# Only the first lines: this runs in every pytest run of the environment. The kind and the version are
# judged by the loader, so that a mistake in them is told and does not make the scenario invisible.
_HEAD = re.compile(rb"^apiVersion:\s*[\"']?cnimigrate/", re.MULTILINE)
_HEAD_BYTES = 4096

# Options with which pytest lists something and runs nothing.
_LISTING = ("help", "version", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow")


def scenario_files(config: pytest.Config) -> tuple[Path, ...]:
    """The scenario files of this run, absolute; empty if it is an ordinary pytest run.

    With `--cni-scenario` and no path, the run is narrowed to the folders of those files. Raises
    `UsageError` for a file that is not there or lies outside the given paths.
    """
    if any(config.getoption(name, None) for name in _LISTING):
        return ()
    named = [_absolute(config, text) for text in cast("list[str]", config.getoption("cni_scenario"))]
    for path in named:
        if not path.is_file():
            there_is = "it is not a file" if path.exists() else "there is no such file"
            raise pytest.UsageError(f"--cni-scenario {path}: {there_is}")
    if named and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = list(dict.fromkeys(str(path.parent) for path in named))
    found: dict[Path, list[Path]] = {}
    for folder in _scenario_folders(config):
        found[folder] = [folder / SCENARIO_FILE]
    replaced: set[Path] = set()
    for path in named:
        if path.parent not in replaced:
            replaced.add(path.parent)
            found[path.parent] = []
        if path not in found[path.parent]:
            found[path.parent].append(path)
    _refuse_outside(config, named)
    return tuple(path for paths in found.values() for path in paths)


def is_scenario(path: Path) -> bool:
    """Whether a file says of itself that it is a scenario."""
    try:
        with path.open("rb") as file:
            return _HEAD.search(file.read(_HEAD_BYTES)) is not None
    except OSError:
        return False


def refuse_undiscovered(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Raise `UsageError` if phases were collected of a scenario that lies too deep to have been found."""
    known = config.stash.get(KNOWN_FOLDERS, frozenset())
    for folder in dict.fromkeys(item.path.parent for item in items):
        if folder.resolve() not in known and is_scenario(folder / SCENARIO_FILE):
            raise pytest.UsageError(
                f"{folder / SCENARIO_FILE} lies too deep to be found by itself: give its folder as the path"
            )


KNOWN_FOLDERS = pytest.StashKey[frozenset[Path]]()
"""In `config.stash`: the folders of the active scenarios, resolved."""


def _scenario_folders(config: pytest.Config) -> Iterator[Path]:
    ignored = [*cast("list[str]", config.getini("norecursedirs")), "__pycache__", "site-packages"]
    for path in _given_paths(config):
        if path.is_dir():
            yield from _below(path, ignored, _DEPTH)
        elif is_scenario(path.parent / SCENARIO_FILE):
            yield path.parent


def _below(folder: Path, ignored: list[str], depth: int) -> Iterator[Path]:
    if is_scenario(folder / SCENARIO_FILE):
        yield folder
        return
    if depth == 0:
        return
    try:
        with os.scandir(folder) as entries:
            below = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for path in map(Path, below):
        if any(fnmatch(path.name, pattern) for pattern in ignored) or (path / "pyvenv.cfg").exists():
            continue
        yield from _below(path, ignored, depth - 1)


def _given_paths(config: pytest.Config) -> Iterator[Path]:
    for argument in config.args:
        path = _absolute(config, str(argument).partition("::")[0])
        if path.exists():  # If not, pytest says so itself.
            yield path


def _absolute(config: pytest.Config, text: str) -> Path:
    # Not resolved: pytest keeps symbolic links in the paths of what it collects.
    return Path(os.path.normpath(config.invocation_params.dir / Path(text).expanduser()))


def _refuse_outside(config: pytest.Config, named: list[Path]) -> None:
    given = list(_given_paths(config))
    for path in named:
        folder = path.parent
        if not any(folder == at or folder == at.parent or at in folder.parents for at in given):
            raise pytest.UsageError(
                f"--cni-scenario {path} lies outside the paths of this run: leave the paths out, "
                f"or give {folder} as the path"
            )
