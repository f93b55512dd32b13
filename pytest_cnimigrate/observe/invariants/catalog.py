"""Which invariants there are: our own, and those beside a scenario."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from pytest_cnimigrate.observe.invariants.base import Invariant
from pytest_cnimigrate.observe.invariants.batches import TooManyNodesOut
from pytest_cnimigrate.observe.invariants.budgets import WorkloadBelowBudget
from pytest_cnimigrate.observe.invariants.context import Context
from pytest_cnimigrate.observe.invariants.daemonset import OldCniChangedByOthers
from pytest_cnimigrate.observe.invariants.fences import NewNodeUntainted, OldNodeUnfenced
from pytest_cnimigrate.observe.invariants.ledger import Ledger
from pytest_cnimigrate.observe.invariants.mesh import MeshBelowExpected
from pytest_cnimigrate.observe.invariants.ownership import NodeWithoutCni, PodWithoutAgent
from pytest_cnimigrate.observe.invariants.placement import NewCniOnFencedNode, OldCniOnNewNode
from pytest_cnimigrate.observe.invariants.restarts import UnexpectedRestart

BUILT_IN: tuple[type[Invariant], ...] = (
    OldCniOnNewNode,
    NewCniOnFencedNode,
    NodeWithoutCni,
    PodWithoutAgent,
    TooManyNodesOut,
    WorkloadBelowBudget,
    UnexpectedRestart,
    OldCniChangedByOthers,
    OldNodeUnfenced,
    NewNodeUntainted,
    MeshBelowExpected,
)

OWN_FILE = "invariants.py"
"""Beside a `scenario.yaml`: the invariants of that scenario."""


class InvariantError(Exception):
    """Invariants that cannot be used; the text is one line that names the file and the class."""


def own_invariants(folder: Path) -> tuple[type[Invariant], ...]:
    """The invariants that a scenario brings along: every class of `invariants.py` that is one, in its order.

    None if there is no such file. Raises `InvariantError` for a file that cannot be loaded, and for a rule
    that lacks its name, reason or kinds or has the name of another.
    """
    path = folder / OWN_FILE
    if not path.is_file():
        return ()
    module = _load(path)
    found = tuple(
        one
        for one in vars(module).values()
        if inspect.isclass(one)
        and issubclass(one, Invariant)
        and one.__module__ == module.__name__
        and not one.__name__.startswith("_")
    )
    taken = {one.name for one in BUILT_IN}
    for rule in found:
        _check(path, rule, taken)
        taken.add(rule.name)
    return found


def instances(context: Context, ledger: Ledger, invariants: Iterable[type[Invariant]]) -> list[Invariant]:
    """The rules that are for this kind of migration, fresh, for one record."""
    return [rule(context, ledger) for rule in invariants if rule.applies(context)]


def _load(path: Path) -> ModuleType:
    # A name of its own: several scenarios may bring a file of this name.
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"cnimigrate_invariants_{digest}", path)
    if spec is None or spec.loader is None:
        raise InvariantError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvariantError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _check(path: Path, rule: type[Invariant], taken: set[str]) -> None:
    missing: Sequence[str] = [name for name in ("name", "why", "kinds") if not getattr(rule, name, None)]
    if missing:
        raise InvariantError(f"{path}: {rule.__name__} does not say its {', '.join(missing)}")
    if isinstance(rule.kinds, str):
        raise InvariantError(f'{path}: {rule.__name__}.kinds should be a collection, such as ("Pod",)')
    if inspect.isabstract(rule):
        raise InvariantError(f"{path}: {rule.__name__} does not define judge()")
    if rule.name in taken:
        raise InvariantError(f"{path}: there is another invariant named {rule.name}")
