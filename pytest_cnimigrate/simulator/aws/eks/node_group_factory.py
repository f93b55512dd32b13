"""Makes node groups: defaults, the Auto Scaling group behind each, and the nodes its instances become."""

from __future__ import annotations

import uuid

from pytest_cnimigrate.simulator.aws.eks.cluster_nodes import ClusterNodes, NoClusterNodes
from pytest_cnimigrate.simulator.aws.eks.clusters import Cluster
from pytest_cnimigrate.simulator.aws.eks.node_group import NodeGroup, kubernetes_taint
from pytest_cnimigrate.simulator.aws.instances import Ec2Instance, Instances, LaunchRequest
from pytest_cnimigrate.simulator.aws.operations import Parameters
from pytest_cnimigrate.simulator.aws.scaling_group import ScalingGroup, Sizes
from pytest_cnimigrate.simulator.aws.security_groups import Rule
from pytest_cnimigrate.simulator.aws.settings import AwsSettings
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import Instance
from pytest_cnimigrate.simulator.faults import Faults, register

DROPS_TAINT = register(
    "nodegroup-drops-taint",
    "Nodes of a node group register without the group's taints.",
    "failure mode 9: pods start on new nodes before Cilium is there",
)
CLOSED_SECURITY_GROUP = register(
    "nodegroup-security-group-closed",
    "Node groups created from now on have a security group of their own that older nodes cannot get into.",
    "failure mode 29: old nodes do not reach new ones, new ones reach old ones",
)

RELEASE_DATE = "20250203"


class NodeGroupFactory:
    """`nodes` is how EKS reaches the nodes of the cluster; the assembler puts the real ones in."""

    def __init__(
        self, settings: AwsSettings, *, vpc: VpcModel, pace: Pace, faults: Faults, instances: Instances
    ) -> None:
        self.nodes: ClusterNodes = NoClusterNodes()
        self._settings = settings
        self._vpc = vpc
        self._pace = pace
        self._faults = faults
        self._instances = instances
        self._image_id = vpc.new_id("ami")

    def make(self, given: Parameters, cluster: Cluster, sizes: Sizes) -> NodeGroup:
        """The group that a valid CreateNodegroup asks for; nothing runs yet."""
        name, suffix = given["nodegroupName"], str(uuid.uuid4())
        account = f"{self._settings.region}:{self._settings.account}"
        ami_type = given.get("amiType", "AL2023_x86_64_STANDARD")
        group = NodeGroup(
            name=name,
            cluster=cluster.name,
            arn=f"arn:aws:eks:{account}:nodegroup/{cluster.name}/{name}/{suffix}",
            version=cluster.version,
            release_version=f"{cluster.version}.0-{RELEASE_DATE}",
            instance_types=tuple(given.get("instanceTypes") or ("t3.medium",)),
            subnet_ids=tuple(given["subnets"]),
            node_role=given["nodeRole"],
            ami_type=ami_type,
            disk_size=given.get("diskSize", 20),
            capacity_type=given.get("capacityType", "ON_DEMAND"),
            labels=dict(given.get("labels", {})),
            taints=[dict(taint) for taint in given.get("taints", ())],
            tags=dict(given.get("tags", {})),
            update_config=dict(given.get("updateConfig") or {"maxUnavailable": 1}),
            launch_template_id=self._vpc.new_id("lt"),
            security_group_ids=self._security_groups(cluster, name),
            token=given.get("clientRequestToken", ""),
        )
        scaling_name = f"eks-{name}-{suffix}"
        group.scaling = ScalingGroup(
            scaling_name,
            f"arn:aws:autoscaling:{account}:autoScalingGroup:{uuid.uuid4()}:"
            f"autoScalingGroupName/{scaling_name}",
            sizes,
            subnet_ids=group.subnet_ids,
            request=lambda subnet_id: self._launch_request(group, subnet_id),
            before_termination=self._drain,
            tags=_tags(group),
            instances=self._instances,
            vpc=self._vpc,
            pace=self._pace,
        )
        return group

    def forget(self, group: NodeGroup) -> None:
        """Remove what was made for the group alone, once it is empty."""
        own = [group_id for group_id in group.security_group_ids if self._is_own(group_id, group.name)]
        for group_id in own:
            in_use = any(
                group_id in interface.security_group_ids for interface in self._vpc.interfaces.values()
            )
            if not in_use:
                del self._vpc.security_groups[group_id]

    async def _drain(self, instance: Ec2Instance) -> None:
        """EKS's termination hook. Disruption budgets delay it, for at most a quarter of an hour."""
        await self.nodes.drain(instance.private_dns_name)

    def _security_groups(self, cluster: Cluster, name: str) -> tuple[str, ...]:
        """The cluster's group, unless the fault gives the node group one that is closed to older nodes."""
        shared = cluster.cluster_security_group_id
        if not self._faults.active(CLOSED_SECURITY_GROUP):
            return (shared,)
        own = self._vpc.create_security_group(f"{name}-remote", f"nodes of {name} only")
        self._vpc.security_group(own).ingress.append(Rule(group_ids=(own,)))
        # The control plane is let in, as a node that it cannot reach would be noticed at once.
        control_plane = [f"{self._vpc.interface(one).private_ip_address}/32" for one in cluster.interface_ids]
        self._vpc.security_group(own).ingress.append(Rule(cidrs=tuple(control_plane)))
        self._vpc.security_group(shared).ingress.append(Rule(group_ids=(own,)))
        return (own,)

    def _is_own(self, group_id: str, name: str) -> bool:
        group = self._vpc.security_groups.get(group_id)
        return group is not None and group.name == f"{name}-remote"

    def _launch_request(self, group: NodeGroup, subnet_id: str) -> LaunchRequest:
        return LaunchRequest(
            instance_type=group.instance_types[0],
            image_id=self._image_id,
            subnet_id=subnet_id,
            security_group_ids=group.security_group_ids,
            boot=lambda instance: self._node_of(group, instance),
            tags={
                **_tags(group),
                "aws:autoscaling:groupName": group.scaling.name,
                "aws:ec2launchtemplate:id": group.launch_template_id,
                "aws:ec2launchtemplate:version": "1",
                "aws:eks:cluster-name": group.cluster,
            },
        )

    def _node_of(self, group: NodeGroup, instance: Ec2Instance) -> Instance:
        """The node that the instance registers as, with the group's labels and taints of this moment."""
        taints = () if self._faults.active(DROPS_TAINT) else tuple(map(kubernetes_taint, group.taints))
        return Instance(
            instance_id=instance.instance_id,
            instance_type=instance.type.name,
            private_ip=instance.private_ip,
            private_dns_name=instance.private_dns_name,
            availability_zone=instance.availability_zone,
            subnet_id=instance.subnet_id,
            security_group_ids=instance.security_group_ids,
            cluster_name=group.cluster,
            node_group=group.name,
            labels={
                "eks.amazonaws.com/nodegroup": group.name,
                "eks.amazonaws.com/nodegroup-image": instance.image_id,
                "eks.amazonaws.com/capacityType": group.capacity_type,
                "eks.amazonaws.com/sourceLaunchTemplateId": group.launch_template_id,
                "eks.amazonaws.com/sourceLaunchTemplateVersion": "1",
                **group.labels,
            },
            taints=taints,
            max_pods=instance.type.max_pods,
            cpu=str(instance.type.vcpus),
            memory=f"{instance.type.memory_mib}Mi",
        )


def _tags(group: NodeGroup) -> dict[str, str]:
    return {
        "eks:cluster-name": group.cluster,
        "eks:nodegroup-name": group.name,
        f"kubernetes.io/cluster/{group.cluster}": "owned",
        "k8s.io/cluster-autoscaler/enabled": "true",
        f"k8s.io/cluster-autoscaler/{group.cluster}": "owned",
    }
