"""eksctl's `ClusterConfig`: which cluster and which managed node groups there are to be.

The subset that a migration reads; every other key is refused by name rather than ignored.
Schema: https://eksctl.io/usage/schema/
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pytest_cnimigrate.model import documents


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Part):
    name: str = Field(pattern=r"^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$")
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    version: str | None = None
    """Kubernetes' minor version, e.g. "1.34"."""
    tags: dict[str, str] = {}


class Taint(_Part):
    key: str
    value: str = ""
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"]

    def as_object(self) -> dict[str, str]:
        return {"key": self.key, "value": self.value, "effect": self.effect}

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


class ManagedNodeGroup(_Part):
    """A managed node group as eksctl would create it."""

    name: str
    instance_type: str = Field(default="m5.large", alias="instanceType")
    minimum: int | None = Field(default=None, alias="minSize", ge=0, strict=True)
    maximum: int | None = Field(default=None, alias="maxSize", ge=1, strict=True)
    desired: int = Field(default=2, alias="desiredCapacity", ge=0, strict=True)
    """As eksctl: minSize, or 2, unless said."""
    volume_size: int | None = Field(default=None, alias="volumeSize", ge=1)
    private_networking: bool = Field(default=False, alias="privateNetworking")
    ami_family: str | None = Field(default=None, alias="amiFamily")
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    tags: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _desire_the_minimum(cls, value: Any) -> Any:
        if isinstance(value, dict) and "desiredCapacity" not in value and value.get("minSize") is not None:
            return {**value, "desiredCapacity": value["minSize"]}
        return value

    @property
    def minimum_size(self) -> int:
        """As eksctl: the desired capacity, unless said."""
        return self.desired if self.minimum is None else self.minimum

    @property
    def maximum_size(self) -> int:
        """As eksctl: the desired capacity, but at least 1, unless said."""
        return max(1, self.desired) if self.maximum is None else self.maximum


class ClusterConfig(_Part):
    api_version: Literal["eksctl.io/v1alpha5"] = Field(alias="apiVersion")
    kind: Literal["ClusterConfig"]
    metadata: Metadata
    node_groups: tuple[ManagedNodeGroup, ...] = Field(alias="managedNodeGroups", min_length=1)

    def group(self, name: str) -> ManagedNodeGroup | None:
        """The managed node group of that name, or None."""
        return next((group for group in self.node_groups if group.name == name), None)


def load(path: Path) -> ClusterConfig:
    """Read a `ClusterConfig`. Raises `documents.DocumentError` (one line: file, line, field).

    Sizes that EKS would refuse (minSize ≤ desiredCapacity ≤ maxSize does not hold) are refused here.
    """
    document = documents.load(path)
    config = documents.validate(document, ClusterConfig)
    names = [group.name for group in config.node_groups]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise document.error(("managedNodeGroups", index, "name"), f"there are two groups named {name}")
        group = config.node_groups[index]
        if not group.minimum_size <= group.desired <= group.maximum_size:
            raise document.error(
                ("managedNodeGroups", index, "desiredCapacity"),
                f"{group.desired} is not between minSize {group.minimum_size} "
                f"and maxSize {group.maximum_size}",
            )
    return config
