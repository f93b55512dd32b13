"""No workload below its disruption budget."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.observe.invariants.base import Invariant, Violation
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.ledger import Ledger
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State


class WorkloadBelowBudget(Invariant):
    """Never a workload below its budget, once it has met it.

    By the budget's own status. That more is demanded of it (it was scaled up, its budget was raised) is no
    fall.
    """

    name = "workload-below-budget"
    why = (
        "its owner has said how many pods it needs; evictions honour that, but deletions, failing nodes and "
        "a CNI that gives no addresses do not"
    )
    kinds = ("PodDisruptionBudget",)

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context, ledger)
        self._healthy: dict[str, int] = {}
        """By budget that was met, how many healthy pods it had."""

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        key = transition.key
        numbers = _numbers(transition.new)
        if numbers is None:
            self._healthy.pop(key, None)
            return
        healthy, needed = numbers
        if healthy >= needed:
            self._healthy[key] = healthy
            return
        before = self._healthy.pop(key, None)
        if before is not None and healthy < before:
            yield self.violation(
                transition,
                f"what PodDisruptionBudget {key} protects has fallen to {healthy} healthy pods, "
                f"{needed} are needed (it had {before})",
            )


def _numbers(budget: Object | None) -> tuple[int, int] | None:
    """Healthy and needed pods, if the status says so of the present spec and of any pods at all."""
    status = (budget or {}).get("status") or {}
    if budget is None or not status.get("expectedPods"):
        return None
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        return None
    return status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
