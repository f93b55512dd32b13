"""Invariants: rules that hold at every moment of a migration, judged over its whole record."""

from pytest_cnimigrate.observe.invariants.base import Invariant, Lasting, Violation
from pytest_cnimigrate.observe.invariants.catalog import BUILT_IN, InvariantError, instances, own_invariants
from pytest_cnimigrate.observe.invariants.context import Context, ContextError
from pytest_cnimigrate.observe.invariants.judge import Judge, judge
from pytest_cnimigrate.observe.invariants.ledger import JournalTail, Ledger, OwnChange, read_changes

__all__ = [
    "Invariant",
    "Violation",
    "Lasting",
    "Context",
    "ContextError",
    "Ledger",
    "OwnChange",
    "JournalTail",
    "read_changes",
    "BUILT_IN",
    "own_invariants",
    "instances",
    "InvariantError",
    "Judge",
    "judge",
]
