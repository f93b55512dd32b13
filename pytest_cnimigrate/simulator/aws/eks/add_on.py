"""One managed add-on: what it is, and what DescribeAddon shows of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from pytest_cnimigrate.simulator.aws.eks.add_on_catalog import AddOnKind
from pytest_cnimigrate.simulator.aws.eks.add_on_objects import Applied, Fields, ResolveConflicts
from pytest_cnimigrate.simulator.aws.operations import Result


@dataclass(frozen=True, slots=True)
class Release:
    """What is installed: a version and its configuration."""

    version: str
    configuration_text: str = ""
    """`configurationValues` as given."""
    configuration: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class AddOn:
    kind: AddOnKind
    cluster: str
    arn: str
    release: Release
    role_arn: str
    tags: dict[str, str]
    status: str = "CREATING"
    issues: list[dict[str, Any]] = field(default_factory=list)
    applied: Fields | None = None
    """What EKS wrote last; None before the first time."""
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    modified: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def take(self, result: Applied, mode: ResolveConflicts) -> bool:
        """Note how an attempt to write ended; False, with the reason among the issues, if it failed."""
        workload = f"{self.kind.resource.kind}.apps {self.kind.workload}"
        if result.missing:
            self.issues = [issue("K8sResourceNotFound", f"{workload} is not in kube-system")]
            return False
        if result.conflicts and mode == "NONE":
            lines = "\n".join(f"{workload} - .spec.template.{path}" for path in result.conflicts)
            self.issues = [
                issue(
                    "ConfigurationConflict",
                    "Conflicts found when trying to apply. Will not continue due to resolve conflicts mode. "
                    f"Conflicts:\n{lines}",
                )
            ]
            return False
        self.issues = []
        self.applied = result.fields
        return True

    def describe(self, *, short_of_replicas: bool) -> Result:
        status, issues = self.status, self.issues
        if status == "ACTIVE" and short_of_replicas:
            status = "DEGRADED"
            issues = [
                issue(
                    "InsufficientNumberOfReplicas",
                    "The add-on is unhealthy because it doesn't have the desired number of replicas.",
                )
            ]
        return {
            "addonName": self.kind.name,
            "clusterName": self.cluster,
            "status": status,
            "addonVersion": self.release.version,
            "health": {"issues": issues},
            "addonArn": self.arn,
            "createdAt": self.created,
            "modifiedAt": self.modified,
            "serviceAccountRoleArn": self.role_arn or None,
            "tags": self.tags,
            "configurationValues": self.release.configuration_text or None,
        }


def issue(code: str, message: str) -> dict[str, Any]:
    """An entry of `health.issues`."""
    return {"code": code, "message": message, "resourceIds": []}
