"""Managed node groups: operations and life cycle.

Labels and taints given at creation reach a node when kubelet registers it. UpdateNodegroupConfig changes
them for nodes to come, and on nodes that exist too ("apply Kubernetes labels to nodes and update them at
any time", EKS user guide; the taints page names "new and existing managed node groups"). What nobody
established is whether EKS ever puts back a taint that something else took off a live node (GKE does,
cilium/cilium#19890), so it does not happen here: an update touches only what it names.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

from pytest_cnimigrate.simulator.aws.eks.cluster_nodes import ClusterNodes
from pytest_cnimigrate.simulator.aws.eks.clusters import Clusters
from pytest_cnimigrate.simulator.aws.eks.node_group import Issue, NodeGroup, kubernetes_taint
from pytest_cnimigrate.simulator.aws.eks.node_group_factory import NodeGroupFactory
from pytest_cnimigrate.simulator.aws.eks.node_group_requests import (
    check_creation,
    check_labels,
    check_resize,
    check_taints,
)
from pytest_cnimigrate.simulator.aws.eks.updates import Update, Updates, update_params
from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.operations import Parameters, Result, operation, page_of
from pytest_cnimigrate.simulator.aws.scaling_group import Sizes
from pytest_cnimigrate.simulator.aws.settings import AwsSettings
from pytest_cnimigrate.simulator.aws.signals import BackgroundTasks
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.faults import Faults, register

UPDATE_FAILS = register(
    "nodegroup-update-fails",
    "An update of a node group ends as Failed and changes nothing.",
    "EKS update errors (AccessDenied after the cluster's role was changed)",
)

READINESS_POLL_SECONDS = 5.0
JOIN_SECONDS = 60.0
"""How long a change of labels or taints waits for instances that have not registered as nodes yet."""
DEPARTURE_SECONDS = 300.0
"""How long the deletion of a group waits for the cloud controller to remove the nodes' objects."""


class NodeGroups:
    """The operations on node groups, and what happens behind them."""

    def __init__(
        self,
        settings: AwsSettings,
        *,
        vpc: VpcModel,
        pace: Pace,
        faults: Faults,
        clusters: Clusters,
        updates: Updates,
        factory: NodeGroupFactory,
    ) -> None:
        self._settings = settings
        self._vpc = vpc
        self._pace = pace
        self._faults = faults
        self._clusters = clusters
        self._updates = updates
        self._factory = factory
        self._groups: dict[tuple[str, str], NodeGroup] = {}
        self._tasks = BackgroundTasks()

    @property
    def _nodes(self) -> ClusterNodes:
        return self._factory.nodes

    def all(self) -> list[NodeGroup]:
        return list(self._groups.values())

    def of_cluster(self, name: str) -> list[NodeGroup]:
        return [group for group in self._groups.values() if group.cluster == name]

    def create(self, given: Parameters) -> NodeGroup:
        """A group in CREATING that starts its instances at once; the same token finds the same group."""
        cluster = self._clusters.active(given["clusterName"])
        key = (given["clusterName"], given["nodegroupName"])
        if (existing := self._groups.get(key)) is not None:
            if existing.token and existing.token == given.get("clientRequestToken"):
                return existing
            raise AwsError(
                "ResourceInUseException",
                f"NodeGroup already exists with name {key[1]} and cluster name {key[0]}",
                status=409,
                clusterName=key[0],
                nodegroupName=key[1],
            )
        sizes = check_creation(given, self._vpc)
        group = self._factory.make(given, cluster, sizes)
        self._groups[key] = group
        group.scaling.start()
        self._tasks.spawn(self._await_nodes(group), f"creation of node group {group.name}")
        return group

    async def stop(self) -> None:
        await self._tasks.cancel()
        for group in self._groups.values():
            await group.scaling.stop()

    # Operations

    @operation(
        "CreateNodegroup",
        *("clusterName", "nodegroupName", "scalingConfig", "diskSize", "subnets", "instanceTypes", "amiType"),
        *("nodeRole", "labels", "taints", "tags", "clientRequestToken", "updateConfig", "capacityType"),
    )
    async def create_nodegroup(self, given: Parameters) -> Result:
        return {"nodegroup": self.create(given).describe()}

    @operation("DescribeNodegroup", "clusterName", "nodegroupName")
    async def describe_nodegroup(self, given: Parameters) -> Result:
        return {"nodegroup": self._get(given).describe()}

    @operation("ListNodegroups", "clusterName", "maxResults", "nextToken")
    async def list_nodegroups(self, given: Parameters) -> Result:
        cluster = self._clusters.get(given["clusterName"])
        page, token = page_of(
            sorted(group.name for group in self.of_cluster(cluster.name)),
            token=given.get("nextToken"),
            size=given.get("maxResults"),
            error_code="InvalidParameterException",
        )
        return {"nodegroups": page, "nextToken": token}

    @operation(
        "UpdateNodegroupConfig",
        *("clusterName", "nodegroupName", "labels", "taints", "scalingConfig", "updateConfig"),
        "clientRequestToken",
    )
    async def update_nodegroup_config(self, given: Parameters) -> Result:
        group = self._get(given)
        if (known := self._updates.of_request(given.get("clientRequestToken", ""))) is not None:
            return {"update": known.describe()}
        if group.status != "ACTIVE":
            raise AwsError(
                "ResourceInUseException",
                "Nodegroup cannot be updated as it is currently not in Active State",
                status=409,
                clusterName=group.cluster,
                nodegroupName=group.name,
            )
        sizes = check_resize(group, given.get("scalingConfig", {}))
        names = {"cluster": group.cluster, "group": group.name}
        check_labels(given.get("labels", {}).get("addOrUpdateLabels", {}), **names)
        check_taints(given.get("taints", {}).get("addOrUpdateTaints", ()), **names)
        group.status = "UPDATING"
        update = self._updates.add(
            Update(
                type="ConfigUpdate",
                cluster=group.cluster,
                node_group=group.name,
                params=_params(given),
                token=given.get("clientRequestToken", ""),
            )
        )
        self._tasks.spawn(self._update(group, update, given, sizes), f"update of node group {group.name}")
        return {"update": update.describe()}

    @operation("DeleteNodegroup", "clusterName", "nodegroupName")
    async def delete_nodegroup(self, given: Parameters) -> Result:
        group = self._get(given)
        if group.status != "DELETING":
            group.status = "DELETING"
            group.modified = dt.datetime.now(dt.UTC)
            self._tasks.spawn(self._delete(group), f"deletion of node group {group.name}")
        return {"nodegroup": group.describe()}

    def _get(self, given: Parameters) -> NodeGroup:
        self._clusters.get(given["clusterName"])
        group = self._groups.get((given["clusterName"], given["nodegroupName"]))
        if group is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"No node group found for name: {given['nodegroupName']}.",
                status=404,
                clusterName=given["clusterName"],
                nodegroupName=given["nodegroupName"],
            )
        return group

    # Life cycle

    async def _await_nodes(self, group: NodeGroup) -> None:
        """ACTIVE when as many nodes as desired are Ready, CREATE_FAILED when patience ends.

        This is what fails when a group of nodes without a CNI is created with a desired size above zero
        (failure mode 15; eksctl-io/eksctl#7888).
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        while group.status == "CREATING":
            instances = group.scaling.in_service()
            states = {one.instance_id: await self._nodes.state(one.private_dns_name) for one in instances}
            not_ready = tuple(instance_id for instance_id, state in states.items() if state != "ready")
            if len(instances) >= group.scaling.sizes.desired and not not_ready:
                group.status = "ACTIVE"
                break
            waited = loop.time() - started
            launch_issue = group.launch_issue()
            if launch_issue and waited > self._pace.wall(self._settings.launch_failure_deadline):
                group.creation_issue = launch_issue
            elif waited > self._pace.wall(self._settings.node_creation_deadline):
                joined = any(state != "absent" for state in states.values())
                group.creation_issue = Issue(
                    "NodeCreationFailure",
                    "Unhealthy nodes in the kubernetes cluster"
                    if joined
                    else "Instances failed to join the kubernetes cluster",
                    not_ready,
                )
            if group.creation_issue is not None:
                group.status = "CREATE_FAILED"
                break
            await self._pace.sleep(READINESS_POLL_SECONDS)
        group.modified = dt.datetime.now(dt.UTC)

    async def _update(self, group: NodeGroup, update: Update, given: Parameters, sizes: Sizes) -> None:
        await self._pace.sleep(self._settings.update_seconds, jitter=0.3)
        if group.status == "DELETING":
            update.fail("OperationNotPermitted", "The node group is being deleted", group.name)
            return
        if self._faults.active(UPDATE_FAILS):
            update.fail("AccessDenied", "EKS is not authorized to update the Auto Scaling group", group.name)
        else:
            if "scalingConfig" in given:
                group.scaling.resize(sizes, "a user request explicitly set group desired capacity")
            group.update_config.update(given.get("updateConfig", {}))
            await self._relabel(group, given.get("labels", {}))
            await self._retaint(group, given.get("taints", {}))
            update.status = "Successful"
        if group.status == "UPDATING":
            group.status = "ACTIVE"
        group.modified = dt.datetime.now(dt.UTC)

    async def _relabel(self, group: NodeGroup, change: dict[str, Any]) -> None:
        add, remove = change.get("addOrUpdateLabels", {}), change.get("removeLabels", [])
        group.labels = {key: value for key, value in group.labels.items() if key not in remove} | add
        for name in await self._joined(group) if add or remove else ():
            await self._nodes.relabel(name, add, remove)

    async def _retaint(self, group: NodeGroup, change: dict[str, Any]) -> None:
        add, remove = change.get("addOrUpdateTaints", []), change.get("removeTaints", [])
        dropped = {(taint["key"], taint["effect"]) for taint in (*add, *remove)}
        group.taints = [taint for taint in group.taints if (taint["key"], taint["effect"]) not in dropped]
        group.taints += add
        for name in await self._joined(group) if add or remove else ():
            await self._nodes.retaint(
                name,
                [kubernetes_taint(taint) for taint in add],
                [kubernetes_taint(taint) for taint in remove],
            )

    async def _joined(self, group: NodeGroup) -> list[str]:
        """The group's nodes. One that boots right now still has the old labels and is waited for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._pace.wall(JOIN_SECONDS)
        while True:
            names = [instance.private_dns_name for instance in group.scaling.in_service()]
            joined = [name for name in names if await self._nodes.state(name) != "absent"]
            if len(joined) == len(names) or loop.time() > deadline:
                return joined
            await self._pace.sleep(READINESS_POLL_SECONDS)

    async def _delete(self, group: NodeGroup) -> None:
        await self._pace.sleep(self._settings.update_seconds)
        names = [member.instance.private_dns_name for member in group.scaling.members.values()]
        await group.scaling.delete()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._pace.wall(DEPARTURE_SECONDS)
        while not all([await self._nodes.is_gone(name) for name in names]) and loop.time() < deadline:
            await self._pace.sleep(READINESS_POLL_SECONDS)
        self._factory.forget(group)
        del self._groups[group.cluster, group.name]


def _params(given: Parameters) -> dict[str, str]:
    scaling = given.get("scalingConfig", {})
    labels, taints = given.get("labels", {}), given.get("taints", {})
    config = given.get("updateConfig", {})
    return update_params(
        LabelsToAdd=labels.get("addOrUpdateLabels"),
        LabelsToRemove=labels.get("removeLabels"),
        TaintsToAdd=taints.get("addOrUpdateTaints"),
        TaintsToRemove=taints.get("removeTaints"),
        MinSize=scaling.get("minSize"),
        MaxSize=scaling.get("maxSize"),
        DesiredSize=scaling.get("desiredSize"),
        MaxUnavailable=config.get("maxUnavailable"),
        MaxUnavailablePercentage=config.get("maxUnavailablePercentage"),
    )
