"""What the command line, the environment and the ini file ask of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Keep: TypeAlias = Literal["never", "on-failure", "always"]
"""Whether the cluster stays when the run is over."""

CLUSTERS = ("sim", "kind", "eks", "context")
"""Where a scenario can run: the embedded cluster, a kind cluster, EKS, any kubeconfig context."""

KEEP_CHOICES: tuple[Keep, ...] = ("never", "on-failure", "always")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of one run, already resolved: command line > environment > ini file > default."""

    cluster: str
    """One of `CLUSTERS`."""
    keep: Keep
    out: Path
    """The run directory, absolute."""
    overrides: tuple[str, ...]
    """`dotted.key=value`, laid over `scenario.yaml`."""
    scenario_files: tuple[Path, ...]
    """Every scenario file of this run, absolute."""
