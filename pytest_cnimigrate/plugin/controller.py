"""The run as a whole: its start and end, in the process that the user started."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_cnimigrate.plugin import completion, junit, teardown, terminal
from pytest_cnimigrate.plugin.catalog import Catalog
from pytest_cnimigrate.plugin.header import Header, machine, run_started, versions
from pytest_cnimigrate.plugin.signals import Signals
from pytest_cnimigrate.plugin.state import State, interruption
from pytest_cnimigrate.plugin.status import was_not_run
from pytest_cnimigrate.plugin.summary import RunSummaryLines
from pytest_cnimigrate.plugin.terminal import LiveLines
from pytest_cnimigrate.run.directory import RunDirectory, RunDirectoryError
from pytest_cnimigrate.run.journal import JournalError

if TYPE_CHECKING:
    from pytest_cnimigrate.plugin.distribution import Distribution


class Controller:
    """Hooks for the session; in a distributed run these are the controller's, never a worker's."""

    def __init__(
        self,
        *,
        config: pytest.Config,
        catalog: Catalog,
        state: State,
        header: Header,
        signals: Signals,
        distribution: Distribution | None,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._state = state
        self._header = header
        self._signals = signals
        self._distribution = distribution
        self._live: LiveLines | None = None
        self._begun = time.monotonic()
        self._reported: set[str] = set()
        self._nodes: dict[str, object] = {}
        """Node id -> the worker that has reported of it; None without pytest-xdist."""
        self._collection_errors = 0
        self._unrun = 0
        self._problems: list[str] = []
        """Lines about what went wrong with the record itself; each makes the exit status non-zero."""

    @property
    def _directory(self) -> RunDirectory:
        return self._header.directory

    def pytest_report_header(self, config: pytest.Config) -> list[str]:
        """Say what runs where, and why."""
        return self._header.lines(self._catalog, config.invocation_params.dir)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Begin the journals, before any worker is started."""
        try:
            for active in self._catalog:
                started = run_started(self._config, active, self._header)
                self._state.runs[active.name].journal.append("run-started", **started)
            self._write_run_json(None)
        except (JournalError, RunDirectoryError) as error:
            self._state.refusal = str(error)
            raise pytest.UsageError(str(error)) from error

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Show what happens; end as pytest without workers would if their collection failed."""
        if terminal.is_wanted(self._config):
            self._live = LiveLines(self._config, self._state.runs.values())
            terminal.replace_dots(self._config)
            self._live.start()
            self._state.live = True
        result = yield
        if self._distribution is not None and not self._reported:
            if self._state.refusal:
                raise pytest.UsageError(self._state.refusal)
            if self._collection_errors:
                plural = "s" if self._collection_errors > 1 else ""
                raise session.Interrupted(f"{self._collection_errors} error{plural} during collection")
        return result

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count what could not be collected."""
        self._collection_errors += report.failed

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which steps have been reported, and complete the report of a crashed one."""
        self._nodes[report.nodeid] = getattr(report, "node", None)
        if report.when == "setup" and report.passed:
            return
        self._reported.add(report.nodeid)
        self._unrun += report.skipped and was_not_run(report)
        if report.when not in ("setup", "call", "teardown"):
            # The report that xdist makes of a crash has no stage. JUnit takes a test's properties from the
            # teardown's report, so it gets one.
            ending = pytest.TestReport(
                nodeid=report.nodeid,
                location=report.location,
                keywords={},
                outcome="passed",
                longrepr=None,
                when="teardown",
                user_properties=report.user_properties,
            )
            self._log(ending)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Write that the run was interrupted, before the workers are told."""
        self._state.interrupted_by = self._state.interrupted_by or interruption(excinfo)
        if self._state.interrupted_by:
            for run in self._state.runs.values():
                try:
                    completion.note_interruption(run, self._state.interrupted_by)
                except JournalError as error:
                    self._problem(error)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Take everything down, complete the record, draw the reports."""
        self._signals.finishing = True
        self._take_down(session)
        self._signals.writing = True
        self._complete()
        if self._live is not None:
            self._live.close()
        if session.exitstatus == pytest.ExitCode.OK and (self._unrun or self._state.journal_error):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._finish_journals(session)
        self._properties()
        self._report()
        if self._problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield
        if self._problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Say at the very end what became of it, where the record is and what to type next."""
        yield
        if not self._state.refusal:
            summary = RunSummaryLines(self._config, self._directory, self._state.runs.values())
            summary.write(terminalreporter, self._told_problems())

    def _log(self, report: pytest.TestReport) -> None:
        """Report on behalf of pytest. JUnit tells tests apart by node id and worker."""
        node = self._nodes.get(report.nodeid)
        if node is not None:
            report.node = node  # type: ignore[attr-defined]  # pytest-xdist's own attribute
        self._config.hook.pytest_runtest_logreport(report=report)

    def report_not_written(self, error: OSError) -> None:
        """Note that one of pytest's own reports could not be written."""
        # A failed write, unlike a failed open, does not say which file it was.
        name = error.filename or self._config.getoption("xmlpath", None) or "a report"
        self._problems.append(f"cannot write {name}: {error.strerror or error}")

    def _take_down(self, session: pytest.Session) -> None:
        """End fixtures and workers first: no trouble with a report may leave a cluster behind."""
        try:
            if self._distribution is not None and self._state.interrupted_by:
                self._distribution.stop_workers()
            teardown.everything(session)
        except KeyboardInterrupt:
            self._problems.append("teardown was broken off by a second interruption: look for what is left")
        except Exception as error:
            self._problems.append(f"teardown failed: {type(error).__name__}: {error}")

    def _complete(self) -> None:
        why = f"{self._state.interrupted_by} interrupted the run" if self._state.interrupted_by else ""
        if self._collection_errors:
            why = why or "a phase could not be collected"
        for run in self._state.runs.values():
            found = completion.endings(run, self._reported, why=why or "the run ended early")
            for ending in found:
                for report in ending.reports():
                    self._log(report)
            try:
                completion.write_endings(run, found)
            except JournalError as error:
                self._problem(error)
        if not self._reported and not self._collection_errors:
            nodeid = f"{self._catalog.names[0]}::run"
            text = self._state.refusal or (f"{why} before the first test" if why else "no test was run")
            junit.add_error(self._config, nodeid, text)

    def _finish_journals(self, session: pytest.Session) -> None:
        seconds = round(time.monotonic() - self._begun, 3)
        refused = bool(self._state.refusal)
        outcomes = {
            name: completion.outcome_of(run, refused=refused) for name, run in self._state.runs.items()
        }
        if session.exitstatus == pytest.ExitCode.OK and not set(outcomes.values()) <= {"passed", "skipped"}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        exit_status = int(session.exitstatus)
        for name, run in self._state.runs.items():
            self._call_extensions(name)
            try:
                if self._state.refusal:
                    run.journal.append("note", text=f"refused: {self._state.refusal}")
                run.journal.append(
                    "run-finished", outcome=outcomes[name], seconds=seconds, exit_status=exit_status
                )
            except JournalError as error:
                self._problem(error)
        try:
            self._write_run_json({"outcomes": outcomes, "seconds": seconds, "exit_status": exit_status})
        except RunDirectoryError as error:
            self._problem(error)

    def _call_extensions(self, name: str) -> None:
        try:
            self._config.hook.pytest_cnimigrate_run_finished(run=self._state.runs[name])
        except Exception as error:
            self._problems.append(f"an extension failed at the end of the run: {error!r}")

    def _properties(self) -> None:
        properties = {
            "scenario": ", ".join(self._catalog.names),
            "run_id": self._header.run_id,
            "provider": self._header.cluster.value,
        }
        properties |= {f"version.{name}": version for name, version in versions().items()}
        junit.add_suite_properties(self._config, properties)

    def _report(self) -> None:
        try:
            from pytest_cnimigrate.report import write_report

            write_report(self._directory.root, [run.journal.path for run in self._state.runs.values()])
        except Exception as error:
            again = f"python -m pytest_cnimigrate.report {self._directory.root}"
            self._problems.append(f"the page could not be drawn ({error!r}), the journal is there: {again}")

    def _write_run_json(self, ending: dict[str, object] | None) -> None:
        self._directory.write_run_json(
            {
                "run_id": self._header.run_id,
                "provider": self._header.cluster.value,
                "scenarios": [
                    {
                        "name": active.name,
                        "title": active.scenario.title,
                        "file": str(active.scenario.path),
                        "journal": f"{active.name}/journal.jsonl",
                    }
                    for active in self._catalog
                ],
                **machine(),
                "finished": ending,
            }
        )

    def _told_problems(self) -> Sequence[str]:
        told = [self._state.journal_error] if self._state.journal_error else []
        return list(dict.fromkeys([*told, *self._problems]))

    def _problem(self, error: Exception) -> None:
        if str(error) not in self._problems:
            self._problems.append(str(error))


class JunitGuard:
    """Turns a failure to write pytest's reports into one line; a traceback would hide the run's own end."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    # The innermost wrapper: pytest's terminal summary comes after it and still gets its turn.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Catch what pytest's own writers raise for a full or read-only disk."""
        try:
            yield
        except OSError as error:
            self._controller.report_not_written(error)
