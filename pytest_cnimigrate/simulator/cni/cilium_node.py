"""CiliumNode: where agent and operator of Cilium meet."""

from __future__ import annotations

from pytest_cnimigrate.model.objects import Object, labels_of, name_of, uid_of
from pytest_cnimigrate.model.resources import CILIUM_NODES
from pytest_cnimigrate.simulator.client.api import Api, ApiError
from pytest_cnimigrate.simulator.cni.cilium_config import CiliumConfig
from pytest_cnimigrate.simulator.nodes.machine import Machine

PRE_ALLOCATE = 8
"""Addresses that the operator keeps free on each node, unless the CiliumNode says otherwise."""


def cilium_node(node: Object, machine: Machine, config: CiliumConfig) -> Object:
    """What the agent creates for its node before it has any address."""
    spec: Object = {
        "addresses": [{"ip": machine.address, "type": "InternalIP"}],
        "alibaba-cloud": {},
        "azure": {},
        "bootid": machine.boot_id,
        "encryption": {},
        "eni": {},
        "health": {},
        "ingress": {},
        "ipam": {"pools": {}},
    }
    if config.ipam == "eni":
        interfaces = machine.vpc.interfaces_of(machine.instance.instance_id)
        spec["instance-id"] = machine.instance.instance_id
        spec["eni"] = {
            "availability-zone": machine.instance.availability_zone,
            "first-interface-index": 0,
            "instance-type": machine.instance.instance_type,
            "node-subnet-id": machine.instance.subnet_id,
            "use-primary-address": False,
            "vpc-id": interfaces[0].vpc_id if interfaces else "",
        }
        spec["ipam"] = {"pre-allocate": PRE_ALLOCATE}
    elif config.ipam == "kubernetes":
        spec["ipam"]["podCIDRs"] = list(node["spec"].get("podCIDRs") or ())
    return {
        "apiVersion": CILIUM_NODES.api_version,
        "kind": "CiliumNode",
        "metadata": {
            "name": name_of(node),
            "labels": labels_of(node),
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name_of(node), "uid": uid_of(node)},
            ],
        },
        "spec": spec,
    }


async def create_or_adopt(api: Api, wanted: Object) -> Object:
    """Create the CiliumNode; one that is there keeps the addresses that the operator has given it."""
    try:
        return await api.create(CILIUM_NODES, wanted)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
    spec = {key: value for key, value in wanted["spec"].items() if key not in ("addresses", "health", "ipam")}
    patch = {
        "metadata": {key: wanted["metadata"][key] for key in ("labels", "ownerReferences")},
        "spec": spec,
    }
    return await api.patch(CILIUM_NODES, name_of(wanted), patch)


def pool_of(node: Object) -> dict[str, str]:
    """Address -> interface, of what the operator has written into `spec.ipam.pool`."""
    pool = (node["spec"].get("ipam") or {}).get("pool") or {}
    return {address: entry.get("resource", "") for address, entry in pool.items()}


def used_of(node: Object) -> dict[str, Object]:
    """What the agent has reported as used, by address."""
    used: dict[str, Object] = ((node.get("status") or {}).get("ipam") or {}).get("used") or {}
    return used
