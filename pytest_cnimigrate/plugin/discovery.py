"""Finding the scenarios of a run: by `--cni-scenario`, or by the paths that pytest was given."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator
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

# A phase module as its name and its imports tell; so many files of a folder are looked into at most.
_PHASE_NAME = re.compile(r"test_\d+_\w+\.py")
_PHASE_IMPORT = re.compile(rb"^from pytest_cnimigrate\.(changes|checks)\b", re.MULTILINE)
_PHASES_READ = 20

# Options with which pytest lists something and runs nothing.
_LISTING = ("help", "version", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow")


def scenario_files(config: pytest.Config) -> tuple[Path, ...]:
    """The scenario files of this run, absolute; empty if it is an ordinary pytest run.

    With `--cni-scenario` and no path, the run is narrowed to the folders of those files. Raises
    `UsageError` for a file that is not there or lies outside the given paths, and for a given folder with
    phase modules whose scenario file is missing: each of its tests would fail for want of fixtures.
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
    _refuse_without_file(config, found)
    return tuple(path for paths in found.values() for path in paths)


def _refuse_without_file(config: pytest.Config, found: Container[Path]) -> None:
    for path in _given_paths(config):
        folder = path if path.is_dir() else path.parent
        if folder in found or not _holds_phases(folder):
            continue
        file = folder / SCENARIO_FILE
        if file.exists():
            raise pytest.UsageError(
                f"{file} is not a scenario: it does not begin with a line apiVersion: cnimigrate/v1"
            )
        raise pytest.UsageError(f"{folder} holds phases of a scenario, but there is no {file}")


def _holds_phases(folder: Path) -> bool:
    try:
        modules = sorted(path for path in folder.glob("test_*.py") if _PHASE_NAME.fullmatch(path.name))
        return any(_PHASE_IMPORT.search(path.read_bytes()) for path in modules[:_PHASES_READ])
    except OSError:
        return False


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
