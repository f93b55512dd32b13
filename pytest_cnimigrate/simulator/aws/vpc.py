"""The VPC as CNIs and users see it: instances' interfaces and the addresses on them.

CNIs reach it through `simulator.cloud.Vpc`; users see the same state through the EC2 API.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace

from pytest_cnimigrate.simulator.aws.instance_types import instance_type
from pytest_cnimigrate.simulator.aws.reachability import Flow, why_not
from pytest_cnimigrate.simulator.aws.topology import Topology
from pytest_cnimigrate.simulator.cloud import CloudError, NetworkInterface


@dataclass(frozen=True, slots=True)
class Attachment:
    """How an interface hangs on an instance."""

    attachment_id: str
    attach_time: dt.datetime
    delete_on_termination: bool = True
    service: str = ""
    """The AWS service whose own (invisible) instance it is on, e.g. EKS for its control plane."""


@dataclass(slots=True)
class _Instance:
    """What the network needs to know of an instance."""

    instance_type: str
    interfaces: dict[int, str] = field(default_factory=dict)
    """Device index -> interface."""


class VpcModel(Topology):
    """Implements `simulator.cloud.Vpc`. Synchronous and in memory; nothing here takes time."""

    def __init__(
        self,
        *,
        region: str = "us-west-1",
        cidr: str = "192.168.0.0/16",
        zones: tuple[str, ...] = (),
        subnet_prefix: int = 19,
        nat: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(
            region=region, cidr=cidr, zones=zones, subnet_prefix=subnet_prefix, nat=nat, seed=seed
        )
        self.interfaces: dict[str, NetworkInterface] = {}
        self.attachments: dict[str, Attachment] = {}
        """Interface -> its attachment; an `available` interface has none."""
        self._by_address: dict[str, str] = {}
        self._instances: dict[str, _Instance] = {}

    # Instances

    def interface_limits(self, instance_type_name: str) -> tuple[int, int]:
        kind = instance_type(instance_type_name)
        return kind.max_interfaces, kind.addresses_per_interface

    def add_instance(
        self,
        instance_id: str,
        instance_type_name: str,
        *,
        subnet_id: str,
        security_group_ids: tuple[str, ...],
        tags: dict[str, str] | None = None,
    ) -> NetworkInterface:
        """Give a starting instance its primary interface; `CloudError` when the subnet is exhausted."""
        instance_type(instance_type_name)
        self._instances[instance_id] = _Instance(instance_type_name)
        try:
            return self.create_network_interface(
                instance_id=instance_id,
                subnet_id=subnet_id,
                security_group_ids=security_group_ids,
                description="",
                tags=tags or {},
                secondary_address_count=0,
            )
        except CloudError:
            del self._instances[instance_id]
            raise

    def remove_instance(self, instance_id: str, *, leak_secondary: bool = False) -> None:
        """Take a terminated instance off the network.

        Interfaces go with it as their `DeleteOnTermination` says; with `leak_secondary` all but the primary
        one stay behind as `available`, which is how interfaces leak when a CNI dies in the middle.
        """
        instance = self._instances.pop(instance_id, None)
        if instance is None:
            return
        for index, interface_id in instance.interfaces.items():
            keep = leak_secondary and index > 0
            if keep or not self.attachments[interface_id].delete_on_termination:
                self._detach(interface_id)
            else:
                self._forget(interface_id)

    # Interfaces

    def interfaces_of(self, instance_id: str) -> list[NetworkInterface]:
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        return [self.interfaces[instance.interfaces[index]] for index in sorted(instance.interfaces)]

    def create_network_interface(
        self,
        *,
        instance_id: str,
        subnet_id: str,
        security_group_ids: tuple[str, ...],
        description: str,
        tags: dict[str, str],
        secondary_address_count: int,
    ) -> NetworkInterface:
        instance = self._instance(instance_id)
        interfaces, addresses = self.interface_limits(instance.instance_type)
        if len(instance.interfaces) >= interfaces:
            raise CloudError(
                "AttachmentLimitExceeded",
                f"Interface count {len(instance.interfaces) + 1} exceeds the limit for "
                f"{instance.instance_type}",
            )
        self._check_address_limit(1 + secondary_address_count, addresses)
        index = next(number for number in range(interfaces) if number not in instance.interfaces)
        interface = self._new_interface(
            subnet_id=subnet_id,
            security_group_ids=security_group_ids,
            description=description,
            tags=tags,
            address_count=1 + secondary_address_count,
            instance_id=instance_id,
            device_index=index,
        )
        instance.interfaces[index] = interface.network_interface_id
        self._attach(interface.network_interface_id)
        return interface

    def create_service_interface(
        self, *, subnet_id: str, security_group_ids: tuple[str, ...], description: str, service: str
    ) -> NetworkInterface:
        """An interface that an AWS service holds in the VPC, such as those of the EKS control plane."""
        interface = self._new_interface(
            subnet_id=subnet_id,
            security_group_ids=security_group_ids,
            description=description,
            tags={},
            address_count=1,
            instance_id="",
            device_index=1,
        )
        self._attach(interface.network_interface_id, service=service)
        return interface

    def assign_private_ip_addresses(self, network_interface_id: str, count: int) -> list[str]:
        interface = self.interface(network_interface_id)
        if interface.instance_id:
            limit = self.interface_limits(self._instance(interface.instance_id).instance_type)[1]
            self._check_address_limit(1 + len(interface.secondary_addresses) + count, limit)
        added = self.subnet(interface.subnet_id).allocate(count, self._random)
        self._by_address.update(dict.fromkeys(added, network_interface_id))
        self.interfaces[network_interface_id] = replace(
            interface, secondary_addresses=(*interface.secondary_addresses, *added)
        )
        return added

    def delete_network_interface(self, network_interface_id: str) -> None:
        interface = self.interface(network_interface_id)
        if interface.instance_id and interface.device_index == 0:
            raise CloudError(
                "OperationNotPermitted",
                "The network interface at device index 0 and networkCard index 0 cannot be detached.",
            )
        self._detach(network_interface_id)
        self._forget(network_interface_id)

    def interface(self, network_interface_id: str) -> NetworkInterface:
        """The interface, or `CloudError` InvalidNetworkInterfaceID.NotFound."""
        try:
            return self.interfaces[network_interface_id]
        except KeyError:
            raise CloudError(
                "InvalidNetworkInterfaceID.NotFound",
                f"The networkInterface ID '{network_interface_id}' does not exist",
            ) from None

    def set_interface_tags(self, network_interface_id: str, tags: dict[str, str]) -> None:
        interface = self.interface(network_interface_id)
        self.interfaces[network_interface_id] = replace(interface, tags={**interface.tags, **tags})

    def interface_with_address(self, address: str) -> NetworkInterface | None:
        interface_id = self._by_address.get(address)
        return self.interfaces[interface_id] if interface_id else None

    def instance_with_address(self, address: str) -> str | None:
        interface = self.interface_with_address(address)
        return interface.instance_id or None if interface else None

    # Reachability

    def admits(self, source: str, destination: str, port: int, protocol: str = "tcp") -> bool:
        return not self.why_not(source, destination, port, protocol)

    def why_not(self, source: str, destination: str, port: int, protocol: str = "tcp") -> str:
        """Why a first packet does not arrive, in words; empty when security groups and routes carry it."""
        return why_not(self, Flow(source, destination, port, protocol))

    def attached_interface_with(self, address: str) -> NetworkInterface | None:
        """Like `interface_with_address`, but only while the interface is attached to something."""
        interface = self.interface_with_address(address)
        attached = interface is not None and interface.network_interface_id in self.attachments
        return interface if attached else None

    # Innards

    def _instance(self, instance_id: str) -> _Instance:
        try:
            return self._instances[instance_id]
        except KeyError:
            raise CloudError(
                "InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist"
            ) from None

    @staticmethod
    def _check_address_limit(wanted: int, limit: int) -> None:
        if wanted > limit:
            raise CloudError(
                "PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit."
            )

    def _new_interface(
        self,
        *,
        subnet_id: str,
        security_group_ids: tuple[str, ...],
        description: str,
        tags: dict[str, str],
        address_count: int,
        instance_id: str,
        device_index: int,
    ) -> NetworkInterface:
        subnet = self.subnet(subnet_id)
        groups = security_group_ids or (self.default_security_group_id,)
        for group_id in groups:
            self.security_group(group_id)
        primary, *secondary = subnet.allocate(address_count, self._random)
        interface = NetworkInterface(
            network_interface_id=self.new_id("eni"),
            subnet_id=subnet_id,
            vpc_id=self.vpc_id,
            availability_zone=subnet.availability_zone,
            mac_address="02:" + ":".join(f"{self._random.getrandbits(8):02x}" for _ in range(5)),
            private_ip_address=primary,
            secondary_addresses=tuple(secondary),
            security_group_ids=groups,
            description=description,
            tags=dict(tags),
            instance_id=instance_id,
            device_index=device_index,
        )
        self.interfaces[interface.network_interface_id] = interface
        self._by_address.update(
            dict.fromkeys((primary, *secondary), interface.network_interface_id),
        )
        return interface

    def _attach(self, interface_id: str, service: str = "") -> None:
        self.attachments[interface_id] = Attachment(
            self.new_id("eni-attach"), dt.datetime.now(dt.UTC), service=service
        )

    def _detach(self, interface_id: str) -> None:
        interface = self.interfaces[interface_id]
        self.attachments.pop(interface_id, None)
        instance = self._instances.get(interface.instance_id)
        if instance is not None:
            instance.interfaces.pop(interface.device_index, None)
        self.interfaces[interface_id] = replace(interface, instance_id="", device_index=0)

    def _forget(self, interface_id: str) -> None:
        interface = self.interfaces.pop(interface_id)
        self.attachments.pop(interface_id, None)
        subnet = self.subnets[interface.subnet_id]
        for address in (interface.private_ip_address, *interface.secondary_addresses):
            del self._by_address[address]
            subnet.release(address)
