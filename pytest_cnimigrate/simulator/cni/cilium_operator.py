"""The Cilium operator: one leader registers the resources, manages addresses and taints, cleans up."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
from collections.abc import Iterator

from pytest_cnimigrate.model.objects import Object, micro_timestamp, name_of, parse_timestamp
from pytest_cnimigrate.model.resources import CILIUM_NODES, CUSTOM_RESOURCE_DEFINITIONS, LEASES, NODES
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.cni.cilium_config import CiliumConfig, CiliumConfigError, read_config
from pytest_cnimigrate.simulator.cni.cilium_crds import definitions
from pytest_cnimigrate.simulator.cni.cilium_eni import EniManager
from pytest_cnimigrate.simulator.cni.cilium_taints import NodeTaints
from pytest_cnimigrate.simulator.cni.cilium_unmanaged import UnmanagedPods
from pytest_cnimigrate.simulator.cni.work_queue import WorkQueue
from pytest_cnimigrate.simulator.nodes.programs import Context, Program

LEASE = "cilium-operator-resource-lock"
LEASE_SECONDS = 15.0
RETRY_SECONDS = 2.0
LEASE_FLOOR = 2.0
"""Wall seconds that a lease holds at least: at a high speed 15 simulated seconds are less than a hiccup."""


class CiliumOperator(Program):
    """One replica. All are ready; the one that holds the lease works."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._identity = f"{context.machine.name}-{context.pod['metadata']['uid'][:10]}"
        self._config = CiliumConfig()
        self._leading = False

    async def run(self) -> int:
        context = self.context
        try:
            self._config = await read_config(context.api, context.namespace)
            if self._config.ipam == "eni" and "operator-generic" in context.container["image"]:
                raise CiliumConfigError(
                    "eni allocator is not supported by this version of cilium-operator-generic"
                )
        except CiliumConfigError as error:
            self._say("fatal", str(error))
            return 1
        await context.pace.sleep(1.0, jitter=0.3)
        context.set_ready(True)
        self._say("info", f"attempting to acquire leader lease {context.namespace}/{LEASE}...")
        while not await self._acquire():
            await context.pace.sleep(RETRY_SECONDS, jitter=0.3)
        self._leading = True
        self._say("info", f"Leading the operator HA deployment as {self._identity}")
        try:
            return await self._lead()
        finally:
            self._leading = False

    async def stop(self) -> None:
        """Give the lease back, so that another replica need not wait for it to run out."""
        if self._leading:
            patch = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
            try:
                await self.context.api.patch(LEASES, LEASE, patch, self.context.namespace)
            except ApiError as error:
                self._say("warning", f"cannot release the lease: {error.message}")

    async def _lead(self) -> int:
        await self._register_crds()
        context, config = self.context, self._config
        await context.informers.of(CILIUM_NODES).wait_synced()
        jobs = [NodeTaints(context, config, self._say).run(), self._collect_nodes()]
        if config.ipam == "eni":
            jobs.append(EniManager(context, config, self._say).run())
        elif config.ipam == "cluster-pool":
            jobs.append(ClusterPool(context, config).run())
        if config.unmanaged_interval:
            jobs.append(UnmanagedPods(context, config, self._say).run())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
            await self._hold()
            for task in tasks:
                task.cancel()
        self._say("fatal", "Leader election lost")
        return 1

    async def _register_crds(self) -> None:
        for crd in definitions():
            self._say("info", f"Creating CRD (CustomResourceDefinition)... name={name_of(crd)}")
            try:
                await self.context.api.create(CUSTOM_RESOURCE_DEFINITIONS, crd)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise

    async def _collect_nodes(self) -> None:
        """Delete CiliumNodes whose node is gone."""
        cilium_nodes, nodes = self.context.informers.of(CILIUM_NODES), self.context.informers.of(NODES)
        while True:
            await self.context.pace.sleep(self._config.nodes_gc_seconds)
            for cilium_node in cilium_nodes.all():
                if nodes.get(name_of(cilium_node)) is None:
                    self._say("info", f"Perform GC of invalid CiliumNode {name_of(cilium_node)}")
                    try:
                        await self.context.api.delete(CILIUM_NODES, name_of(cilium_node))
                    except ApiError as error:
                        self._say("warning", f"cannot delete CiliumNode: {error.message}")

    # Leader election

    async def _acquire(self) -> bool:
        """Take the lease if it is free or has run out."""
        api, namespace = self.context.api, self.context.namespace
        now = micro_timestamp()
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "acquireTime": now,
            "renewTime": now,
        }
        try:
            lease = await api.get(LEASES, LEASE, namespace)
        except ApiError as error:
            if not error.is_not_found:
                return False
            lease = {
                "apiVersion": LEASES.api_version,
                "kind": "Lease",
                "metadata": {"name": LEASE, "namespace": namespace},
                "spec": spec,
            }
            return await self._try(api.create(LEASES, lease, namespace))
        if lease["spec"].get("holderIdentity") and not self._expired(lease):
            return False
        return await self._try(api.update(LEASES, {**lease, "spec": spec}))

    def _expired(self, lease: Object) -> bool:
        age = dt.datetime.now(dt.UTC) - parse_timestamp(lease["spec"]["renewTime"])
        return age.total_seconds() > max(self.context.pace.wall(LEASE_SECONDS), LEASE_FLOOR)

    async def _try(self, request: object) -> bool:
        try:
            await request  # type: ignore[misc]  # a coroutine of the Api protocol
        except ApiError:
            return False
        return True

    async def _hold(self) -> None:
        """Renew the lease; return when somebody else has it."""
        api, namespace = self.context.api, self.context.namespace
        while True:
            await asyncio.sleep(max(self.context.pace.wall(RETRY_SECONDS), LEASE_FLOOR / 4))
            try:
                lease = await api.get(LEASES, LEASE, namespace)
                if lease["spec"].get("holderIdentity") != self._identity:
                    return
                await api.patch(LEASES, LEASE, {"spec": {"renewTime": micro_timestamp()}}, namespace)
            except ApiError as error:
                self._say("warning", f"cannot renew the lease: {error.message}")

    def _say(self, level: str, message: str) -> None:
        self.context.print(f'level={level} msg="{message}" subsys=cilium-operator')


class ClusterPool:
    """Gives each CiliumNode a range of the cluster's pool; the node is first seen without one (recorded)."""

    def __init__(self, context: Context, config: CiliumConfig) -> None:
        self._context = context
        self._config = config
        self._nodes = context.informers.of(CILIUM_NODES)
        self._queue = WorkQueue(context.pace, self._reconcile)
        self._given: dict[str, str] = {}
        """Range -> node, of what has been written but perhaps not been seen yet."""

    async def run(self) -> None:
        """Work until cancelled."""
        self._nodes.add_handler(self._node_changed)
        try:
            await self._queue.run()
        finally:
            self._nodes.remove_handler(self._node_changed)

    def _node_changed(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and not (new["spec"].get("ipam") or {}).get("podCIDRs"):
            self._queue.add(name_of(new))

    async def _reconcile(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is None or (node["spec"].get("ipam") or {}).get("podCIDRs"):
            return
        cidr = next(self._free(), None)
        status: Object = {"alibaba-cloud": {}, "azure": {}, "eni": {}, "ipam": {"operator-status": {}}}
        if cidr is None:
            status["ipam"]["operator-status"] = {"error": "no remaining CIDRs: allocator full"}
            self._queue.add_later(name, RETRY_SECONDS * 5)
        else:
            self._given[cidr] = name
            await self._context.api.patch(CILIUM_NODES, name, {"spec": {"ipam": {"podCIDRs": [cidr]}}})
        await self._context.api.patch(CILIUM_NODES, name, {"status": status}, subresource="status")

    def _free(self) -> Iterator[str]:
        taken = {
            cidr
            for node in self._nodes.all()
            for cidr in (node["spec"].get("ipam") or {}).get("podCIDRs") or ()
        }
        taken |= {cidr for cidr, name in self._given.items() if self._nodes.get(name) is not None}
        for pool in self._config.pool_cidrs:
            for network in ipaddress.IPv4Network(pool).subnets(new_prefix=self._config.pool_mask_size):
                if str(network) not in taken:
                    yield str(network)
