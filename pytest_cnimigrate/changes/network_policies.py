"""Holding NetworkPolicies back while two CNIs are in the cluster.

Cilium enforces a policy as soon as it sees it, and knows pods of the other CNI only as addresses without
an identity: what a policy allows by pod or namespace selector is then dropped between the two sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pytest_cnimigrate.changes.restoring import as_manifest
from pytest_cnimigrate.model.resources import NETWORK_POLICIES
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Captured, Change, Worksite


@dataclass(frozen=True, slots=True)
class HoldNetworkPolicy(Change):
    """Take a NetworkPolicy away, keeping its manifest in the journal. Undoing it puts the policy back."""

    kind: ClassVar[str] = "hold-networkpolicy"

    namespace: str
    name: str

    def describe(self) -> str:
        return f"hold back NetworkPolicy {self.namespace}/{self.name}"

    def holds(self, cluster: Cluster) -> bool:
        return cluster.kube.find(NETWORK_POLICIES, self.name, self.namespace) is None

    def capture(self, cluster: Cluster) -> Captured:
        return {"manifest": as_manifest(cluster.kube.get(NETWORK_POLICIES, self.name, self.namespace))}

    def apply(self, site: Worksite) -> None:
        site.cluster.kube.delete(NETWORK_POLICIES, self.name, self.namespace)

    def undo(self, site: Worksite, captured: Captured) -> None:
        if site.cluster.kube.find(NETWORK_POLICIES, self.name, self.namespace) is None:
            site.cluster.kube.create(NETWORK_POLICIES, captured["manifest"], self.namespace)
