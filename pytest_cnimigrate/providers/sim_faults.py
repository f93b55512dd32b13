"""Which faults the embedded cluster knows by name, for whoever has to judge a name before a cluster runs."""

from __future__ import annotations

# Every part registers its own faults where it is defined; the cluster brings all parts.
import pytest_cnimigrate.simulator.cluster  # noqa: F401
from pytest_cnimigrate.simulator.faults import KNOWN


def known_faults() -> tuple[str, ...]:
    """The names that `simulator.faults` in a scenario may list, sorted."""
    return tuple(sorted(KNOWN))
