"""EKS put together."""

from __future__ import annotations

from pytest_cnimigrate.simulator.aws.eks.add_ons import AddOns
from pytest_cnimigrate.simulator.aws.eks.clusters import ApiServerAddress, Clusters
from pytest_cnimigrate.simulator.aws.eks.node_group_factory import NodeGroupFactory
from pytest_cnimigrate.simulator.aws.eks.node_groups import NodeGroups
from pytest_cnimigrate.simulator.aws.eks.updates import Updates
from pytest_cnimigrate.simulator.aws.instances import Instances
from pytest_cnimigrate.simulator.aws.settings import AwsSettings
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.faults import Faults


class Eks:
    """The parts of EKS, each with its own operations."""

    def __init__(
        self, settings: AwsSettings, *, vpc: VpcModel, instances: Instances, pace: Pace, faults: Faults
    ) -> None:
        self.api_server = ApiServerAddress()
        self.updates = Updates()
        self.factory = NodeGroupFactory(settings, vpc=vpc, pace=pace, faults=faults, instances=instances)
        self.clusters = Clusters(
            settings,
            vpc=vpc,
            pace=pace,
            api_server=self.api_server,
            has_node_groups=lambda name: bool(self.node_groups.of_cluster(name)),
        )
        self.node_groups = NodeGroups(
            settings,
            vpc=vpc,
            pace=pace,
            faults=faults,
            clusters=self.clusters,
            updates=self.updates,
            factory=self.factory,
        )
        self.add_ons = AddOns(
            settings, pace=pace, faults=faults, clusters=self.clusters, updates=self.updates
        )

    @property
    def parts(self) -> tuple[object, ...]:
        """Everything that has operations."""
        return (self.clusters, self.node_groups, self.add_ons, self.updates)

    async def stop(self) -> None:
        await self.add_ons.stop()
        await self.node_groups.stop()
        await self.clusters.stop()
