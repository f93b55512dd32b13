"""Cordoning nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pytest_cnimigrate.model.resources import NODES
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Captured, Change, Worksite


@dataclass(frozen=True, slots=True)
class CordonNode(Change):
    """Mark one node unschedulable. Pods that run there, those of DaemonSets included, stay.

    A node that has gone meanwhile takes no pods either: large groups lose and replace nodes at any time.
    """

    kind: ClassVar[str] = "cordon-node"

    node: str

    def describe(self) -> str:
        return f"cordon node {self.node}"

    def holds(self, cluster: Cluster) -> bool:
        node = cluster.kube.find(NODES, self.node)
        return node is None or bool(node["spec"].get("unschedulable"))

    def apply(self, site: Worksite) -> None:
        site.cluster.kube.patch(NODES, self.node, {"spec": {"unschedulable": True}})

    def undo(self, site: Worksite, captured: Captured) -> None:
        if site.cluster.kube.find(NODES, self.node) is not None:
            site.cluster.kube.patch(NODES, self.node, {"spec": {"unschedulable": None}})
