"""The operator's address management in ENI mode: interfaces and addresses for each CiliumNode."""

from __future__ import annotations

from collections.abc import Callable

from pytest_cnimigrate.model.objects import Object, name_of
from pytest_cnimigrate.model.resources import CILIUM_NODES
from pytest_cnimigrate.simulator.cloud import CloudError, NetworkInterface
from pytest_cnimigrate.simulator.cni.cilium_config import CiliumConfig
from pytest_cnimigrate.simulator.cni.cilium_faults import OPERATOR_NO_EC2_RIGHTS
from pytest_cnimigrate.simulator.cni.cilium_node import PRE_ALLOCATE, pool_of, used_of
from pytest_cnimigrate.simulator.cni.work_queue import WorkQueue
from pytest_cnimigrate.simulator.nodes.programs import Context

CALL_SECONDS = 0.7
"""What a changing EC2 call takes here."""
RETRY_SECONDS = 10.0


class EniManager:
    """Keeps `pre-allocate` addresses free on every node, on existing interfaces first, then on new ones."""

    def __init__(self, context: Context, config: CiliumConfig, say: Callable[[str, str], None]) -> None:
        self._context = context
        self._config = config
        self._say = say
        self._queue = WorkQueue(context.pace, self._reconcile)
        self._nodes = context.informers.of(CILIUM_NODES)

    async def run(self) -> None:
        """Work until cancelled."""
        self._nodes.add_handler(self._node_changed)
        try:
            await self._queue.run()
        finally:
            self._nodes.remove_handler(self._node_changed)

    def _node_changed(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and new["spec"].get("instance-id"):
            self._queue.add(name_of(new))

    async def _reconcile(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is None:
            return
        error = ""
        interfaces = self._interfaces(node)
        available = sum(len(interface.secondary_addresses) for interface in interfaces) - len(used_of(node))
        wanted = max(
            node["spec"].get("ipam", {}).get("pre-allocate", PRE_ALLOCATE) - available,
            node["spec"].get("ipam", {}).get("min-allocate", 0) - available - len(used_of(node)),
        )
        if wanted > 0:
            try:
                await self._allocate(node, interfaces, wanted)
            except CloudError as refusal:
                error = f"unable to allocate {wanted} addresses: {refusal}"
                self._say("warning", f"{error} (node {name})")
                self._queue.add_later(name, RETRY_SECONDS)
            else:
                # More may be missing than one call gives.
                self._queue.add_later(name, 1.0)
        await self._write(node, self._interfaces(node), error)

    def _interfaces(self, node: Object) -> list[NetworkInterface]:
        """The node's interfaces that Cilium uses."""
        eni = node["spec"].get("eni") or {}
        excluded = eni.get("exclude-interface-tags") or {}
        return [
            interface
            for interface in self._context.vpc.interfaces_of(node["spec"]["instance-id"])
            if interface.device_index >= eni.get("first-interface-index", 0)
            and not (excluded and all(interface.tags.get(key) == value for key, value in excluded.items()))
        ]

    async def _allocate(self, node: Object, interfaces: list[NetworkInterface], wanted: int) -> None:
        """Ask EC2 for addresses; raises `CloudError`. Asks for nothing at the instance type's limit."""
        vpc, eni, instance_id = self._context.vpc, node["spec"]["eni"], node["spec"]["instance-id"]
        max_interfaces, addresses = vpc.interface_limits(eni["instance-type"])
        if self._context.faults.active(OPERATOR_NO_EC2_RIGHTS):
            raise CloudError("UnauthorizedOperation", "You are not authorized to perform this operation.")
        for interface in interfaces:
            room = addresses - 1 - len(interface.secondary_addresses)
            if room > 0:
                await self._context.pace.sleep(CALL_SECONDS, jitter=0.3)
                vpc.assign_private_ip_addresses(interface.network_interface_id, min(room, wanted))
                return
        attached = vpc.interfaces_of(instance_id)
        if len(attached) >= max_interfaces:
            return
        await self._context.pace.sleep(3 * CALL_SECONDS, jitter=0.3)  # create, attach, modify
        vpc.create_network_interface(
            instance_id=instance_id,
            subnet_id=(eni.get("subnet-ids") or [eni["node-subnet-id"]])[0],
            security_group_ids=tuple(eni.get("security-groups") or attached[0].security_group_ids),
            description=f"Cilium-CNI ({instance_id})",
            tags={
                "io.cilium/cilium-managed": "true",
                "io.cilium/cluster-name": self._config.cluster_name,
            },
            secondary_address_count=min(wanted, addresses - 1),
        )

    async def _write(self, node: Object, interfaces: list[NetworkInterface], error: str) -> None:
        """Write pool and interfaces into the CiliumNode where they differ from what stands there."""
        api, name = self._context.api, name_of(node)
        pool = {
            address: interface.network_interface_id
            for interface in interfaces
            for address in interface.secondary_addresses
        }
        if pool != pool_of(node):
            gone: dict[str, Object | None] = dict.fromkeys(pool_of(node).keys() - pool.keys())
            entries = gone | {address: {"resource": resource} for address, resource in pool.items()}
            await api.patch(CILIUM_NODES, name, {"spec": {"ipam": {"pool": entries}}})
        status = node.get("status") or {}
        enis = {interface.network_interface_id: self._eni(interface) for interface in interfaces}
        known = (status.get("eni") or {}).get("enis") or {}
        before = ((status.get("ipam") or {}).get("operator-status") or {}).get("error", "")
        if enis != known or error != before or "operator-status" not in (status.get("ipam") or {}):
            removed: dict[str, Object | None] = dict.fromkeys(known.keys() - enis.keys())
            patch = {
                "status": {
                    "alibaba-cloud": {},
                    "azure": {},
                    "eni": {"enis": removed | enis},
                    "ipam": {"operator-status": {"error": error or None}},
                }
            }
            await api.patch(CILIUM_NODES, name, patch, subresource="status")

    def _eni(self, interface: NetworkInterface) -> Object:
        vpc = self._context.vpc
        return {
            "addresses": list(interface.secondary_addresses),
            "availability-zone": interface.availability_zone,
            "description": interface.description,
            "id": interface.network_interface_id,
            "ip": interface.private_ip_address,
            "mac": interface.mac_address,
            **({"number": interface.device_index} if interface.device_index else {}),
            "security-groups": list(interface.security_group_ids),
            "subnet": {"cidr": vpc.subnet_cidr(interface.subnet_id), "id": interface.subnet_id},
            "tags": dict(interface.tags),
            "vpc": {"id": interface.vpc_id, "primary-cidr": vpc.cidr},
        }
