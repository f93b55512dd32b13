"""What is collected of a scenario, in which order, and what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_cnimigrate.plugin.catalog import STEP, ActiveScenario, Catalog, Step, headline, in_words
from pytest_cnimigrate.plugin.selection import Selection
from pytest_cnimigrate.plugin.state import State, is_worker

SCENARIO_FIXTURE = "scenario_run"
MUTATING_FIXTURE = "migrate"


class Collection:
    """Hooks that turn the tests of phase modules into steps and put them in order."""

    def __init__(self, catalog: Catalog, state: State, here: Path) -> None:
        self._catalog = catalog
        self._state = state
        self._selection = Selection(catalog, here)
        self._chosen = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """In a worker, hand a refusal to the controller: as an exception it would look like a crash."""
        try:
            return (yield)
        except pytest.UsageError as error:
            if not is_worker(session.config) or session.items:
                raise
            self._state.refusal = self._state.refusal or " ".join(map(str, error.args))
            return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Tie every test of a phase module to its scenario, or to each of the scenarios that share it.

        The parameter makes session fixtures that use `scenario_run` belong to one scenario. It is the first
        one, so the scenario's name is the first part of the id, and it is hidden where there is no choice.
        """
        actives = [active for active, _ in self._catalog.of_module(metafunc.definition.path)]
        if not actives:
            return
        if SCENARIO_FIXTURE not in metafunc.fixturenames:
            metafunc.fixturenames.insert(0, SCENARIO_FIXTURE)
        metafunc.parametrize(
            SCENARIO_FIXTURE,
            [active.name for active in actives],
            ids=[pytest.HIDDEN_PARAM if active.alone else active.name for active in actives],
            indirect=True,
            scope="session",
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pycollect_makeitem(
        self, collector: pytest.Module | pytest.Class
    ) -> Generator[None, object, object]:
        """Note all that there is, before node ids, `--lf` and the like choose from it."""
        made = yield
        if self._catalog.of_module(collector.path):
            for node in made if isinstance(made, list) else [made]:
                if isinstance(node, pytest.Item):
                    self._label(node)
                if isinstance(node, pytest.Item | pytest.Collector):
                    self._selection.made(node)
        return made

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note modules that skip themselves: their phase does not apply, it is not missing."""
        if report.skipped:
            self._selection.skipped(report.nodeid)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self) -> Generator[None, None, None]:
        """Note that the choice of tests is complete: it is not if another plugin has refused it."""
        yield
        self._chosen = True

    # Here, after everybody has had a say in pytest_collection_modifyitems, nobody comes later: no plugin
    # that shuffles or deselects, nor pytest's own grouping by the parameters of fixtures.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Put the steps in order and refuse what would break a scenario's promises."""
        session.items.sort(key=self._order)
        # After an error in a module pytest shows it and runs nothing: no need to complain about the rest.
        if self._chosen and not session.testsfailed:
            try:
                self._refuse(session)
            except pytest.UsageError as error:
                self._state.refusal = str(error)
                if not is_worker(session.config):
                    raise
        if self._state.refusal:
            session.items.clear()  # Raising here would keep a worker from reporting its collection.
        yield

    def _order(self, item: pytest.Item) -> tuple[object, ...]:
        step = item.stash.get(STEP, None)
        if step is None:
            return (0,)  # Ordinary tests come first, as they are.
        return (1, *self._catalog.place(step), self._selection.position(item))

    def _label(self, item: pytest.Item) -> None:
        callspec = getattr(item, "callspec", None)
        scenario = callspec.params.get(SCENARIO_FIXTURE) if callspec is not None else None
        for active, phase in self._catalog.of_module(item.path):
            if active.name == scenario:
                item.stash[STEP] = Step(
                    nodeid=item.nodeid,
                    scenario=active.name,
                    phase=phase,
                    kind="action" if item.get_closest_marker("action") else "check",
                    always=item.get_closest_marker("always") is not None,
                    title=_title(item, active),
                )

    def _refuse(self, session: pytest.Session) -> None:
        for item in self._selection.everything:
            self._refuse_mutating_check(item)
        if not session.config.getoption("collectonly"):
            self._selection.refuse_gaps(session.items)

    @staticmethod
    def _refuse_mutating_check(item: pytest.Item) -> None:
        names = getattr(item, "fixturenames", ())
        if MUTATING_FIXTURE in names and not item.stash[STEP].is_action:
            raise pytest.UsageError(
                f"{item.nodeid} uses the fixture `{MUTATING_FIXTURE}`, itself or through another fixture, "
                "but is not marked @pytest.mark.action: a check never mutates"
            )


def _title(item: pytest.Item, active: ActiveScenario) -> str:
    """The first line of the docstring, else the name in words; with the parameters, if there are any."""
    name = getattr(item, "originalname", None) or item.name
    docstring = inspect.getdoc(getattr(item, "obj", None)) or ""
    title = headline(docstring) or in_words(name.removeprefix("test_"))
    parameters = item.name.removeprefix(name).removeprefix("[").removesuffix("]")
    if not active.alone:
        parameters = parameters.removeprefix(active.name).removeprefix("-")
    return f"{title} [{parameters}]" if parameters else title
