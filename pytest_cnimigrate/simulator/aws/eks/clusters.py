"""EKS clusters. There is one embedded API server, so an account has room for one cluster."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.operations import Parameters, Result, operation, page_of
from pytest_cnimigrate.simulator.aws.security_groups import Rule
from pytest_cnimigrate.simulator.aws.settings import AwsSettings
from pytest_cnimigrate.simulator.aws.signals import BackgroundTasks
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import CloudError

PLATFORM_VERSION = "eks.1"
_LOG_TYPES = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
_NO_LOGGING = {"clusterLogging": [{"types": _LOG_TYPES, "enabled": False}]}


@dataclass(slots=True)
class ApiServerAddress:
    """Where the embedded API server is, and what its certificate is checked against."""

    endpoint: str = ""
    certificate_authority_data: str = ""
    """Base64 of the PEM certificate, as in a kubeconfig; empty for plain HTTP."""


@dataclass(slots=True)
class Cluster:
    name: str
    arn: str
    role_arn: str
    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    cluster_security_group_id: str
    vpc_id: str
    version: str
    tags: dict[str, str]
    requested: dict[str, Any]
    """What was asked for and is only shown again: logging, accessConfig, upgradePolicy."""
    token: str = ""
    status: Literal["CREATING", "ACTIVE", "DELETING"] = "CREATING"
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    oidc_id: str = field(default_factory=lambda: uuid.uuid4().hex.upper())
    interface_ids: list[str] = field(default_factory=list)
    """The control plane's own interfaces in the subnets."""


class Clusters:
    """The account's cluster and its operations. `has_node_groups` guards its deletion."""

    def __init__(
        self,
        settings: AwsSettings,
        *,
        vpc: VpcModel,
        pace: Pace,
        api_server: ApiServerAddress,
        has_node_groups: Callable[[str], bool],
    ) -> None:
        self._settings = settings
        self._vpc = vpc
        self._pace = pace
        self._api_server = api_server
        self._has_node_groups = has_node_groups
        self._clusters: dict[str, Cluster] = {}
        self._tasks = BackgroundTasks()

    def get(self, name: str) -> Cluster:
        """The cluster, or ResourceNotFoundException."""
        try:
            return self._clusters[name]
        except KeyError:
            raise AwsError(
                "ResourceNotFoundException", f"No cluster found for name: {name}.", status=404
            ) from None

    def active(self, name: str) -> Cluster:
        """The cluster if it can be worked with; InvalidRequestException while it is made or deleted."""
        cluster = self.get(name)
        if cluster.status != "ACTIVE":
            raise AwsError(
                "InvalidRequestException", f"Cluster '{name}' is not in ACTIVE status", clusterName=name
            )
        return cluster

    def create(self, given: Parameters) -> Cluster:
        """A cluster in CREATING, its security group and its control plane's interfaces; no clock runs."""
        name = given["name"]
        if (existing := self._clusters.get(name)) is not None:
            if existing.token and existing.token == given.get("clientRequestToken"):
                return existing
            raise AwsError(
                "ResourceInUseException",
                f"Cluster already exists with name: {name}",
                status=409,
                clusterName=name,
            )
        self._check(given)
        network = given["resourcesVpcConfig"]
        cluster = Cluster(
            name=name,
            arn=f"arn:aws:eks:{self._settings.region}:{self._settings.account}:cluster/{name}",
            role_arn=given["roleArn"],
            subnet_ids=tuple(network["subnetIds"]),
            security_group_ids=tuple(network.get("securityGroupIds", ())),
            cluster_security_group_id=self._create_security_group(name),
            vpc_id=self._vpc.vpc_id,
            version=self._settings.kubernetes_version,
            tags=dict(given.get("tags", {})),
            requested={
                key: given[key] for key in ("logging", "accessConfig", "upgradePolicy") if key in given
            },
            token=given.get("clientRequestToken", ""),
        )
        cluster.interface_ids = [
            self._vpc.create_service_interface(
                subnet_id=subnet_id,
                security_group_ids=(cluster.cluster_security_group_id, *cluster.security_group_ids),
                description=f"Amazon EKS {name}",
                service="amazon-eks",
            ).network_interface_id
            for subnet_id in cluster.subnet_ids[:2]
        ]
        self._clusters[name] = cluster
        return cluster

    async def stop(self) -> None:
        await self._tasks.cancel()

    @operation(
        "CreateCluster",
        *("name", "version", "roleArn", "resourcesVpcConfig", "kubernetesNetworkConfig", "logging"),
        *("clientRequestToken", "tags", "accessConfig", "upgradePolicy"),
    )
    async def create_cluster(self, given: Parameters) -> Result:
        known = given["name"] in self._clusters
        cluster = self.create(given)
        if not known:
            self._tasks.spawn(self._activate(cluster), f"creation of cluster {cluster.name}")
        return {"cluster": self._describe(cluster)}

    @operation("DescribeCluster", "name")
    async def describe_cluster(self, given: Parameters) -> Result:
        return {"cluster": self._describe(self.get(given["name"]))}

    @operation("ListClusters", "maxResults", "nextToken")
    async def list_clusters(self, given: Parameters) -> Result:
        page, token = page_of(
            list(self._clusters),
            token=given.get("nextToken"),
            size=given.get("maxResults"),
            error_code="InvalidParameterException",
        )
        return {"clusters": page, "nextToken": token}

    @operation("DeleteCluster", "name")
    async def delete_cluster(self, given: Parameters) -> Result:
        cluster = self.get(given["name"])
        if self._has_node_groups(cluster.name):
            raise AwsError(
                "ResourceInUseException",
                "Cluster has nodegroups attached",
                status=409,
                clusterName=cluster.name,
            )
        if cluster.status != "DELETING":
            cluster.status = "DELETING"
            self._tasks.spawn(self._remove(cluster), f"deletion of cluster {cluster.name}")
        return {"cluster": self._describe(cluster)}

    async def _activate(self, cluster: Cluster) -> None:
        await self._pace.sleep(self._settings.cluster_seconds)
        if cluster.status == "CREATING":
            cluster.status = "ACTIVE"

    async def _remove(self, cluster: Cluster) -> None:
        await self._pace.sleep(self._settings.cluster_seconds)
        for interface_id in cluster.interface_ids:
            self._vpc.delete_network_interface(interface_id)
        del self._vpc.security_groups[cluster.cluster_security_group_id]
        del self._clusters[cluster.name]

    def _check(self, given: Parameters) -> None:
        name = given["name"]
        if self._clusters:
            raise AwsError(
                "ResourceLimitExceededException",
                "Cluster limit exceeded for account. (The simulator has one API server, hence one cluster: "
                f"{', '.join(self._clusters)}.)",
                clusterName=name,
            )
        problem = ""
        if not re.fullmatch(r"[0-9A-Za-z][A-Za-z0-9\-_]{0,99}", name):
            problem = "The cluster name may hold letters, digits, hyphens and underscores only"
        version = given.get("version", self._settings.kubernetes_version)
        if version != self._settings.kubernetes_version:
            problem = (
                f"unsupported Kubernetes version {version} "
                f"(the simulator serves {self._settings.kubernetes_version})"
            )
        network = given.get("kubernetesNetworkConfig", {})
        if network.get("serviceIpv4Cidr", self._settings.service_cidr) != self._settings.service_cidr:
            problem = f"serviceIpv4Cidr: the simulator's services are in {self._settings.service_cidr}"
        if network.get("ipFamily", "ipv4") != "ipv4":
            problem = "ipFamily: the simulator has ipv4 only"
        subnets = given["resourcesVpcConfig"].get("subnetIds", [])
        try:
            zones = {self._vpc.subnet(subnet_id).availability_zone for subnet_id in subnets}
            for group_id in given["resourcesVpcConfig"].get("securityGroupIds", ()):
                self._vpc.security_group(group_id)
        except CloudError as error:
            problem = error.message
        else:
            if len(zones) < 2:
                problem = "Subnets specified must be in at least two different AZs"
        if problem:
            raise AwsError("InvalidParameterException", problem, clusterName=name)

    def _create_security_group(self, cluster: str) -> str:
        """EKS's own group, shared by control plane and nodes: its members reach each other on all ports."""
        group_id = self._vpc.create_security_group(
            f"eks-cluster-sg-{cluster}-{uuid.uuid4().int % 10**9}",
            "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, "
            "as well as any managed workloads.",
            {f"kubernetes.io/cluster/{cluster}": "owned", "aws:eks:cluster-name": cluster},
        )
        self._vpc.security_group(group_id).ingress.append(Rule(group_ids=(group_id,)))
        return group_id

    def _describe(self, cluster: Cluster) -> Result:
        active = cluster.status != "CREATING"  # The endpoint is not known earlier.
        return {
            "name": cluster.name,
            "arn": cluster.arn,
            "createdAt": cluster.created,
            "version": cluster.version,
            "endpoint": self._api_server.endpoint if active else None,
            "roleArn": cluster.role_arn,
            "resourcesVpcConfig": {
                "subnetIds": [*cluster.subnet_ids],
                "securityGroupIds": [*cluster.security_group_ids],
                "clusterSecurityGroupId": cluster.cluster_security_group_id,
                "vpcId": cluster.vpc_id,
                "endpointPublicAccess": True,
                "endpointPrivateAccess": False,
                "publicAccessCidrs": ["0.0.0.0/0"],
            },
            "kubernetesNetworkConfig": {"serviceIpv4Cidr": self._settings.service_cidr, "ipFamily": "ipv4"},
            "logging": cluster.requested.get("logging", _NO_LOGGING),
            "identity": {
                "oidc": {
                    "issuer": f"https://oidc.eks.{self._settings.region}.amazonaws.com/id/{cluster.oidc_id}"
                }
            },
            "status": cluster.status,
            "certificateAuthority": {"data": self._api_server.certificate_authority_data if active else None},
            "clientRequestToken": cluster.token or None,
            "platformVersion": PLATFORM_VERSION,
            "tags": cluster.tags,
            "encryptionConfig": [],
            "health": {"issues": []},
            "accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}
            | cluster.requested.get("accessConfig", {}),
            "upgradePolicy": cluster.requested.get("upgradePolicy", {"supportType": "EXTENDED"}),
        }
