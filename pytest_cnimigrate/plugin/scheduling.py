"""A scheduler for pytest-xdist whose unit of work is the scenario.

Imported only in a distributed run: it needs pytest-xdist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController


class ScenarioScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no py.typed
    """All steps of a scenario go to one worker, in order; ordinary tests go by module."""

    def __init__(
        self,
        config: pytest.Config,
        log: Any,
        *,
        scenario_of: Callable[[str], str | None],
        has_finished: Callable[[str], bool],
    ) -> None:
        super().__init__(config, log)
        self._scenario_of = scenario_of
        self._has_finished = has_finished

    def _split_scope(self, nodeid: str) -> str:
        scenario = self._scenario_of(nodeid)
        return f"scenario {scenario}" if scenario is not None else nodeid.rpartition("::")[0]

    def remove_node(self, node: WorkerController) -> str | None:
        """Forget a worker and hand on what it had left. Returns the step that it died in, if any.

        xdist would run that one again, and again after the next crash; here it is not handed on. The rest
        does go to another worker: it finds in the journal that the scenario is not its own, and reports the
        steps as not run. A step whose end is on record is not the one that the worker died in.
        """
        workload: dict[str, dict[str, bool]] = self.assigned_work.get(node, {})
        for unit in workload.values():
            for nodeid, completed in unit.items():
                if not completed:
                    mine = self._scenario_of(nodeid) is not None
                    unit[nodeid] = mine
                    crashed: str | None = super().remove_node(node)
                    if not mine:
                        return crashed
                    return None if self._has_finished(nodeid) else nodeid
        rest: str | None = super().remove_node(node)
        return rest
