"""The active scenarios, their phase modules, and the steps that their tests are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # pydantic and yaml come with it
    from pytest_cnimigrate.run.scenario import Scenario

_PHASE_MODULE = re.compile(r"test_\d+_(\w+)\.py")


@dataclass(frozen=True, slots=True)
class Step:
    """A test of a scenario, as everybody but pytest sees it."""

    nodeid: str
    scenario: str
    phase: str
    kind: str
    """`action` (it mutates) or `check` (it only reads)."""
    always: bool
    """Whether it runs although the scenario has been stopped."""
    title: str

    @property
    def is_action(self) -> bool:
        return self.kind == "action"


STEP = pytest.StashKey[Step]()
"""In `item.stash`: the step that the item is. Absent for ordinary tests."""


@dataclass(frozen=True, slots=True)
class ActiveScenario:
    """A scenario of this run and the modules that carry it out."""

    scenario: Scenario
    modules: Mapping[str, Path]
    """Phase -> module, in the order of the phases."""
    alone: bool
    """Whether it is the only one in its folder; else node ids carry its name."""

    @property
    def name(self) -> str:
        return self.scenario.name


class Catalog:
    """The scenarios of this run, in the order in which they are carried out."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        """Find every scenario's modules. Raises `UsageError` where phases and modules do not match."""
        self.scenarios = tuple(
            ActiveScenario(
                scenario,
                phase_modules(scenario),
                alone=sum(other.folder == scenario.folder for other in scenarios) == 1,
            )
            for scenario in scenarios
        )
        self._refuse_same_names()
        self._by_module: dict[Path, list[tuple[ActiveScenario, str]]] = {}
        for active in self.scenarios:
            for phase, module in active.modules.items():
                self._by_module.setdefault(module.resolve(), []).append((active, phase))
        self.folders = frozenset(active.scenario.folder.resolve() for active in self.scenarios)

    def __iter__(self) -> Iterator[ActiveScenario]:
        return iter(self.scenarios)

    @property
    def names(self) -> list[str]:
        return [active.name for active in self.scenarios]

    def of_module(self, path: Path) -> Sequence[tuple[ActiveScenario, str]]:
        """The scenarios that a test module belongs to, each with the module's phase in it."""
        return self._by_module.get(path.resolve(), ())

    def named(self, name: str) -> ActiveScenario:
        """The scenario of this name."""
        return next(active for active in self.scenarios if active.name == name)

    def has_equal_names(self) -> bool:
        """Whether modules of different folders have the same file name."""
        names = [path.name for path in self._by_module]
        return len(set(names)) < len(names)

    def place(self, step: Step) -> tuple[int, int]:
        """Where a step's phase comes: the scenario's place in the run and the phase's in the scenario."""
        active = self.named(step.scenario)
        return self.scenarios.index(active), active.scenario.phases.index(step.phase)

    def _refuse_same_names(self) -> None:
        seen: dict[str, Scenario] = {}
        for active in self.scenarios:
            other = seen.setdefault(active.name, active.scenario)
            if other is not active.scenario:
                raise pytest.UsageError(
                    f"{active.scenario.path} and {other.path} are both named {active.name}: "
                    "scenarios of one run need different names"
                )


def phase_modules(scenario: Scenario) -> dict[str, Path]:
    """The module of every phase. Raises `UsageError` in one line where they do not match one to one."""
    modules: dict[str, Path] = {}
    for path in sorted(scenario.folder.glob("test_*.py")):
        match = _PHASE_MODULE.fullmatch(path.name)
        phase = match[1].replace("_", "-") if match else ""
        if phase not in scenario.phases:
            why = f"its phases do not list {phase}" if phase else "its name is not test_<number>_<phase>.py"
            raise pytest.UsageError(f"{path} is not a phase of {scenario.path}: {why}")
        if phase in modules:
            raise pytest.UsageError(f"{modules[phase]} and {path} are both modules of phase {phase}")
        modules[phase] = path
    for number, phase in enumerate(scenario.phases, start=1):
        if phase not in modules:
            # As the others are numbered: in tens, which leaves room, or one by one.
            in_tens = all(
                path.name[len("test_") :].partition("_")[0].endswith("0") for path in modules.values()
            )
            expected = f"test_{number * 10 if in_tens else number:02}_{phase.replace('-', '_')}.py"
            raise pytest.UsageError(
                f"{scenario.path} lists phase {phase}, which has no module: "
                f"{scenario.folder / expected} would be one"
            )
    return {phase: modules[phase] for phase in scenario.phases}


def in_words(name: str) -> str:
    """A Python or phase name as people would say it."""
    return name.replace("-", " ").replace("_", " ").strip()


def headline(text: str) -> str:
    """The first line of a docstring, without the full stop: it is shown as a title."""
    line = text.strip().partition("\n")[0].strip()
    return line.removesuffix(".") if not line.endswith("..") else line


def of_scenario(steps: Iterable[Step], scenario: str) -> list[Step]:
    """The steps of one scenario."""
    return [step for step in steps if step.scenario == scenario]
