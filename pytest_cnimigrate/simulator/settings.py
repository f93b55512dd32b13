"""What can be chosen about an embedded cluster; travels as JSON from whoever starts it to its process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """A managed node group that is there from the start. Taints are in Kubernetes' spelling."""

    name: str
    instance_type: str = "m5.large"
    minimum: int = 0
    maximum: int = 3
    desired: int = 3
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """An embedded cluster."""

    name: str = "embedded"
    region: str = "us-west-1"
    groups: tuple[GroupSettings, ...] = (GroupSettings("ng-1"),)
    workloads: tuple[str, ...] = ("aws-node", "kube-proxy", "coredns", "shop")
    """Files of `workloads/` that are applied at the start, in this order."""
    speed: float = 20.0
    faults: tuple[str, ...] = ()
    port: int = 0
    """Of the API server; 0 takes a free one."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ClusterSettings:
        groups = tuple(
            GroupSettings(**{**group, "taints": tuple(group.get("taints", ()))}) for group in value["groups"]
        )
        lists = {key: tuple(value[key]) for key in ("workloads", "faults") if key in value}
        return cls(**{**value, **lists, "groups": groups})
