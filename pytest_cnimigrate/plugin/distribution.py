"""Several scenarios side by side: handing whole scenarios to the workers of pytest-xdist.

`--dist loadgroup` will not do: with pytest 9.2 it silently spreads a group over the workers
(pytest-dev/pytest-xdist#1386). So the unit of work is the scenario, by a scheduler of our own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_cnimigrate.plugin.catalog import Catalog, Step
from pytest_cnimigrate.plugin.chronicle import open_step, who
from pytest_cnimigrate.plugin.completion import collected_steps, step_properties
from pytest_cnimigrate.plugin.signals import ask_to_stop
from pytest_cnimigrate.plugin.state import State
from pytest_cnimigrate.run.journal import JournalError, read_journal

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

# How long workers may take to tear their clusters down after an interruption. EKS takes many minutes to
# delete a node group; whoever does not want to wait presses Ctrl-C again.
_TEARDOWN_SECONDS = 1800.0


class Distribution:
    """The controller's side of a distributed run. Registered only if pytest-xdist is there."""

    def __init__(self, catalog: Catalog, state: State) -> None:
        self._catalog = catalog
        self._state = state
        self._nodes: list[WorkerController] = []
        self._scenarios: dict[str, str] = {}

    def pytest_xdist_auto_num_workers(self) -> int | None:
        """`-n auto`: a worker for each scenario; more would have nothing to do."""
        if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
            return None
        return len(self._catalog.scenarios)

    def pytest_configure_node(self, node: WorkerController) -> None:
        """Tell a new worker which run it belongs to."""
        run = next(iter(self._state.runs.values()))
        node.workerinput["cnimigrate"] = {"run_id": run.run_id, "out": str(run.directory.root)}
        self._nodes.append(node)

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Hand out whole scenarios."""
        from pytest_cnimigrate.plugin.scheduling import ScenarioScheduling

        # In the order of the run: xdist would begin with the scenario that has the most tests.
        config.option.loadscopereorder = False
        return ScenarioScheduling(config, log, scenario_of=self._scenario_of, has_finished=self._has_finished)

    def pytest_testnodedown(self, node: WorkerController) -> None:
        """Take over what an orderly worker says at its end; one that crashed says nothing."""
        if node in self._nodes:
            self._nodes.remove(node)
        said = getattr(node, "workeroutput", {}).get("cnimigrate", {})
        self._state.refusal = self._state.refusal or said.get("refusal", "")
        self._state.journal_error = self._state.journal_error or said.get("journal_error", "")

    @pytest.hookimpl(tryfirst=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Say of a step whose worker died what is known of it, and keep everything after it from running."""
        scenario = self._scenario_of(crashitem)
        if scenario is None:
            return
        run = self._state.runs[scenario]
        records = read_journal(run.journal.path)
        began = open_step(records)
        worker = report.node.gateway.id  # set by pytest-xdist
        when = "during" if began is not None and began["nodeid"] == crashitem else "before"
        step, location = collected_steps(run)[crashitem]
        death = f"worker {worker} died {when}"
        message = f"{death} this step; the cluster may be half way, see {run.journal.path}"
        report.longrepr = message
        report.location = location
        report.user_properties = step_properties(step, after=None)
        try:
            self._record_crash(step, message, f'{death} "{step.title}"')
        except JournalError as error:
            self._state.journal_error = self._state.journal_error or str(error)

    def stop_workers(self) -> None:
        """After an interruption, let every worker tear down what it has set up, then return.

        Ctrl-C reaches them by itself, SIGTERM only the controller. A worker takes the first of both.
        """
        for node in self._nodes:
            pid = getattr(node.gateway._rinfo(), "pid", None)  # cached: xdist has asked for it at the start
            if isinstance(pid, int):
                ask_to_stop(pid)
        for node in list(self._nodes):
            channel = getattr(node, "channel", None)
            if channel is not None:
                try:
                    channel.waitclose(_TEARDOWN_SECONDS)
                except (OSError, EOFError, channel.RemoteError, channel.TimeoutError):
                    continue  # It is gone, or will be: xdist ends what is left.

    def _record_crash(self, step: Step, message: str, reason: str) -> None:
        journal = self._state.runs[step.scenario].journal
        journal.append(
            "test-finished",
            **who(step),
            outcome="failed",
            seconds=0.0,
            message=message,
            details="",
            when="crash",
        )
        journal.append("gate-closed", phase=step.phase, nodeid=step.nodeid, reason=reason)

    def _has_finished(self, nodeid: str) -> bool:
        scenario = self._scenario_of(nodeid)
        records = read_journal(self._state.runs[scenario].journal.path) if scenario else []
        return any(r["event"] == "test-finished" and r["nodeid"] == nodeid for r in records)

    def _scenario_of(self, nodeid: str) -> str | None:
        """The scenario of a node id, by what the workers' collection has put into the journals."""
        if not self._scenarios:
            for run in self._state.runs.values():
                for known in collected_steps(run):
                    self._scenarios[known] = run.scenario.name
        return self._scenarios.get(nodeid)
