"""What is said of a run before it begins, and what its journal and `run.json` begin with."""

from __future__ import annotations

import getpass
import os
import platform
import socket
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pytest_cnimigrate.plugin.catalog import ActiveScenario, Catalog
from pytest_cnimigrate.plugin.options import Setting
from pytest_cnimigrate.plugin.phase_texts import phase_text
from pytest_cnimigrate.run.directory import RunDirectory

# What decides how a run behaves. Read from the installed distributions, not imported.
_DISTRIBUTIONS = ("pytest-cnimigrate", "pytest", "pytest-xdist", "kubernetes", "boto3")


@dataclass(frozen=True, slots=True)
class Header:
    """The settings of a run and where each came from."""

    run_id: str
    cluster: Setting
    keep: Setting
    out_source: str
    overrides: tuple[str, ...]
    directory: RunDirectory

    def lines(self, catalog: Catalog, here: Path) -> list[str]:
        """Lines for pytest's header."""
        lines = []
        for active in catalog:
            file, phases = _shown(active.scenario.path, here), len(active.modules)
            plural = "phase" if phases == 1 else "phases"
            lines.append(f"scenario: {active.name} ({file}), {phases} {plural}")
        settings = [f"cluster {self.cluster}", f"keep {self.keep}"]
        settings += [f"set {override}" for override in self.overrides]
        lines.append(f"run {self.run_id}: {', '.join(settings)}")
        out = f"run directory: {_shown(self.directory.root, here)} ({self.out_source})"
        if self.directory.previous is not None:
            out += f"; the run before is in {_shown(self.directory.previous, here)}"
        lines.append(out)
        return lines


def run_started(config: pytest.Config, active: ActiveScenario, header: Header) -> dict[str, Any]:
    """The fields of the event `run-started`."""
    phases = []
    for name, module in active.modules.items():
        title, text = phase_text(module, name)
        phases.append({"name": name, "title": title, "text": text})
    return {
        "scenario": active.name,
        "title": active.scenario.title,
        "file": str(active.scenario.path),
        "cluster": {"name": active.scenario.cluster_name, "region": active.scenario.eksctl.metadata.region},
        "run_id": header.run_id,
        "provider": header.cluster.value,
        "keep": header.keep.value,
        "overrides": list(header.overrides),
        "argv": ["pytest", *map(str, config.invocation_params.args)],
        "directory": str(config.invocation_params.dir),
        **machine(),
        "phases": phases,
    }


def machine() -> dict[str, Any]:
    """Who runs it, on what, with which versions."""
    return {
        "versions": versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "user": _user(),
        "pid": os.getpid(),
        "executable": sys.executable,
    }


def versions() -> dict[str, str]:
    """The versions of what decides how a run behaves, as far as installed."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user without an entry in /etc/passwd.
        return str(os.getuid())


def _shown(path: Path, here: Path) -> str:
    """Relative to where pytest was started, if it lies below."""
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
