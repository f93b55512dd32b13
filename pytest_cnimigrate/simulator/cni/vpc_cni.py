"""The AWS VPC CNI: `aws-node` keeps interfaces and addresses warm, its plugin gives them to pods.

Facts: the CNI file is written last, it is kubelet's sign that the network is there; WARM_ENI_TARGET (1) whole
interfaces are kept free; an address given back may be used again after 30 s; the node's NetworkUnavailable
condition is left alone (aws/amazon-vpc-cni-k8s#2274).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_cnimigrate.model.objects import uid_of
from pytest_cnimigrate.simulator.cloud import CloudError, NetworkInterface
from pytest_cnimigrate.simulator.cni.base import CniError, Route, register_plugin
from pytest_cnimigrate.simulator.network.addresses import in_network
from pytest_cnimigrate.simulator.nodes.programs import Context, Program

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.nodes.machine import Machine, Sandbox

AWS_PLUGIN = "aws-cni"
FILE_NAME = "10-aws.conflist"
FILE = """{
  "cniVersion": "0.4.0",
  "name": "aws-cni",
  "disableCheck": true,
  "plugins": [
    {
      "name": "aws-cni",
      "type": "aws-cni",
      "vethPrefix": "eni",
      "mtu": "9001",
      "podSGEnforcingMode": "strict",
      "pluginLogFile": "/var/log/aws-routed-eni/plugin.log",
      "pluginLogLevel": "DEBUG"
    },
    {
      "type": "portmap",
      "capabilities": {"portMappings": true},
      "snat": true
    }
  ]
}
"""
COOLDOWN_SECONDS = 30.0
START_SECONDS = 3.0
RETRY_SECONDS = 5.0
INSTANCE_TAG = "node.k8s.amazonaws.com/instance_id"


class AwsPlugin:
    """The plugin and the address table of one node. Attached pods keep their network when aws-node goes."""

    kind = AWS_PLUGIN

    def __init__(self, machine: Machine) -> None:
        self.serving = False
        """Whether aws-node's daemon answers the plugin."""
        self.masquerades = True
        """Whether the AWS-SNAT iptables chains are there (AWS_VPC_K8S_CNI_EXTERNALSNAT=false)."""
        self.demand = asyncio.Event()
        """Set when addresses have been taken, for the daemon to look at the warm pool."""
        self._machine = machine
        self._used: dict[str, str] = {}
        """Pod uid -> address."""
        self._cooling: dict[str, float] = {}
        """Address -> when it may be used again (monotonic)."""

    @property
    def enforces_policies(self) -> bool:
        """Not without the network policy agent, which is off by default (enableNetworkPolicy=false)."""
        return False

    async def add(self, sandbox: Sandbox) -> str:
        if not self.serving:
            raise CniError(
                'plugin type="aws-cni" name="aws-cni" failed (add): add cmd: Error received from AddNetwork '
                'gRPC call: rpc error: code = Unavailable desc = connection error: desc = "transport: Error '
                'while dialing: dial tcp 127.0.0.1:50051: connect: connection refused"'
            )
        self.demand.set()
        address = next(self._free(), None)
        if address is None:
            raise CniError(
                'plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address '
                "to container"
            )
        self._used[uid_of(sandbox.pod)] = address
        return address

    async def delete(self, sandbox: Sandbox) -> None:
        address = self._used.pop(uid_of(sandbox.pod), None)
        if address is not None:
            self._cooling[address] = time.monotonic() + self._machine.pace.wall(COOLDOWN_SECONDS)
            self.demand.set()

    def route(self, destination: str) -> Route | None:
        return None

    def source_address(self, address: str, destination: str) -> str:
        inside = in_network(destination, self._machine.vpc.cidr)
        return self._machine.address if self.masquerades and not inside else address

    def interfaces(self) -> list[NetworkInterface]:
        """The interfaces that aws-node manages: all but those that Cilium has made."""
        attached = self._machine.vpc.interfaces_of(self._machine.instance.instance_id)
        return [interface for interface in attached if "io.cilium/cilium-managed" not in interface.tags]

    def warm_interfaces(self) -> int:
        """Interfaces of which no address is in use (the primary one never counts)."""
        used = set(self._used.values())
        return sum(
            bool(interface.secondary_addresses) and not used.intersection(interface.secondary_addresses)
            for interface in self.interfaces()[1:]
        )

    def _free(self) -> Iterator[str]:
        used, now = set(self._used.values()), time.monotonic()
        for interface in self.interfaces():
            for address in interface.secondary_addresses:
                if address not in used and self._cooling.get(address, 0.0) <= now:
                    yield address


class AwsNode(Program):
    """The aws-node container."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        plugin = context.machine.plugin(AWS_PLUGIN)
        assert isinstance(plugin, AwsPlugin)  # noqa: S101 - registered below
        self._plugin = plugin

    async def run(self) -> int:
        context, plugin = self.context, self._plugin
        await context.pace.sleep(START_SECONDS, jitter=0.2)
        self._set_up_host_network()
        await self._fill_pool()
        plugin.serving = plugin.masquerades = True
        try:
            context.machine.cni_files.write(FILE_NAME, FILE)
            context.print("Successfully copied CNI plugin binary and config file.")
            context.set_ready(True)
            while True:
                await plugin.demand.wait()
                plugin.demand.clear()
                if not await self._fill_pool():
                    await context.pace.sleep(RETRY_SECONDS)
                    plugin.demand.set()
        finally:
            plugin.serving = False

    def _set_up_host_network(self) -> None:
        """Make the node's route tables its own: what another CNI keeps there is lost (cilium#22620)."""
        machine = self.context.machine
        for sandbox in machine.sandboxes.values():
            if sandbox.plugin is not None and sandbox.plugin.kind != AWS_PLUGIN:
                machine.flushed_addresses.add(sandbox.address)
                self.context.print(f"Deleting route table entries of {sandbox.address}")

    async def _fill_pool(self) -> bool:
        """Fill the primary interface, then keep WARM_ENI_TARGET free ones; False if the cloud refused."""
        context, vpc = self.context, self.context.vpc
        instance = context.machine.instance
        max_interfaces, addresses = vpc.interface_limits(instance.instance_type)
        target = int(context.env.get("WARM_ENI_TARGET", "1"))
        try:
            primary = self._plugin.interfaces()[0]
            missing = addresses - 1 - len(primary.secondary_addresses)
            if missing > 0:
                vpc.assign_private_ip_addresses(primary.network_interface_id, missing)
            while self._plugin.warm_interfaces() < target:
                if len(vpc.interfaces_of(instance.instance_id)) >= max_interfaces:
                    break
                await context.pace.sleep(1.0, jitter=0.3)
                vpc.create_network_interface(
                    instance_id=instance.instance_id,
                    subnet_id=instance.subnet_id,
                    security_group_ids=primary.security_group_ids,
                    description=f"aws-K8S-{instance.instance_id}",
                    tags={
                        INSTANCE_TAG: instance.instance_id,
                        "cluster.k8s.amazonaws.com/name": instance.cluster_name,
                    },
                    secondary_address_count=addresses - 1,
                )
        except CloudError as error:
            context.print(f"Failed to increase pool size due to not able to allocate ENI: {error}")
            return False
        return True


register_plugin(AWS_PLUGIN, AwsPlugin)
