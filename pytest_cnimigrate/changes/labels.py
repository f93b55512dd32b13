"""Labels of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pytest_cnimigrate.model.objects import labels_of
from pytest_cnimigrate.model.resources import NODES
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Captured, Change, Worksite


@dataclass(frozen=True, slots=True)
class LabelNode(Change):
    """Set labels of one node; a value of None takes the label away."""

    kind: ClassVar[str] = "label-node"

    node: str
    labels: dict[str, str | None]

    def describe(self) -> str:
        words = [f"{key}={value}" if value is not None else f"{key}-" for key, value in self.labels.items()]
        return f"label node {self.node} with {', '.join(words)}"

    def holds(self, cluster: Cluster) -> bool:
        present = self._present(cluster)
        return all(present.get(key) == value for key, value in self.labels.items())

    def capture(self, cluster: Cluster) -> Captured:
        present = self._present(cluster)
        return {"labels": {key: present.get(key) for key in self.labels}}

    def apply(self, site: Worksite) -> None:
        self._set(site, self.labels)

    def undo(self, site: Worksite, captured: Captured) -> None:
        self._set(site, captured["labels"])

    def _present(self, cluster: Cluster) -> dict[str, str]:
        return labels_of(cluster.kube.get(NODES, self.node))

    def _set(self, site: Worksite, labels: dict[str, str | None]) -> None:
        # In a merge patch null removes the key, and other labels are left alone.
        site.cluster.kube.patch(NODES, self.node, {"metadata": {"labels": labels}})
