"""The simulator's pace: every delay of the simulated world goes through here.

There is no virtual clock: clients live in other processes and use wall time, so timestamps are wall
time too, and only the delays shrink. At `speed` 20 a goldpinger that refreshes every 5 s does so every
0.25 s, and a node that needs 40 s to boot needs 2 s.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the simulated world runs, and its seeded randomness."""

    speed: float = 20.0
    """Simulated seconds in one second of wall time."""
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def wall(self, seconds: float) -> float:
        """The wall time, in seconds, that `seconds` of the simulated world take."""
        return seconds / self.speed

    async def sleep(self, seconds: float, *, jitter: float = 0.0) -> None:
        """Let `seconds` of the simulated world pass, give or take the fraction `jitter`."""
        if jitter:
            seconds *= 1 + self.random.uniform(-jitter, jitter)
        await asyncio.sleep(self.wall(seconds))

    def heartbeat_interval(self, nodes: int) -> float:
        """The wall time between two renewals of a node's lease, with this many nodes in the cluster.

        Kubelet renews every 10 s. At a high speed or with many nodes that would be nothing but heartbeats,
        so there is a floor; whoever judges leases allows for it (several intervals, as 40 s are in reality).
        """
        return max(self.wall(10.0), 0.5, nodes / 250)
