"""Managed node groups and add-ons of an EKS cluster, through boto3.

The same code speaks to AWS and to the embedded cluster's AWS endpoint; only the session differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from pytest_cnimigrate.providers.node_groups import (
    Capacity,
    CloudBusyError,
    CloudError,
    NodeGroup,
    NodeGroupSpec,
)

if TYPE_CHECKING:
    from mypy_boto3_eks.literals import TaintEffectType
    from mypy_boto3_eks.type_defs import NodegroupTypeDef, TaintTypeDef

NODE_GROUP_LABEL = "eks.amazonaws.com/nodegroup"
"""EKS puts this label on every node of a managed group; it is there whatever became of ours."""

_EFFECTS: dict[str, TaintEffectType] = {
    "NoSchedule": "NO_SCHEDULE",
    "NoExecute": "NO_EXECUTE",
    "PreferNoSchedule": "PREFER_NO_SCHEDULE",
}
_EFFECT_NAMES: dict[str, str] = {aws: kubernetes for kubernetes, aws in _EFFECTS.items()}

# Timeouts that a person would wait for, and botocore's own back-off when AWS throttles.
_CLIENT_CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "max_attempts": 8},
    user_agent_extra="cnimigrate",
)


# botocore has tried these several times by itself before they get here.
_PASSING_CODES = frozenset(
    {
        "RequestLimitExceeded",
        "RequestTimeout",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


@contextmanager
def _errors(action: str) -> Iterator[None]:
    """Turn botocore's errors into `CloudError`s that say what was being done."""
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        # One line, also when something that is not AWS answers with a page of HTML.
        message = " ".join(str(details.get("Message")).split())[:500]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        retriable = status >= 500 or details.get("Code") in _PASSING_CODES
        text = f"could not {action}: {details.get('Code')}: {message}"
        kind = CloudBusyError if details.get("Code") == "ResourceInUseException" else CloudError
        raise kind(text, retriable=retriable) from error
    except (HTTPClientError, ConnectionError) as error:
        raise CloudError(f"could not {action}: {error}", retriable=True) from error
    except BotoCoreError as error:
        raise CloudError(f"could not {action}: {error}") from error


class EksNodeGroups:
    """`providers.node_groups.NodeGroups` of one EKS cluster."""

    def __init__(self, session: boto3.Session, cluster: str, *, endpoint_url: str | None = None) -> None:
        self._cluster = cluster
        self._eks = session.client("eks", endpoint_url=endpoint_url, config=_CLIENT_CONFIG)
        self._ec2 = session.client("ec2", endpoint_url=endpoint_url, config=_CLIENT_CONFIG)
        self._sts = session.client("sts", endpoint_url=endpoint_url, config=_CLIENT_CONFIG)

    def close(self) -> None:
        """Close the connections."""
        for client in (self._eks, self._ec2, self._sts):
            client.close()

    def find(self, name: str) -> NodeGroup | None:
        described = self._describe(name)
        return None if described is None else _as_node_group(described)

    def selector(self, name: str) -> str:
        return f"{NODE_GROUP_LABEL}={name}"

    def capacity(self, name: str, instance_type: str) -> Capacity:
        described = self._describe(name)
        if described is None:
            raise CloudError(f"cluster {self._cluster} has no node group {name}")
        with _errors(f"describe instance type {instance_type}"):
            types = self._ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
        machine, network = types[0], types[0]["NetworkInfo"]
        interfaces, per_interface = network["MaximumNetworkInterfaces"], network["Ipv4AddressesPerInterface"]
        subnets = described.get("subnets") or []
        with _errors(f"describe the subnets of node group {name}"):
            answer = self._ec2.describe_subnets(SubnetIds=subnets)["Subnets"] if subnets else []
        return Capacity(
            # The formula of EKS without prefix delegation: one address of each interface is its own, and two
            # pods (kube-proxy and the CNI) use the node's address.
            pods_per_node=interfaces * (per_interface - 1) + 2,
            addresses_per_node=interfaces * per_interface,
            free_addresses={subnet["SubnetId"]: subnet["AvailableIpAddressCount"] for subnet in answer},
            milli_cpus_per_node=machine["VCpuInfo"]["DefaultVCpus"] * 1000,
            memory_per_node=machine["MemoryInfo"]["SizeInMiB"] * 2**20,
        )

    def addon_status(self, addon: str) -> str | None:
        try:
            with _errors(f"describe add-on {addon}"):
                answer = self._eks.describe_addon(clusterName=self._cluster, addonName=addon)
        except CloudError as error:
            if _code(error) == "ResourceNotFoundException":
                return None
            raise
        return str(answer["addon"]["status"])

    def server(self) -> str:
        with _errors(f"describe cluster {self._cluster}"):
            return str(self._eks.describe_cluster(name=self._cluster)["cluster"]["endpoint"])

    def account(self) -> str:
        with _errors("ask STS who we are"):
            return str(self._sts.get_caller_identity()["Account"])

    def create(self, spec: NodeGroupSpec) -> None:
        like = self._describe(spec.like)
        if like is None:
            raise CloudError(
                f"cluster {self._cluster} has no node group {spec.like} to take role and subnets from"
            )
        with _errors(f"create node group {spec.name}"):
            self._eks.create_nodegroup(
                clusterName=self._cluster,
                nodegroupName=spec.name,
                nodeRole=like["nodeRole"],
                subnets=like["subnets"],
                scalingConfig={"minSize": 0, "maxSize": spec.maximum, "desiredSize": 0},
                labels=spec.labels,
                taints=[_as_aws_taint(taint) for taint in spec.taints],
                **_taken_over(like, spec.instance_type),
            )

    def scale(self, name: str, *, minimum: int, maximum: int, desired: int) -> None:
        with _errors(f"scale node group {name} to {desired}"):
            self._eks.update_nodegroup_config(
                clusterName=self._cluster,
                nodegroupName=name,
                scalingConfig={"minSize": minimum, "maxSize": maximum, "desiredSize": desired},
            )

    def label(self, name: str, *, add: dict[str, str], remove: tuple[str, ...] = ()) -> None:
        with _errors(f"label node group {name}"):
            self._eks.update_nodegroup_config(
                clusterName=self._cluster,
                nodegroupName=name,
                labels={"addOrUpdateLabels": add, "removeLabels": list(remove)},
            )

    def delete(self, name: str) -> None:
        with _errors(f"delete node group {name}"):
            self._eks.delete_nodegroup(clusterName=self._cluster, nodegroupName=name)

    def _describe(self, name: str) -> NodegroupTypeDef | None:
        try:
            with _errors(f"describe node group {name}"):
                answer = self._eks.describe_nodegroup(clusterName=self._cluster, nodegroupName=name)
        except CloudError as error:
            if _code(error) == "ResourceNotFoundException":
                return None
            raise
        described: NodegroupTypeDef = answer["nodegroup"]
        return described


def _code(error: CloudError) -> str:
    cause = error.__cause__
    return cause.response.get("Error", {}).get("Code", "") if isinstance(cause, ClientError) else ""


def _taken_over(like: NodegroupTypeDef, instance_type: str) -> dict[str, Any]:
    """What a new group takes over of an existing one, as far as CreateNodegroup accepts it.

    https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateNodegroup.html: with a launch template the
    disk belongs to the template, and so does the image if the type is CUSTOM; instance types are said only
    where the group says them. Tags under `aws:` are AWS's own (CloudFormation leaves some), and eksctl's tell
    which group of eksctl's this is.
    """
    taken: dict[str, Any] = {}
    template = like.get("launchTemplate") or {}
    if template.get("id"):
        taken["launchTemplate"] = {key: template[key] for key in ("id", "version") if template.get(key)}
    elif like.get("diskSize"):
        taken["diskSize"] = like["diskSize"]
    if like.get("amiType") and not (template and like["amiType"] == "CUSTOM"):
        taken["amiType"] = like["amiType"]
    if like.get("capacityType"):
        taken["capacityType"] = like["capacityType"]
    if like.get("instanceTypes") or not template:
        taken["instanceTypes"] = [instance_type] if instance_type else like.get("instanceTypes") or []
    tags = {
        key: value
        for key, value in (like.get("tags") or {}).items()
        if not key.startswith(("aws:", "alpha.eksctl.io/nodegroup-"))
    }
    return taken | ({"tags": tags} if tags else {})


def _as_aws_taint(taint: dict[str, str]) -> TaintTypeDef:
    return {"key": taint["key"], "value": taint.get("value", ""), "effect": _EFFECTS[taint["effect"]]}


def _as_node_group(described: NodegroupTypeDef) -> NodeGroup:
    scaling = described.get("scalingConfig") or {}
    issues = (described.get("health") or {}).get("issues") or []
    return NodeGroup(
        name=described["nodegroupName"],
        status=described["status"],
        minimum=scaling.get("minSize", 0),
        maximum=scaling.get("maxSize", 0),
        desired=scaling.get("desiredSize", 0),
        labels=dict(described.get("labels") or {}),
        taints=tuple(
            {
                "key": taint.get("key", ""),
                "value": taint.get("value", ""),
                "effect": _EFFECT_NAMES.get(taint.get("effect", ""), taint.get("effect", "")),
            }
            for taint in described.get("taints") or []
        ),
        instance_types=tuple(described.get("instanceTypes") or ()),
        subnets=tuple(described.get("subnets") or ()),
        issues=tuple(f"{issue.get('code')}: {issue.get('message')}" for issue in issues),
    )
