"""Helm releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Captured, Change, Worksite


@dataclass(frozen=True, slots=True)
class UpgradeRelease(Change):
    """Install a release, or upgrade it to other values or another version."""

    kind: ClassVar[str] = "upgrade-release"

    release: str
    namespace: str
    chart: str
    version: str
    values: dict[str, Any]

    def describe(self) -> str:
        return (
            f"install or upgrade Helm release {self.namespace}/{self.release} ({self.chart} {self.version})"
        )

    def holds(self, cluster: Cluster) -> bool:
        present = cluster.helm.find(self.release, self.namespace)
        return (
            present is not None
            and present.status == "deployed"
            and present.version == self.version
            and present.values == self.values
        )

    def capture(self, cluster: Cluster) -> Captured:
        present = cluster.helm.find(self.release, self.namespace)
        return {"revision": present.revision if present else 0}

    def apply(self, site: Worksite) -> None:
        site.cluster.helm.upgrade(
            self.release, self.namespace, chart=self.chart, version=self.version, values=self.values
        )

    def undo(self, site: Worksite, captured: Captured) -> None:
        if captured["revision"]:
            site.cluster.helm.rollback(self.release, self.namespace, captured["revision"])
        elif site.cluster.helm.find(self.release, self.namespace) is not None:
            site.cluster.helm.uninstall(self.release, self.namespace)
