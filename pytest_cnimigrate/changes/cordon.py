"""Cordoning nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pytest_cnimigrate.model.resources import NODES
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Captured, Change, Worksite


@dataclass(frozen=True, slots=True)
class CordonNode(Change):
    """Mark one node unschedulable. Pods that run there, those of DaemonSets included, stay."""

    kind: ClassVar[str] = "cordon-node"

    node: str

    def describe(self) -> str:
        return f"cordon node {self.node}"

    def holds(self, cluster: Cluster) -> bool:
        return bool(cluster.kube.get(NODES, self.node)["spec"].get("unschedulable"))

    def apply(self, site: Worksite) -> None:
        site.cluster.kube.patch(NODES, self.node, {"spec": {"unschedulable": True}})

    def undo(self, site: Worksite, captured: Captured) -> None:
        site.cluster.kube.patch(NODES, self.node, {"spec": {"unschedulable": None}})
