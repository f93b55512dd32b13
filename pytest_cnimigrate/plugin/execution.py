"""Carrying out the steps: journal before and after, gate in between.

Runs in the process that runs tests: the only one, or a worker of pytest-xdist.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NoReturn

import pytest

from pytest_cnimigrate.plugin import teardown, tracebacks
from pytest_cnimigrate.plugin.attempt import Attempt
from pytest_cnimigrate.plugin.catalog import STEP, Catalog, Step
from pytest_cnimigrate.plugin.chronicle import Chronicle
from pytest_cnimigrate.plugin.collection import MUTATING_FIXTURE
from pytest_cnimigrate.plugin.completion import note_interruption, step_properties
from pytest_cnimigrate.plugin.gate import Stop
from pytest_cnimigrate.plugin.signals import Signals
from pytest_cnimigrate.plugin.state import State, interruption, is_announcer, is_worker, owner, worker_output
from pytest_cnimigrate.run.journal import JournalError


class Execution:
    """Hooks around every step of a scenario."""

    def __init__(self, catalog: Catalog, state: State, signals: Signals) -> None:
        self._catalog = catalog
        self._state = state
        self._signals = signals
        self._chronicles: dict[str, Chronicle] = {}
        self._attempt: Attempt | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write down what will be carried out.

        Every worker collects the same; the first one writes it, before it reports its collection, so that
        the controller can rely on it when it hands out the work.
        """
        if self._state.refusal:
            return
        for active in self._catalog:
            steps = [
                (step, item.location)
                for item in session.items
                if (step := item.stash.get(STEP, None)) is not None and step.scenario == active.name
            ]
            if steps:
                chronicle = Chronicle(active, self._state.runs[active.name], steps)
                self._chronicles[active.name] = chronicle
                if is_announcer(session.config):
                    self._announce(chronicle, session)
        if session.testsfailed and is_worker(session.config):
            # pytest stops after an error during collection; a worker of pytest-xdist would go on.
            session.items.clear()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Know which step is under way; what interrupts it leaves it open on record."""
        step = item.stash.get(STEP, None)
        if step is None:
            return (yield)
        chronicle = self._chronicles[step.scenario]
        self._attempt = self._begin(item, step, chronicle)
        result = yield
        self._attempt = None
        return result

    # The innermost wrapper: it raises before any fixture is set up, the cluster among them, and after the
    # other wrappers have begun, whose teardown (pytest's own logging) relies on that.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Let a step begin only if the gate is open and its start is on record, and only once."""
        attempt = self._attempt
        if attempt is not None and attempt.item is item:
            attempt.setups += 1
            if attempt.setups > 1:
                pytest.fail(
                    "a plugin tried to repeat this step; a scenario's steps never repeat", pytrace=False
                )
            if attempt.stop is not None:
                pytest.skip(f"not run: {attempt.stop.reason}")
            self._start(attempt)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        """Refuse to make `migrate` for a check that asks for it by `request.getfixturevalue`.

        And note if what the whole scenario stands on cannot be had, such as the cluster: then every other
        check of the phase would only fail in the same way.
        """
        attempt = self._attempt
        if fixturedef.argname == MUTATING_FIXTURE and attempt is not None and not attempt.step.is_action:
            pytest.fail(
                f"{attempt.step.nodeid} is a check and asked for `{MUTATING_FIXTURE}`: a check never mutates",
                pytrace=False,
            )
        try:
            return (yield)
        except (Exception, pytest.fail.Exception):
            if attempt is not None and fixturedef.scope == "session":
                attempt.without_base = True
            raise

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take every stage's report into account; a failure closes the gate before anything else runs.

        The end is on record before the report of the last stage leaves a worker: what the controller has
        been told, the journal knows.
        """
        attempt = self._attempt
        if attempt is None or attempt.item is not item:
            return (yield)
        placed = True
        if call.excinfo is not None and not item.config.getoption("fulltrace"):
            placed = tracebacks.shorten(
                call.excinfo, self._catalog.named(attempt.step.scenario).scenario.folder
            )
        report = yield
        if not placed and call.excinfo is not None:
            report.longrepr = str(call.excinfo.value)
        if attempt.step.is_action and hasattr(report, "wasxfail"):
            # What follows relies on what an action has done: there is no "expected failure" of it.
            report.outcome = "failed" if report.skipped else report.outcome
            report.longrepr = report.longrepr or f"expected to fail: {report.wasxfail}"
            del report.wasxfail
        if attempt.stop is not None and isinstance(report.longrepr, tuple):
            # pytest names the line that skipped, which is in this file; name the test instead.
            path, line, _ = item.location
            report.longrepr = (path, (line or 0) + 1, report.longrepr[2])
        attempt.add(report)
        chronicle = self._chronicles[attempt.step.scenario]
        try:
            if report.failed:
                chronicle.fail(attempt)
            if call.when == "teardown":
                chronicle.finish(attempt)
                chronicle.finish_phase(attempt.step, item.config)
        except JournalError as error:
            self._lose_journal(error)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, None, None]:
        """At a scenario's end take its session fixtures down, too; hold SIGTERM back meanwhile.

        Else they would live until the next scenario's first step, and an error in their teardown would be
        reported as that step's.
        """
        step = item.stash.get(STEP, None)
        with self._signals.held():
            if step and nextitem is not None and step.nodeid == self._chronicles[step.scenario].last:
                teardown.everything(item.session)
            return (yield)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Write the interruption into the journal of the scenario that it fell into."""
        self._state.interrupted_by = self._state.interrupted_by or interruption(excinfo)
        if self._attempt is not None:
            run = self._state.runs[self._attempt.step.scenario]
            try:
                note_interruption(run, self._state.interrupted_by)
            except JournalError as error:
                self._lose_journal(error)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """In a worker, tell the controller what it cannot read from the journal."""
        self._signals.finishing = True
        if is_worker(session.config):
            worker_output(session.config)["cnimigrate"] = {
                "refusal": self._state.refusal,
                "journal_error": self._state.journal_error,
            }

    def _begin(self, item: pytest.Item, step: Step, chronicle: Chronicle) -> Attempt:
        try:
            if not self._state.journal_error:
                chronicle.enter(owner(item.config))
        except JournalError as error:
            self._lose_journal(error)
        stop = chronicle.gate.blocks(step)
        if stop is None and self._state.journal_error:
            stop = Stop(step.phase, step.nodeid, self._state.journal_error, for_good=True)
        # Not record_property: that warns with junit_family=xunit2.
        item.user_properties.extend(step_properties(step, after=stop.nodeid if stop else None))
        return Attempt(item, step, stop)

    def _start(self, attempt: Attempt) -> None:
        try:
            self._chronicles[attempt.step.scenario].start(attempt)
        except JournalError as error:
            self._lose_journal(error)
            _give_up(error)

    def _announce(self, chronicle: Chronicle, session: pytest.Session) -> None:
        try:
            chronicle.announce()
        except JournalError as error:
            self._state.refusal = str(error)
            if not is_worker(session.config):
                raise pytest.UsageError(str(error)) from error
            session.items.clear()  # Raising here would keep the collection from being reported.

    def _lose_journal(self, error: JournalError) -> None:
        self._state.journal_error = self._state.journal_error or str(error)


def _give_up(error: JournalError) -> NoReturn:
    pytest.fail(f"{error}: nothing is begun that cannot be recorded", pytrace=False)
