"""The add-ons that EKS offers here: versions, what they own in the cluster, what can be configured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pytest_cnimigrate.model.resources import DAEMON_SETS, DEPLOYMENTS, Resource
from pytest_cnimigrate.simulator.aws.errors import AwsError

_OS_AND_ARCHITECTURE: list[dict[str, Any]] = [
    {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
    {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]},
]
_NOT_ON_FARGATE: dict[str, Any] = {
    "key": "eks.amazonaws.com/compute-type",
    "operator": "NotIn",
    "values": ["fargate", "hybrid", "auto"],
}


def _required_node_affinity(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [*expressions]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


@dataclass(frozen=True, slots=True)
class AddOnKind:
    """One add-on of the catalog. Everything lives in `kube-system`."""

    name: str
    type: str
    versions: tuple[str, ...]
    """Newest first; the last one is the default, as EKS lags behind on purpose."""
    resource: Resource
    workload: str
    images: tuple[str, ...]
    """Last parts of the image names whose tag is the add-on's version."""
    affinity: dict[str, Any]
    configurable: tuple[str, ...] = field(
        default=("affinity", "env", "podAnnotations", "podLabels", "resources", "tolerations")
    )
    """Top-level fields of `configurationValues`; EKS knows more of them than are simulated."""

    @property
    def default_version(self) -> str:
        return self.versions[-1]

    def schema(self) -> str:
        """`configurationSchema`, a JSON schema in a string."""
        kinds = {"tolerations": "array"}
        return json.dumps(
            {
                "$schema": "http://json-schema.org/draft-06/schema#",
                "$ref": f"#/definitions/{self.name}",
                "definitions": {
                    self.name: {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            name: {"type": kinds.get(name, "object")} for name in self.configurable
                        },
                    }
                },
            }
        )


CATALOG: dict[str, AddOnKind] = {
    kind.name: kind
    for kind in (
        AddOnKind(
            name="vpc-cni",
            type="networking",
            versions=("v1.19.5-eksbuild.1", "v1.19.2-eksbuild.1"),
            resource=DAEMON_SETS,
            workload="aws-node",
            images=("amazon-k8s-cni", "amazon-k8s-cni-init"),
            affinity=_required_node_affinity(*_OS_AND_ARCHITECTURE, _NOT_ON_FARGATE),
        ),
        AddOnKind(
            name="kube-proxy",
            type="networking",
            versions=("v1.32.3-eksbuild.7", "v1.32.0-eksbuild.2"),
            resource=DAEMON_SETS,
            workload="kube-proxy",
            images=("kube-proxy",),
            affinity=_required_node_affinity(*_OS_AND_ARCHITECTURE, _NOT_ON_FARGATE),
        ),
        AddOnKind(
            name="coredns",
            type="networking",
            versions=("v1.11.4-eksbuild.14", "v1.11.4-eksbuild.2"),
            resource=DEPLOYMENTS,
            workload="coredns",
            images=("coredns",),
            affinity={},
        ),
    )
}


def add_on_kind(name: str) -> AddOnKind:
    """The add-on, or InvalidParameterException for one that EKS does not offer here."""
    try:
        return CATALOG[name]
    except KeyError:
        raise AwsError(
            "InvalidParameterException",
            f"Addon {name} specified is not supported (the simulator has {', '.join(CATALOG)})",
            addonName=name,
        ) from None


def check_version(kind: AddOnKind, version: str) -> str:
    """The version as given or the default one; InvalidParameterException for an unknown one."""
    if version and version not in kind.versions:
        raise AwsError(
            "InvalidParameterException",
            f"Addon version specified is not supported (available: {', '.join(kind.versions)})",
            addonName=kind.name,
        )
    return version or kind.default_version
