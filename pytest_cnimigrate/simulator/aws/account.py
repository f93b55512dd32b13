"""One simulated AWS account in one region: what the assembler of the embedded cluster sees of `aws/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from pytest_cnimigrate.simulator.aws.access_log import AccessLog
from pytest_cnimigrate.simulator.aws.autoscaling import AutoScaling
from pytest_cnimigrate.simulator.aws.ec2.service import Ec2
from pytest_cnimigrate.simulator.aws.eks.cluster_nodes import ApiClusterNodes
from pytest_cnimigrate.simulator.aws.eks.service import Eks
from pytest_cnimigrate.simulator.aws.endpoint import Endpoint
from pytest_cnimigrate.simulator.aws.failures import ApiFailures
from pytest_cnimigrate.simulator.aws.instances import Instances
from pytest_cnimigrate.simulator.aws.settings import AwsSettings
from pytest_cnimigrate.simulator.aws.sts import Sts
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.client.api import Api
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import NodeLauncher
from pytest_cnimigrate.simulator.faults import Faults


@dataclass(frozen=True, slots=True)
class NodeGroupSpec:
    """A node group that is there from the start."""

    name: str
    desired: int = 3
    minimum: int = 0
    maximum: int = 3
    instance_type: str = "m5.large"
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()
    """In the spelling of EKS: `{"key": …, "value": …, "effect": "NO_EXECUTE"}`."""


class AwsCloud:
    """The account. `vpc` is for CNIs, `handler` for HTTP, `attach` connects it with a cluster.

    Nothing runs before it is used; `stop` ends all background work. Methods belong to one event loop.
    """

    def __init__(self, settings: AwsSettings | None = None, *, pace: Pace, faults: Faults) -> None:
        self.settings = settings or AwsSettings()
        self.vpc = VpcModel(
            region=self.settings.region,
            cidr=self.settings.vpc_cidr,
            zones=self.settings.zones,
            subnet_prefix=self.settings.subnet_prefix,
            nat=self.settings.nat,
            seed=self.settings.seed,
        )
        self.failures = ApiFailures(faults)
        self._instances = Instances(self.vpc, pace, faults)
        self._eks = Eks(self.settings, vpc=self.vpc, instances=self._instances, pace=pace, faults=faults)
        self._pace = pace
        self._endpoint = Endpoint(
            {
                "eks": self._eks.parts,
                "autoscaling": (
                    AutoScaling(lambda: [group.scaling for group in self._eks.node_groups.all()]),
                ),
                "ec2": (Ec2(self.settings, vpc=self.vpc, instances=self._instances),),
                "sts": (Sts(self.settings),),
            },
            region=self.settings.region,
            pace=pace,
            failures=self.failures,
        )

    @property
    def access_log(self) -> AccessLog:
        """Every call and how it ended, free of secrets."""
        return self._endpoint.access_log

    def attach(
        self, launcher: NodeLauncher, api: Api, *, endpoint: str, certificate_authority_data: str = ""
    ) -> None:
        """Connect the account with the embedded cluster.

        `launcher` boots instances as nodes; `api` is how EKS itself reaches the cluster: to see whether
        nodes are Ready, to change labels and taints, to drain, to write add-ons. `endpoint` and
        `certificate_authority_data` (base64 of PEM) are what DescribeCluster tells clients.
        """
        self._instances.launcher = launcher
        self._eks.factory.nodes = ApiClusterNodes(api, self._pace)
        self._eks.add_ons.objects.api = api
        self._eks.api_server.endpoint = endpoint
        self._eks.api_server.certificate_authority_data = certificate_authority_data

    def seed_cluster(self, name: str, node_groups: Sequence[NodeGroupSpec] = ()) -> None:
        """Have a cluster from the start: ACTIVE at once, its groups CREATING until their nodes are Ready.

        Raises `AwsError` for what the EKS API would refuse.
        """
        subnets = [subnet.subnet_id for subnet in self.vpc.private_subnets()]
        role = f"arn:aws:iam::{self.settings.account}:role"
        cluster = self._eks.clusters.create(
            {
                "name": name,
                "roleArn": f"{role}/{name}-cluster",
                "resourcesVpcConfig": {"subnetIds": subnets},
            }
        )
        cluster.status = "ACTIVE"
        for add_on in self.settings.managed_add_ons:
            self._eks.add_ons.manage_from_start(name, add_on)
        for spec in node_groups:
            self._eks.node_groups.create(
                {
                    "clusterName": name,
                    "nodegroupName": spec.name,
                    "nodeRole": f"{role}/{name}-node",
                    "subnets": subnets,
                    "instanceTypes": [spec.instance_type],
                    "scalingConfig": {
                        "minSize": spec.minimum,
                        "maxSize": spec.maximum,
                        "desiredSize": spec.desired,
                    },
                    "labels": spec.labels,
                    "taints": list(spec.taints),
                }
            )

    async def handler(self, request: web.BaseRequest) -> web.Response:
        """Answers every request, on any path; for `aiohttp.web.Server`."""
        return await self._endpoint.handle(request)

    async def stop(self) -> None:
        """End all background work; instances are left as they are."""
        await self._eks.stop()
        await self._instances.stop()
