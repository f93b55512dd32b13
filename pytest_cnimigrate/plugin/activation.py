"""Waking up: everything that is set in motion once a run has a scenario."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from pytest_cnimigrate.plugin import discovery, options, scenario_fixture, state
from pytest_cnimigrate.plugin.catalog import Catalog
from pytest_cnimigrate.plugin.collection import Collection
from pytest_cnimigrate.plugin.controller import Controller, JunitGuard
from pytest_cnimigrate.plugin.distribution import Distribution
from pytest_cnimigrate.plugin.execution import Execution
from pytest_cnimigrate.plugin.header import Header
from pytest_cnimigrate.plugin.signals import Signals
from pytest_cnimigrate.plugin.state import State
from pytest_cnimigrate.plugin.status import Status
from pytest_cnimigrate.run.directory import RunDirectory, RunDirectoryError, new_run_id
from pytest_cnimigrate.run.journal import Journal, JournalError
from pytest_cnimigrate.run.options import RunOptions
from pytest_cnimigrate.run.scenario_run import SCENARIO_RUNS, ScenarioRun

if TYPE_CHECKING:
    from pytest_cnimigrate.run.scenario import Scenario

_MARKERS = (
    "action: this test changes the cluster; if it fails, the scenario stops at once",
    "always: this test runs even after the scenario has been stopped, e.g. to collect evidence",
)


def activate(config: pytest.Config, files: tuple[Path, ...]) -> None:
    """Read the scenarios and register the plugins that carry them out.

    Raises `UsageError`, in one line, for whatever makes the run impossible or senseless.
    """
    options.refuse_senseless(config)
    cluster, keep = options.cluster_setting(config), options.keep_setting(config)
    overrides = options.overrides(config)
    catalog = Catalog([_load(path, overrides) for path in files])
    config.stash[discovery.KNOWN_FOLDERS] = catalog.folders
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if catalog.has_equal_names():
        # pytest's default imports modules by their names alone, and phases have the same ones everywhere.
        config.option.importmode = "importlib"
    shared = State()
    _register(config, Collection(catalog, shared, config.invocation_params.dir))
    _register(config, scenario_fixture)
    _register(config, _fixtures())
    if config.getoption("collectonly"):
        return  # Nothing is run, so nothing is touched: no run directory, no journal.

    if state.is_worker(config):
        told = state.worker_input(config)["cnimigrate"]
        run_id, directory, source = told["run_id"], RunDirectory.attach(Path(told["out"])), ""
    else:
        out, source = options.out_directory(config, catalog.names)
        run_id = new_run_id()
        directory = _acquire(config, out, run_id)
    requested = RunOptions(
        cluster=cluster.value,
        keep=options.as_keep(keep),
        out=directory.root,
        overrides=overrides,
        scenario_files=files,
    )
    _open_runs(config, catalog, shared, requested, run_id, directory)
    signals = Signals(shared)
    signals.install()
    config.add_cleanup(signals.restore)
    _register(config, Execution(catalog, shared, signals))
    _register(config, Status(shared))
    if not state.is_worker(config):
        header = Header(run_id, cluster, keep, source, overrides, directory)
        _register_controller(config, catalog, shared, header, signals)


def _register_controller(
    config: pytest.Config, catalog: Catalog, shared: State, header: Header, signals: Signals
) -> None:
    distribution = None
    if config.pluginmanager.hasplugin("xdist"):  # Without it, pytest would not know the hooks.
        distribution = Distribution(catalog, shared)
        _register(config, distribution)
    controller = Controller(
        config=config,
        catalog=catalog,
        state=shared,
        header=header,
        signals=signals,
        distribution=distribution,
    )
    _register(config, controller)
    _register(config, JunitGuard(controller))
    if not config.getoption("xmlpath", None):
        config.option.xmlpath = str(header.directory.junit)


def _register(config: pytest.Config, plugin: object) -> None:
    name = plugin.__name__ if hasattr(plugin, "__name__") else type(plugin).__name__
    config.pluginmanager.register(plugin, f"cnimigrate-{str(name).rpartition('.')[2].lower()}")


def _fixtures() -> ModuleType:
    # Imported late: it brings the clients. Not by pluginmanager.import_plugin, which warns if somebody's
    # conftest file has imported it before, to use its types.
    return importlib.import_module("pytest_cnimigrate.fixtures")


def _load(path: Path, overrides: Sequence[str]) -> Scenario:
    # Imported here: it brings pydantic and yaml, which an ordinary pytest run never needs.
    from pytest_cnimigrate.run.scenario import ScenarioError, load_scenario

    try:
        return load_scenario(path, overrides)
    except ScenarioError as error:
        raise pytest.UsageError(str(error)) from error


def _acquire(config: pytest.Config, out: Path, run_id: str) -> RunDirectory:
    try:
        directory = RunDirectory.acquire(out, run_id=run_id)
    except RunDirectoryError as error:
        raise pytest.UsageError(str(error)) from error
    config.add_cleanup(directory.release)
    return directory


def _open_runs(
    config: pytest.Config,
    catalog: Catalog,
    shared: State,
    requested: RunOptions,
    run_id: str,
    directory: RunDirectory,
) -> None:
    try:
        for active in catalog:
            folder = directory.scenario_folder(active.name)
            journal = Journal(folder / "journal.jsonl")
            config.add_cleanup(journal.close)
            shared.runs[active.name] = ScenarioRun(
                scenario=active.scenario,
                options=requested,
                run_id=run_id,
                directory=directory,
                folder=folder,
                journal=journal,
            )
    except (RunDirectoryError, JournalError) as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[SCENARIO_RUNS] = shared.runs
