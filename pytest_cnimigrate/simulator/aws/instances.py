"""EC2 instances: from pending to terminated, with a hollow node behind each."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pytest_cnimigrate.simulator.aws.instance_types import InstanceType, instance_type
from pytest_cnimigrate.simulator.aws.signals import BackgroundTasks, Signal
from pytest_cnimigrate.simulator.aws.topology import private_dns_name
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import CloudError, Instance, NodeLauncher
from pytest_cnimigrate.simulator.faults import Faults, register

INSUFFICIENT_ADDRESSES = register(
    "nodegroup-insufficient-addresses",
    "EC2 launches no instance: the subnets of the node group have no free addresses left.",
    "failure mode 31; cilium/cilium#22054",
)
LAUNCH_FAILURE = register(
    "nodegroup-instance-launch-failure",
    "EC2 launches no instance: there is no capacity of its type in the zone.",
    "https://github.com/aws/containers-roadmap/issues/2204",
)
LEAKED_INTERFACES = register(
    "instance-termination-leaks-interfaces",
    "A terminated instance leaves its secondary interfaces behind as `available`.",
    "failure mode 45; aws/amazon-vpc-cni-k8s#608",
)

PENDING_SECONDS = 8.0
SHUTTING_DOWN_SECONDS = 20.0
REMEMBERED_SECONDS = 3600.0
"""DescribeInstances shows a terminated instance for about an hour."""

State = Literal["pending", "running", "shutting-down", "terminated"]
STATE_CODES: dict[str, int] = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}


@dataclass(slots=True)
class Ec2Instance:
    """One instance as EC2 knows it."""

    instance_id: str
    type: InstanceType
    image_id: str
    subnet_id: str
    availability_zone: str
    private_ip: str
    private_dns_name: str
    security_group_ids: tuple[str, ...]
    launch_time: dt.datetime
    tags: dict[str, str]
    state: State = "pending"
    transition_reason: str = ""
    ended: float = 0.0
    """The loop's time when it was terminated."""

    @property
    def alive(self) -> bool:
        return self.state in ("pending", "running")


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What RunInstances gets from a launch template; `boot` says what node the instance becomes."""

    instance_type: str
    image_id: str
    subnet_id: str
    security_group_ids: tuple[str, ...]
    boot: Callable[[Ec2Instance], Instance]
    tags: dict[str, str] = field(default_factory=dict)


class Instances:
    """All instances of the account. `changed` is notified at every change of a state."""

    def __init__(self, vpc: VpcModel, pace: Pace, faults: Faults) -> None:
        self.changed = Signal()
        self.launcher: NodeLauncher | None = None
        self._vpc = vpc
        self._pace = pace
        self._faults = faults
        self._instances: dict[str, Ec2Instance] = {}
        self._boots: dict[str, asyncio.Task[None]] = {}
        self._launched: set[str] = set()
        self._tasks = BackgroundTasks()

    def all(self) -> list[Ec2Instance]:
        """Every instance in the order of launch, terminated ones for an (abridged) hour."""
        oldest = asyncio.get_running_loop().time() - self._pace.wall(REMEMBERED_SECONDS)
        for instance in list(self._instances.values()):
            if instance.state == "terminated" and instance.ended < oldest:
                del self._instances[instance.instance_id]
        return list(self._instances.values())

    def get(self, instance_id: str) -> Ec2Instance | None:
        return self._instances.get(instance_id)

    def run(self, request: LaunchRequest) -> Ec2Instance:
        """Start an instance; it is `pending` on return. Raises `CloudError` as RunInstances would."""
        kind = instance_type(request.instance_type)
        subnet = self._vpc.subnet(request.subnet_id)
        self._check_faults(request, subnet.availability_zone)
        instance_id = self._vpc.new_id("i")
        interface = self._vpc.add_instance(
            instance_id,
            kind.name,
            subnet_id=request.subnet_id,
            security_group_ids=request.security_group_ids,
            tags=request.tags,
        )
        instance = Ec2Instance(
            instance_id=instance_id,
            type=kind,
            image_id=request.image_id,
            subnet_id=request.subnet_id,
            availability_zone=subnet.availability_zone,
            private_ip=interface.private_ip_address,
            private_dns_name=private_dns_name(self._vpc.region, interface.private_ip_address),
            security_group_ids=request.security_group_ids,
            launch_time=dt.datetime.now(dt.UTC),
            tags=dict(request.tags),
        )
        self._instances[instance_id] = instance
        self._boots[instance_id] = self._tasks.spawn(
            self._boot(instance, request.boot), f"start of instance {instance_id}"
        )
        self.changed.notify()
        return instance

    async def terminate(self, instance: Ec2Instance, reason: str = "") -> None:
        """Power an instance off; returns while it is `shutting-down`. Nothing to do for a dead one."""
        if not instance.alive:
            return
        instance.state = "shutting-down"
        instance.transition_reason = reason
        self.changed.notify()
        self._boots.pop(instance.instance_id).cancel()
        if instance.instance_id in self._launched and self.launcher is not None:
            self._launched.discard(instance.instance_id)
            await self.launcher.terminate(instance.instance_id)
        self._tasks.spawn(self._shut_down(instance), f"end of instance {instance.instance_id}")

    async def stop(self) -> None:
        """End all work in progress (the simulator ends; instances are not terminated)."""
        await self._tasks.cancel()

    def _check_faults(self, request: LaunchRequest, zone: str) -> None:
        if self._faults.active(INSUFFICIENT_ADDRESSES):
            raise CloudError(
                "InsufficientFreeAddressesInSubnet",
                f"There are not enough free addresses in subnet '{request.subnet_id}' to satisfy the "
                "requested number of instances.",
            )
        if self._faults.active(LAUNCH_FAILURE):
            raise CloudError(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {request.instance_type} capacity in the Availability "
                f"Zone you requested ({zone}). Our system will be working on provisioning additional "
                "capacity.",
            )

    async def _boot(self, instance: Ec2Instance, boot: Callable[[Ec2Instance], Instance]) -> None:
        await self._pace.sleep(PENDING_SECONDS, jitter=0.2)
        instance.state = "running"
        self.changed.notify()
        if self.launcher is not None:
            # Marked first: a termination in the middle of the launch must reach the launcher too.
            self._launched.add(instance.instance_id)
            await self.launcher.launch(boot(instance))

    async def _shut_down(self, instance: Ec2Instance) -> None:
        await self._pace.sleep(SHUTTING_DOWN_SECONDS, jitter=0.2)
        self._vpc.remove_instance(instance.instance_id, leak_secondary=self._faults.active(LEAKED_INTERFACES))
        instance.state = "terminated"
        instance.ended = asyncio.get_running_loop().time()
        self.changed.notify()
