"""Command line, environment and ini file.

Precedence: command line > environment (`CNIMIGRATE_*`) > ini file (`cni_*`) > default. Every value is
checked here rather than by argparse, so that what is wrong is said in one line that names its source.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from pytest_cnimigrate.run.options import CLUSTERS, KEEP_CHOICES, Keep

DEFAULT_CLUSTER = "sim"
DEFAULT_KEEP = "never"
DEFAULT_OUT = Path("out")
"""The run directory is `out/<scenario>`, below the directory that pytest was started in."""


def add_options(parser: pytest.Parser) -> None:
    """Declare everything that starts with `--cni-`."""
    group = parser.getgroup("cnimigrate", "CNI migration")
    group.addoption(
        "--cni-cluster",
        metavar="WHERE",
        help="Where the scenario runs: sim (default), kind, eks or context. "
        "Environment: CNIMIGRATE_CLUSTER, ini: cni_cluster.",
    )
    group.addoption(
        "--cni-scenario",
        metavar="FILE",
        action="append",
        default=[],
        help="A scenario file to use in place of the scenario.yaml of its folder. Given more than once, the "
        "scenarios run side by side (with -n).",
    )
    group.addoption(
        "--cni-set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="Override a value of the scenario, e.g. new_nodes.size=5. May be given more than once.",
    )
    group.addoption(
        "--cni-out",
        metavar="DIR",
        help="The run directory: journal, JUnit, page and evidence (default: out/<scenario>). "
        "Environment: CNIMIGRATE_OUT, ini: cni_out.",
    )
    group.addoption(
        "--cni-keep",
        metavar="WHEN",
        help="Whether the cluster stays after the run: never (default), on-failure or always. "
        "Environment: CNIMIGRATE_KEEP, ini: cni_keep.",
    )
    parser.addini("cni_cluster", "Where scenarios run, see --cni-cluster.", default="")
    parser.addini("cni_out", "The run directory, see --cni-out; relative to the ini file.", default="")
    parser.addini("cni_keep", "Whether the cluster stays after the run, see --cni-keep.", default="")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from."""

    value: str
    source: str
    """`--cni-keep`, `CNIMIGRATE_KEEP`, `cni_keep` or `default`."""

    def __str__(self) -> str:
        return f"{self.value} ({self.source})"


def refuse_without_scenario(config: pytest.Config) -> None:
    """Raise `UsageError` if options were given that mean nothing without a scenario."""
    for name in ("cni_cluster", "cni_set", "cni_out", "cni_keep"):
        if config.getoption(name):
            flag = f"--{name.replace('_', '-')}"
            raise pytest.UsageError(
                f"{flag} was given, but there is no scenario under the paths of this run: "
                "name a folder with a scenario.yaml, or a file with --cni-scenario"
            )


def cluster_setting(config: pytest.Config) -> Setting:
    """Where to run; `UsageError` if that is unknown or not part of this version."""
    setting = _setting(config, "cluster", DEFAULT_CLUSTER)
    _check_choice(setting, CLUSTERS)
    if setting.value != "sim":
        raise pytest.UsageError(
            f"{setting.source} {setting.value}: this version carries only the embedded cluster (sim)"
        )
    return setting


def keep_setting(config: pytest.Config) -> Setting:
    """Whether the cluster stays; `UsageError` if the value is unknown."""
    setting = _setting(config, "keep", DEFAULT_KEEP)
    _check_choice(setting, KEEP_CHOICES)
    return setting


def overrides(config: pytest.Config) -> tuple[str, ...]:
    """What `--cni-set` lays over the scenario; `UsageError` if one is not `key=value`."""
    given = tuple(cast("list[str]", config.getoption("cni_set")))
    for override in given:
        key, separator, _ = override.partition("=")
        if not separator or not key.strip():
            raise pytest.UsageError(f"--cni-set {override}: should be key=value, such as new_nodes.size=5")
    return given


def out_directory(config: pytest.Config, names: list[str]) -> tuple[Path, str]:
    """The run directory for the scenarios of these names, absolute, and where that came from."""
    here = config.invocation_params.dir
    setting = _setting(config, "out", "")
    if setting.source == "default":
        folder = "+".join(names)
        # A folder name may have 255 bytes; beyond a few scenarios nobody reads the list anyway.
        return here / DEFAULT_OUT / (folder if len(folder) <= 80 else f"{len(names)}-scenarios"), "default"
    if setting.source == "cni_out":
        here = config.inipath.parent if config.inipath else config.rootpath
    return Path(os.path.normpath(here / Path(setting.value).expanduser())), setting.source


def as_keep(setting: Setting) -> Keep:
    """The value of a setting that `keep_setting` has checked."""
    return cast(Keep, setting.value)


# Options of other plugins that contradict what a scenario promises: destination -> (when, flag, why).
_SENSELESS: Mapping[str, tuple[str, str]] = {
    "maxfail": ("-x/--maxfail", "a scenario stops by its own gate, which also keeps the rest on record"),
    "stepwise": ("--stepwise", "phases build on one another and are never started in the middle"),
    "reruns": ("--reruns", "an action is never repeated"),
    "continue_on_collection_errors": (
        "--continue-on-collection-errors",
        "a phase that cannot be read would be left out",
    ),
    "setuponly": ("--setup-only", "it would make a cluster and run nothing"),
    "setupplan": ("--setup-plan", "use --collect-only to see what would run"),
}


def refuse_senseless(config: pytest.Config) -> None:
    """Raise `UsageError` for options that make no sense together with a scenario."""
    for destination, (flag, why) in _SENSELESS.items():
        if config.getoption(destination, None):
            raise pytest.UsageError(f"{flag} makes no sense with a scenario: {why}")
    if config.getoption("dist", None) == "each":
        raise pytest.UsageError("--dist each makes no sense with a scenario: it would be carried out twice")
    for spec in config.getoption("tx", None) or []:
        if not str(spec).rpartition("*")[2].startswith("popen"):
            raise pytest.UsageError(
                f"--tx {spec} makes no sense with a scenario: its workers share one run directory, "
                "so they must be on this machine"
            )


def _setting(config: pytest.Config, name: str, default: str) -> Setting:
    given = config.getoption(f"cni_{name}")
    if given is not None:
        return Setting(str(given), f"--cni-{name}")
    variable = f"CNIMIGRATE_{name.upper()}"
    if os.environ.get(variable):
        return Setting(os.environ[variable], variable)
    ini = str(config.getini(f"cni_{name}"))
    return Setting(ini, f"cni_{name}") if ini else Setting(default, "default")


def _check_choice(setting: Setting, choices: tuple[str, ...]) -> None:
    if setting.value not in choices:
        raise pytest.UsageError(
            f"{setting.source}: {setting.value!r} is not one of {', '.join(choices[:-1])} or {choices[-1]}"
        )
