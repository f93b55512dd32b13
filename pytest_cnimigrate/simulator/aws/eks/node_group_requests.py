"""What a request about a node group must satisfy, in the words that EKS refuses it with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pytest_cnimigrate.simulator.aws.eks.node_group import NodeGroup, Taint
from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.instance_types import instance_type
from pytest_cnimigrate.simulator.aws.operations import Parameters
from pytest_cnimigrate.simulator.aws.scaling_group import Sizes
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.cloud import CloudError

DEFAULT_SIZES = {"minSize": 1, "maxSize": 2, "desiredSize": 2}
RESERVED_LABEL_PREFIXES = ("kubernetes.io/", "k8s.io/", "eks.amazonaws.com/")
_QUALIFIED_NAME = r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_LABEL_VALUE = r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"


def refusal(message: str, *, cluster: str, group: str) -> AwsError:
    """InvalidParameterException about a node group."""
    return AwsError("InvalidParameterException", message, clusterName=cluster, nodegroupName=group)


def check_creation(given: Parameters, vpc: VpcModel) -> Sizes:
    """Refuse a CreateNodegroup that EKS would refuse; the sizes that it asks for otherwise."""
    cluster, group = given["clusterName"], given["nodegroupName"]
    if not re.fullmatch(r"[0-9A-Za-z][A-Za-z0-9\-_]{0,62}", group):
        raise refusal(
            "The nodegroup name may hold up to 63 letters, digits, hyphens and underscores",
            cluster=cluster,
            group=group,
        )
    try:
        for subnet_id in given["subnets"]:
            vpc.subnet(subnet_id)
        for name in given.get("instanceTypes", ()):
            instance_type(name)
    except CloudError as error:
        raise refusal(error.message, cluster=cluster, group=group) from error
    if not given["subnets"]:
        raise refusal("Subnets are required", cluster=cluster, group=group)
    check_labels(given.get("labels", {}), cluster=cluster, group=group)
    check_taints(given.get("taints", ()), cluster=cluster, group=group)
    wanted = {**DEFAULT_SIZES, **given.get("scalingConfig", {})}
    sizes = Sizes(wanted["minSize"], wanted["maxSize"], wanted["desiredSize"])
    # CreateNodegroup and UpdateNodegroupConfig word the same refusals differently.
    if sizes.minimum > sizes.desired:
        raise refusal("minSize can't be greater than desiredSize", cluster=cluster, group=group)
    if sizes.desired > sizes.maximum:
        raise refusal("desiredSize can't be greater than maxSize", cluster=cluster, group=group)
    return sizes


def check_resize(group: NodeGroup, wanted: Mapping[str, int]) -> Sizes:
    """The sizes after an update that names some of them, or the refusal of EKS."""
    current = group.scaling.sizes
    sizes = Sizes(
        wanted.get("minSize", current.minimum),
        wanted.get("maxSize", current.maximum),
        wanted.get("desiredSize", current.desired),
    )
    if sizes.minimum > sizes.desired:
        raise refusal(
            f"Minimum capacity {sizes.minimum} can't be greater than desired size {sizes.desired}",
            cluster=group.cluster,
            group=group.name,
        )
    if sizes.desired > sizes.maximum:
        raise refusal(
            f"desired capacity {sizes.desired} can't be greater than max size {sizes.maximum}",
            cluster=group.cluster,
            group=group.name,
        )
    return sizes


def check_labels(labels: Mapping[str, str], *, cluster: str, group: str) -> None:
    for key, value in labels.items():
        if not re.fullmatch(_QUALIFIED_NAME, key) or not re.fullmatch(_LABEL_VALUE, value):
            raise refusal(f"Label {key}={value} is not valid", cluster=cluster, group=group)
        if key.startswith(RESERVED_LABEL_PREFIXES):
            raise refusal(
                f"Label cannot contain reserved prefixes [{', '.join(RESERVED_LABEL_PREFIXES)}]: {key}",
                cluster=cluster,
                group=group,
            )


def check_taints(taints: Sequence[Taint], *, cluster: str, group: str) -> None:
    if len(taints) > 50:
        raise refusal("A node group may have at most 50 taints", cluster=cluster, group=group)
    seen: set[tuple[str, str]] = set()
    for taint in taints:
        problem = ""
        if not taint.get("key") or not taint.get("effect"):
            problem = "Taint key and effect are required"
        elif not re.fullmatch(_QUALIFIED_NAME, taint["key"]):
            problem = f"Taint key {taint['key']} is not valid"
        elif not re.fullmatch(_LABEL_VALUE, taint.get("value", "")):
            problem = f"Taint value {taint['value']} is not valid"
        elif (taint["key"], taint["effect"]) in seen:
            problem = f"Taint {taint['key']} with effect {taint['effect']} is given twice"
        if problem:
            raise refusal(problem, cluster=cluster, group=group)
        seen.add((taint["key"], taint["effect"]))
