"""One managed node group: what it is, and what DescribeNodegroup shows of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_cnimigrate.simulator.aws.operations import Result
from pytest_cnimigrate.simulator.aws.scaling_group import ScalingGroup

NodeGroupStatus = Literal["CREATING", "ACTIVE", "UPDATING", "DELETING", "CREATE_FAILED"]
Taint = dict[str, str]

_EFFECTS = {
    "NO_SCHEDULE": "NoSchedule",
    "NO_EXECUTE": "NoExecute",
    "PREFER_NO_SCHEDULE": "PreferNoSchedule",
}


def kubernetes_taint(taint: Taint) -> Taint:
    """EKS's `{key, value, effect: NO_SCHEDULE}` in Kubernetes spelling; no value is left out."""
    spelled = {"key": taint["key"], "effect": _EFFECTS[taint["effect"]]}
    return spelled | ({"value": taint["value"]} if taint.get("value") else {})


@dataclass(frozen=True, slots=True)
class Issue:
    """An entry of `health.issues`."""

    code: str
    message: str
    resource_ids: tuple[str, ...] = ()

    def describe(self) -> Result:
        return {"code": self.code, "message": self.message, "resourceIds": [*self.resource_ids]}


@dataclass(slots=True)
class NodeGroup:
    """The group's sizes live in its Auto Scaling group: EKS shows what that has, whoever set it."""

    name: str
    cluster: str
    arn: str
    version: str
    release_version: str
    instance_types: tuple[str, ...]
    subnet_ids: tuple[str, ...]
    node_role: str
    ami_type: str
    disk_size: int
    capacity_type: str
    labels: dict[str, str]
    taints: list[Taint]
    tags: dict[str, str]
    update_config: dict[str, Any]
    launch_template_id: str
    security_group_ids: tuple[str, ...]
    scaling: ScalingGroup = field(init=False)
    token: str = ""
    status: NodeGroupStatus = "CREATING"
    creation_issue: Issue | None = None
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    modified: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def issues(self) -> list[Issue]:
        """Why the group is CREATE_FAILED or DEGRADED."""
        if self.creation_issue is not None:
            return [self.creation_issue]
        issue = self.launch_issue()
        return [issue] if issue and self.status != "DELETING" else []

    def launch_issue(self) -> Issue | None:
        """What EKS makes of a scaling group that cannot launch instances."""
        failure = self.scaling.launch_failure
        if failure is None:
            return None
        if failure.code == "InsufficientFreeAddressesInSubnet":
            return Issue(
                "InsufficientFreeAddresses",
                "Amazon Autoscaling was unable to launch instances because there are not enough free "
                "addresses in the subnet associated with your AutoScaling group(s).",
                self.subnet_ids,
            )
        return Issue(
            "AsgInstanceLaunchFailures",
            f"Could not launch On-Demand Instances. {failure.code} - {failure.message} "
            "Launching EC2 instance failed.",
            (self.scaling.name,),
        )

    def shown_status(self) -> str:
        """The status as described: an active group with issues is DEGRADED."""
        return "DEGRADED" if self.status == "ACTIVE" and self.issues() else self.status

    def describe(self) -> Result:
        sizes = self.scaling.sizes
        return {
            "nodegroupName": self.name,
            "nodegroupArn": self.arn,
            "clusterName": self.cluster,
            "version": self.version,
            "releaseVersion": self.release_version,
            "createdAt": self.created,
            "modifiedAt": self.modified,
            "status": self.shown_status(),
            "capacityType": self.capacity_type,
            "scalingConfig": {
                "minSize": sizes.minimum,
                "maxSize": sizes.maximum,
                "desiredSize": sizes.desired,
            },
            "instanceTypes": [*self.instance_types],
            "subnets": [*self.subnet_ids],
            "amiType": self.ami_type,
            "nodeRole": self.node_role,
            "labels": self.labels,
            "taints": self.taints or None,
            "resources": {"autoScalingGroups": [{"name": self.scaling.name}]},
            "diskSize": self.disk_size,
            "health": {"issues": [issue.describe() for issue in self.issues()]},
            "updateConfig": self.update_config,
            "tags": self.tags,
        }
