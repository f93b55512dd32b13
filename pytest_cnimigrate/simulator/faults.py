"""Named faults: what can be made to go wrong in the simulated cluster.

Each fault models one real failure and says which. The part of the simulator that can fail asks
`faults.active(NAME)`; nothing else knows whether a fault is on. Faults are switched on as soon as the
cluster is up or while it runs (`POST /simulator/faults`), so that a rehearsal can break anything at any time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    effect: str
    """What goes wrong, in one sentence."""
    source: str
    """Where this has been seen, or the number in the list of failure modes (docs/failure-modes.md)."""


KNOWN: dict[str, Fault] = {}


def register(name: str, effect: str, source: str) -> str:
    """Make a fault known; returns its name, to be kept as a constant beside the code that asks for it."""
    KNOWN[name] = Fault(name, effect, source)
    return name


class UnknownFaultError(ValueError):
    """Somebody asked for a fault that does not exist; the text lists those that do."""


class Faults:
    """Which faults are on in one cluster."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self._active: set[str] = set()
        for name in names:
            self.activate(name)

    def activate(self, name: str) -> None:
        if name not in KNOWN:
            raise UnknownFaultError(f"no fault is named {name!r}; known are: {', '.join(sorted(KNOWN))}")
        self._active.add(name)

    def clear(self, name: str) -> None:
        self._active.discard(name)

    def active(self, name: str) -> bool:
        return name in self._active

    def names(self) -> list[str]:
        return sorted(self._active)
