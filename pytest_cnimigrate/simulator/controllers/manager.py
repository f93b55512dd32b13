"""Starts all controllers and stops them again, as kube-controller-manager and kube-scheduler together."""

from __future__ import annotations

import asyncio

from pytest_cnimigrate.simulator.client.api import Api
from pytest_cnimigrate.simulator.client.informer import Informers
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.controllers.base import Context, Controller
from pytest_cnimigrate.simulator.controllers.daemonset import DaemonSetController
from pytest_cnimigrate.simulator.controllers.deployment import DeploymentController
from pytest_cnimigrate.simulator.controllers.disruption import DisruptionController
from pytest_cnimigrate.simulator.controllers.endpoints import EndpointController
from pytest_cnimigrate.simulator.controllers.garbage import GarbageCollector
from pytest_cnimigrate.simulator.controllers.job import CronJobNotice, JobController
from pytest_cnimigrate.simulator.controllers.load_balancer import LoadBalancerController
from pytest_cnimigrate.simulator.controllers.namespaces import NamespaceController, ServiceAccountController
from pytest_cnimigrate.simulator.controllers.node_lifecycle import NodeLifecycleController
from pytest_cnimigrate.simulator.controllers.pod_gc import PodGarbageCollector
from pytest_cnimigrate.simulator.controllers.replicaset import ReplicaSetController
from pytest_cnimigrate.simulator.controllers.scheduler import Scheduler
from pytest_cnimigrate.simulator.controllers.statefulset import StatefulSetController
from pytest_cnimigrate.simulator.controllers.taint_eviction import TaintEvictionController

ALL: tuple[type[Controller], ...] = (
    Scheduler,
    DaemonSetController,
    DeploymentController,
    ReplicaSetController,
    StatefulSetController,
    JobController,
    CronJobNotice,
    DisruptionController,
    EndpointController,
    LoadBalancerController,
    NamespaceController,
    ServiceAccountController,
    GarbageCollector,
    NodeLifecycleController,
    TaintEvictionController,
    PodGarbageCollector,
)


class ControllerManager:
    """All controllers of one cluster, on one event loop.

    The informers are the caller's, who closes them after `stop`; other parts of the simulator may share them.
    """

    def __init__(self, api: Api, informers: Informers, pace: Pace) -> None:
        self.controllers = tuple(make(Context(api, informers, pace)) for make in ALL)
        self._informers = informers
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every controller; returns when all have their first view of the cluster."""
        for controller in self.controllers:
            controller.watch()
        for controller in self.controllers:
            task = asyncio.create_task(controller.run(), name=controller.component)
            self._tasks.append(task)
        await self._informers.wait_synced()

    async def stop(self) -> None:
        """Cancel every task and wait until it has ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def start_controllers(api: Api, informers: Informers, pace: Pace) -> ControllerManager:
    """Start all controllers as clients of `api`; the caller stops the manager that it gets.

    Not simulated, and said so where it matters: preemption, CronJobs, volume binding and attachment (claims
    of StatefulSets are simply bound), node IPAM (`spec.podCIDR`).
    """
    manager = ControllerManager(api, informers, pace)
    await manager.start()
    return manager
