"""One Auto Scaling group: keeps as many instances as are desired, spread over the zones of its subnets."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from pytest_cnimigrate.simulator.aws.instances import Ec2Instance, Instances, LaunchRequest
from pytest_cnimigrate.simulator.aws.signals import BackgroundTasks, Signal
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import CloudError

RETRY_SECONDS = 60.0
"""Between two attempts to launch after one that failed."""
HEALTH_CHECK_SECONDS = 30.0
"""Until a group notices that one of its instances was terminated behind its back."""

Lifecycle = Literal["Pending", "InService", "Terminating:Wait", "Terminating:Proceed"]


@dataclass(frozen=True, slots=True)
class Sizes:
    minimum: int
    maximum: int
    desired: int


@dataclass(slots=True)
class Member:
    instance: Ec2Instance
    lifecycle: Lifecycle = "Pending"
    healthy: bool = True

    @property
    def active(self) -> bool:
        """Whether it counts towards the desired capacity."""
        return self.lifecycle in ("Pending", "InService")


@dataclass(slots=True)
class Activity:
    """A scaling activity, as DescribeScalingActivities shows it."""

    description: str
    cause: str
    status: Literal["InProgress", "Successful", "Failed"] = "InProgress"
    message: str = ""
    started: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    ended: dt.datetime | None = None
    activity_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def finish(self, status: Literal["Successful", "Failed"], message: str = "") -> None:
        self.status = status
        self.message = message
        self.ended = dt.datetime.now(dt.UTC)


class ScalingGroup:
    """A group with a control loop of its own.

    `request` makes the launch request for an instance in a subnet; `before_termination` is what a
    termination lifecycle hook does (EKS drains the node) and may take its time.
    """

    def __init__(
        self,
        name: str,
        arn: str,
        sizes: Sizes,
        *,
        subnet_ids: tuple[str, ...],
        request: Callable[[str], LaunchRequest],
        before_termination: Callable[[Ec2Instance], Awaitable[None]],
        tags: dict[str, str],
        instances: Instances,
        vpc: VpcModel,
        pace: Pace,
    ) -> None:
        self.name = name
        self.arn = arn
        self.sizes = sizes
        self.subnet_ids = subnet_ids
        self.tags = tags
        self.created = dt.datetime.now(dt.UTC)
        self.members: dict[str, Member] = {}
        self.activities: list[Activity] = []
        self.launch_failure: CloudError | None = None
        """Why the last attempt to launch failed; None since one succeeded or none is needed."""
        self.deleting = False
        self._request = request
        self._before_termination = before_termination
        self._instances = instances
        self._vpc = vpc
        self._pace = pace
        self._changed = Signal()
        self._wanted = True
        self._retry_at = 0.0
        self._cause = "a user request created an AutoScalingGroup"
        self._tasks = BackgroundTasks()

    def start(self) -> None:
        self._tasks.spawn(self._follow_instances(), f"{self.name}: health checks")
        self._tasks.spawn(self._run(), f"{self.name}: scaling")

    async def stop(self) -> None:
        await self._tasks.cancel()

    def resize(self, sizes: Sizes, cause: str) -> None:
        """New limits and desired capacity, checked by the caller."""
        if sizes.desired != self.sizes.desired:
            self._cause = (
                f"{cause} changing the desired capacity from {self.sizes.desired} to {sizes.desired}"
            )
            self._retry_at = 0.0
        self.sizes = sizes
        self._wake()

    def in_service(self) -> list[Ec2Instance]:
        return [member.instance for member in self.members.values() if member.lifecycle == "InService"]

    def zones(self) -> list[str]:
        return sorted({self._vpc.subnet(subnet_id).availability_zone for subnet_id in self.subnet_ids})

    async def terminate(self, instance: Ec2Instance, *, decrement: bool) -> Activity:
        """TerminateInstanceInAutoScalingGroup: with `decrement` nothing takes its place."""
        if decrement:
            self.sizes = Sizes(self.sizes.minimum, self.sizes.maximum, self.sizes.desired - 1)
        activity = self._take_down(self.members[instance.instance_id], "a user request")
        self._wake()
        return activity

    async def delete(self) -> None:
        """Terminate every instance; returns when the group is empty, and stopped."""
        self.deleting = True
        self.resize(Sizes(0, 0, 0), "a user request deleted the group")
        await self._changed.until(lambda: not self.members)
        await self.stop()

    # The control loop

    def _wake(self) -> None:
        self._wanted = True
        self._changed.notify()

    async def _follow_instances(self) -> None:
        while True:
            await self._instances.changed.until(self._instances_moved)
            for member in self.members.values():
                if member.lifecycle == "Pending" and member.instance.state == "running":
                    member.lifecycle = "InService"
                elif not member.instance.alive and member.active and member.healthy:
                    member.healthy = False
                    self._tasks.spawn(self._replace(member), f"{self.name}: replacement")
            self._changed.notify()

    def _instances_moved(self) -> bool:
        return any(
            (member.lifecycle == "Pending" and member.instance.state == "running")
            or (not member.instance.alive and member.active and member.healthy)
            for member in self.members.values()
        )

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.until(lambda: self._wanted)
            self._wanted = False
            active = [member for member in self.members.values() if member.active]
            missing = self.sizes.desired - len(active)
            if missing <= 0:
                self.launch_failure = None
            for member in self._surplus(active)[: max(-missing, 0)]:
                self._take_down(member, self._cause)
            if missing > 0 and loop.time() >= self._retry_at:
                self._launch(missing)

    def _surplus(self, active: list[Member]) -> list[Member]:
        """Whom to terminate first: an unhealthy one, else the oldest in the fullest zone."""
        remaining = sorted(active, key=lambda member: member.instance.launch_time)
        zones = Counter(member.instance.availability_zone for member in remaining)
        order: list[Member] = []
        while remaining:
            victim = max(
                remaining, key=lambda member: (not member.healthy, zones[member.instance.availability_zone])
            )
            remaining.remove(victim)
            zones[victim.instance.availability_zone] -= 1
            order.append(victim)
        return order

    def _launch(self, count: int) -> None:
        before = self.sizes.desired - count
        cause = (
            f"{self._at()} {self._cause}. {self._at()} an instance was started in response to a difference "
            f"between desired and actual capacity, increasing the capacity from {before} to "
            f"{self.sizes.desired}."
        )
        for _ in range(count):
            activity = Activity("Launching a new EC2 instance", cause)
            self.activities.append(activity)
            try:
                instance = self._launch_one()
            except CloudError as failure:
                self.launch_failure = failure
                activity.description += f".  Status Reason: {failure.message}"
                activity.finish("Failed", f"{failure.message} Launching EC2 instance failed.")
                self._retry_at = asyncio.get_running_loop().time() + self._pace.wall(RETRY_SECONDS)
                self._tasks.spawn(self._retry(), f"{self.name}: retry")
                break
            self.launch_failure = None
            activity.description += f": {instance.instance_id}"
            activity.finish("Successful")
            self.members[instance.instance_id] = Member(instance)
        self._changed.notify()

    def _launch_one(self) -> Ec2Instance:
        zones = Counter(
            member.instance.availability_zone for member in self.members.values() if member.active
        )
        subnets = sorted(
            (self._vpc.subnet(subnet_id) for subnet_id in self.subnet_ids),
            key=lambda subnet: zones[subnet.availability_zone],
        )
        failures: list[CloudError] = []
        for subnet in subnets:
            try:
                return self._instances.run(self._request(subnet.subnet_id))
            except CloudError as error:
                failures.append(error)
        raise failures[0]  # A group has at least one subnet.

    async def _retry(self) -> None:
        await self._pace.sleep(RETRY_SECONDS)
        self._retry_at = 0.0
        self._wake()

    def _take_down(self, member: Member, cause: str) -> Activity:
        member.lifecycle = "Terminating:Wait"
        activity = Activity(
            f"Terminating EC2 instance: {member.instance.instance_id}",
            f"{self._at()} {cause}. {self._at()} instance {member.instance.instance_id} was selected for "
            "termination.",
        )
        self.activities.append(activity)
        self._tasks.spawn(self._terminate(member, activity), f"{self.name}: termination")
        return activity

    async def _terminate(self, member: Member, activity: Activity) -> None:
        if member.instance.alive:
            await self._before_termination(member.instance)
        member.lifecycle = "Terminating:Proceed"
        await self._instances.terminate(member.instance, "User initiated")
        await self._instances.changed.until(lambda: member.instance.state == "terminated")
        self.members.pop(member.instance.instance_id, None)
        activity.finish("Successful")
        self._wake()

    async def _replace(self, member: Member) -> None:
        await self._pace.sleep(HEALTH_CHECK_SECONDS, jitter=0.2)
        if member.active:
            self._cause = (
                "an instance was taken out of service in response to an EC2 health check indicating it has "
                "been terminated or stopped"
            )
            self._take_down(member, self._cause)
            self._wake()

    @staticmethod
    def _at() -> str:
        return f"At {dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
