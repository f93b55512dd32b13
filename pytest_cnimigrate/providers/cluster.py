"""A cluster as the layers above see it, whichever provider it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_cnimigrate.kube.client import KubeClient, KubeReader
from pytest_cnimigrate.providers.eksctl import ClusterConfig
from pytest_cnimigrate.providers.helm import Helm, HelmReader
from pytest_cnimigrate.providers.node_groups import NodeGroupReader, NodeGroups


class ProviderError(Exception):
    """A cluster could not be provisioned or adopted; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster to look at: nothing reached from here can change it."""

    name: str
    provider: str
    """`sim`, `kind`, `eks` or `context`."""
    server: str
    """The API server's URL."""
    kube: KubeReader
    node_groups: NodeGroupReader
    helm: HelmReader


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster to work on. Only changes hold one; everybody else gets its `view`."""

    name: str
    provider: str
    server: str
    kubeconfig: Path
    kube: KubeClient
    node_groups: NodeGroups
    helm: Helm
    poll_interval: float
    """How often, in seconds, it is worth asking this cluster the same question again."""
    speed: float = 1.0
    """How many seconds of its own life pass in one of ours; more than 1 on an embedded cluster only."""

    @property
    def view(self) -> ClusterView:
        return ClusterView(
            name=self.name,
            provider=self.provider,
            server=self.server,
            kube=self.kube.read_only(),
            node_groups=self.node_groups,
            helm=self.helm,
        )


@dataclass(frozen=True, slots=True)
class ClusterRequest:
    """Which cluster a run needs."""

    name: str
    region: str
    config: ClusterConfig
    """What eksctl would make of it."""
    absent_groups: tuple[str, ...]
    """Node groups of that file that the migration itself creates: not there at the start."""
    folder: Path
    """The run's folder: kubeconfig and logs go here."""
    run_id: str
    speed: float
    faults: tuple[str, ...]
    port: int = 0
    """Of the embedded cluster's API server; 0 takes a free one."""


class Provider(Protocol):
    """Creates or adopts clusters."""

    name: str

    def provision(self, request: ClusterRequest, note: Callable[[str], None]) -> Cluster:
        """A cluster that answers, with its nodes Ready. Raises `ProviderError`."""

    def release(self, *, keep: bool) -> str:
        """Give the cluster back: remove it if this provider created it, unless `keep`.

        Returns how to reach what has been kept, or "".
        """
