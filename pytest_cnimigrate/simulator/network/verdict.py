"""What the data plane says about one attempt to reach something, in one direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_cnimigrate.model.objects import Object

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.nodes.machine import Sandbox

Outcome = Literal["open", "refused", "dropped"]
"""The port is open; somebody answers that it is closed; nobody answers at all."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a connection comes about, and if not, what is in its way."""

    ok: bool
    reason: str
    """In words, naming what is in the way; "" when nothing is."""
    latency_ms: float = 0.0
    target_pod: Object | None = None
    outcome: Outcome = "open"
    address: str = ""
    """Where the connection went in the end (behind a Service: the endpoint), or what a name resolved to."""
    port: int = 0
    target: Sandbox | None = None


def dropped(reason: str, address: str = "") -> Verdict:
    return Verdict(False, reason, outcome="dropped", address=address)


def refused(reason: str, address: str = "", target_pod: Object | None = None) -> Verdict:
    return Verdict(False, reason, outcome="refused", address=address, target_pod=target_pod)
