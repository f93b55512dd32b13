"""Which part of a scenario may be picked: whole phases, from the first on, without a gap."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_cnimigrate.plugin.catalog import STEP, ActiveScenario, Catalog, Step, of_scenario


class Selection:
    """Everything that the modules of a scenario hold, to compare with what was picked from it."""

    def __init__(self, catalog: Catalog, here: Path) -> None:
        self._catalog = catalog
        self._here = here
        self._items: dict[str, pytest.Item] = {}
        self._positions: dict[str, int] = {}
        self._skipped: set[str] = set()

    @property
    def everything(self) -> Sequence[pytest.Item]:
        """Every test that the collected modules hold, whether it was picked or not."""
        return [item for item in self._items.values() if STEP in item.stash]

    def made(self, node: pytest.Item | pytest.Collector) -> None:
        """A test or class was found in a phase module."""
        self._positions.setdefault(node.nodeid, len(self._positions))
        if isinstance(node, pytest.Item):
            self._items.setdefault(node.nodeid, node)

    def skipped(self, nodeid: str) -> None:
        """A module skipped itself."""
        self._skipped.add(nodeid)

    def position(self, item: pytest.Item) -> tuple[int, ...]:
        """Where a test stands in its module: the places of its classes and its own."""
        return tuple(self._positions.get(node.nodeid, -1) for node in item.listchain())

    def refuse_gaps(self, items: Sequence[pytest.Item]) -> None:
        """Raise `UsageError` if something was left out before the last step that was picked.

        The last phase counts as a whole. The line names what is missing and what to type.
        """
        picked = {item.nodeid: step for item in items if (step := item.stash.get(STEP, None)) is not None}
        held = [item.stash[STEP] for item in sorted(self.everything, key=self.position)]
        for active in self._catalog:
            steps = of_scenario(picked.values(), active.name)
            if steps:
                self._refuse_gaps_of(active, of_scenario(held, active.name), steps)

    def _refuse_gaps_of(self, active: ActiveScenario, held: Sequence[Step], steps: Sequence[Step]) -> None:
        phases = active.scenario.phases
        picked = {step.nodeid for step in steps}
        latest = max(steps, key=lambda step: phases.index(step.phase))
        last = phases.index(latest.phase)
        for phase in phases[: last + 1]:
            of_phase = [step for step in held if step.phase == phase]
            missing = next((step.nodeid for step in of_phase if step.nodeid not in picked), None)
            if missing is None and not of_phase and not self._has_skipped(active.modules[phase]):
                missing = f"phase {phase} ({active.modules[phase].name})"
            if missing is not None:
                raise pytest.UsageError(
                    f"{latest.nodeid} was picked without {missing}, but phases build on one another: "
                    f"run whole phases from the first on, e.g. pytest {self._command(active, last)}"
                )

    def _has_skipped(self, module: Path) -> bool:
        return any(str(module).endswith(f"/{nodeid}") for nodeid in self._skipped)

    def _command(self, active: ActiveScenario, last: int) -> str:
        modules = list(active.modules.values())[: last + 1]
        paths = [active.scenario.folder] if len(modules) == len(active.modules) else modules
        return shlex.join(os.path.relpath(path, self._here) for path in paths)
