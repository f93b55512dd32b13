"""The gate: whether a scenario goes on.

A failed action stops it at once. A failed check lets the other checks of its phase run, which is more
evidence for whoever decides, and then it stops. Steps marked `always` run nevertheless, unless the process
that carried the scenario out is gone or the journal cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_cnimigrate.plugin.catalog import Step


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a scenario does not go on."""

    phase: str
    nodeid: str
    """The step that it stopped in."""
    reason: str
    """For people, e.g. `the action "Install Cilium" failed in phase install-cilium`."""
    at_once: bool = True
    """Whether the checks of its own phase stop, too."""
    for_good: bool = False
    """Whether even steps marked `always` stop."""


class Gate:
    """The gate of one scenario."""

    def __init__(self) -> None:
        self.stop: Stop | None = None

    def failed(self, step: Step, *, at_once: bool = False) -> Stop | None:
        """A step failed. Returns the stop if this closes the gate, None if it was closed already.

        `at_once` stops the other checks of the phase, too, as after an action.
        """
        stop = Stop(
            phase=step.phase,
            nodeid=step.nodeid,
            reason=f'the {step.kind} "{step.title}" failed in phase {step.phase}',
            at_once=step.is_action or at_once,
        )
        return self.close(stop)

    def close(self, stop: Stop) -> Stop | None:
        """Close it. The first reason stays, unless a later one stops more."""
        current = self.stop
        if current is not None and (current.for_good, current.at_once) >= (stop.for_good, stop.at_once):
            return None
        self.stop = stop
        return stop if current is None else None

    def blocks(self, step: Step) -> Stop | None:
        """Why this step must not run, or None if it may."""
        stop = self.stop
        if stop is None or stop.for_good:
            return stop
        if step.always:
            return None
        if not stop.at_once and not step.is_action and step.phase == stop.phase:
            return None
        return stop
