"""Services of type LoadBalancer: an address after a while, as the AWS cloud controller gives them."""

from __future__ import annotations

import asyncio
import zlib
from typing import ClassVar

from pytest_cnimigrate.model.objects import Object, is_terminating, key_of, labels_of, uid_of
from pytest_cnimigrate.model.resources import NODES, SERVICES
from pytest_cnimigrate.simulator.controllers.base import Context, Controller

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
PROVISIONING = 5.0
"""Simulated seconds until the name is known: CreateLoadBalancer takes a few seconds."""
_REGION = "topology.kubernetes.io/region"


class LoadBalancerController(Controller):
    component: ClassVar[str] = "service-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._services = self.informer(SERVICES)
        self._nodes = self.informer(NODES)
        self._due: dict[str, float] = {}
        """uid of a Service -> when (the loop's time) its load balancer is there."""

    def watch(self) -> None:
        self.enqueue_changes_of(self._services)

    async def sync(self, key: str) -> None:
        service = self._services.by_key(key)
        if service is None:
            return
        wanted = service["spec"].get("type") == "LoadBalancer" and not is_terminating(service)
        # A class of its own means that another controller (AWS's, Cilium's LB-IPAM) is to serve it.
        if wanted and not service["spec"].get("loadBalancerClass"):
            await self._ensure(service)
        elif FINALIZER in (service["metadata"].get("finalizers") or ()):
            await self._remove(service)

    async def _ensure(self, service: Object) -> None:
        finalizers = service["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            metadata = {**service["metadata"], "finalizers": [*finalizers, FINALIZER]}
            service = await self.api.update(SERVICES, {**service, "metadata": metadata})
        if (service["status"].get("loadBalancer") or {}).get("ingress"):
            return
        now = asyncio.get_running_loop().time()
        if uid_of(service) not in self._due:
            self._due[uid_of(service)] = now + self.pace.wall(PROVISIONING)
            self.recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        left = self._due[uid_of(service)] - now
        if left > 0:
            self.queue.add_after(key_of(service), left * self.pace.speed)
            return
        status = {**service["status"], "loadBalancer": {"ingress": [{"hostname": self._hostname(service)}]}}
        await self.api.update(SERVICES, {**service, "status": status}, subresource="status")
        self.recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    async def _remove(self, service: Object) -> None:
        self.recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        self._due.pop(uid_of(service), None)
        if (service["status"].get("loadBalancer") or {}).get("ingress"):
            status = {**service["status"], "loadBalancer": {}}
            service = await self.api.update(SERVICES, {**service, "status": status}, subresource="status")
        finalizers = [f for f in service["metadata"]["finalizers"] if f != FINALIZER]
        metadata = {**service["metadata"], "finalizers": finalizers}
        self.recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
        await self.api.update(SERVICES, {**service, "metadata": metadata})

    def _hostname(self, service: Object) -> str:
        """A name like a classic load balancer's: `a` and the uid without dashes, a number, and the region."""
        regions = (labels_of(node).get(_REGION) for node in self._nodes.all())
        region = next(filter(None, regions), "eu-west-1")
        name = ("a" + uid_of(service).replace("-", ""))[:32]
        return f"{name}-{zlib.crc32(uid_of(service).encode())}.{region}.elb.amazonaws.com"
