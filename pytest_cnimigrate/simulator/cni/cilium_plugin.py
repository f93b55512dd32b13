"""`cilium-cni` on one node: attaches pods through the agent, keeps their addresses, knows the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_cnimigrate.model.objects import key_of, uid_of
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.client.informer import Informer
from pytest_cnimigrate.simulator.cni.base import CniError, Route, register_plugin
from pytest_cnimigrate.simulator.cni.cilium_config import CiliumConfig
from pytest_cnimigrate.simulator.cni.cilium_endpoints import EndpointWriter
from pytest_cnimigrate.simulator.cni.cilium_pool import AddressPool
from pytest_cnimigrate.simulator.network.addresses import in_network
from pytest_cnimigrate.simulator.nodes.faults import CILIUM_PLUGIN
from pytest_cnimigrate.simulator.nodes.machine import NETWORK_DEVICE

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.cni.cilium_agent import CiliumAgent
    from pytest_cnimigrate.simulator.nodes.machine import Machine, Sandbox

CLIENT_TIMEOUT_SECONDS = 30.0
"""How long the plugin tries to reach the agent's socket before it gives up."""
ENDPOINT_SECONDS = 0.3

NO_AGENT = (
    'plugin type="cilium-cni" failed (add): unable to connect to Cilium agent: failed to create cilium agent '
    'client after 30.000000 seconds timeout: Get "http://localhost/v1/config": dial unix '
    "/var/run/cilium/cilium.sock: connect: no such file or directory\nIs the agent running?"
)


class CiliumPlugin:
    """What Cilium has set up on a node: stays when the agent goes, as BPF programs and routes do."""

    kind = CILIUM_PLUGIN

    def __init__(self, machine: Machine) -> None:
        self.config = CiliumConfig()
        self.pool = AddressPool()
        self.agent: CiliumAgent | None = None
        """The agent that answers, if one does."""
        self.writer: EndpointWriter | None = None
        self.endpoints: dict[str, Sandbox] = {}
        """By the pod's uid: what Cilium manages on this node."""
        self._machine = machine
        self._nodes: Informer | None = None

    def serve(
        self, agent: CiliumAgent, config: CiliumConfig, writer: EndpointWriter, nodes: Informer
    ) -> None:
        """An agent has come up with this configuration."""
        self.agent, self.config, self.writer, self._nodes = agent, config, writer, nodes

    @property
    def enforces_policies(self) -> bool:
        return self.config.policy_enforcement

    async def add(self, sandbox: Sandbox) -> str:
        if self.agent is None or self.writer is None:
            await self._machine.pace.sleep(CLIENT_TIMEOUT_SECONDS)
            if self.agent is None or self.writer is None:
                raise CniError(NO_AGENT)
        address = self.pool.allocate(key_of(sandbox.pod))
        self.agent.pool_changed()
        if address is None:
            raise CniError(
                'plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: '
                "[POST /ipam][502] postIpamFailure No more IPs available"
            )
        sandbox.address = address
        await self._machine.pace.sleep(ENDPOINT_SECONDS, jitter=0.3)
        try:
            await self.writer.write(sandbox)
        except ApiError as error:
            self.pool.release(address)
            raise CniError(
                f'plugin type="cilium-cni" failed (add): unable to create endpoint: {error.message}'
            ) from error
        self.endpoints[uid_of(sandbox.pod)] = sandbox
        return address

    async def delete(self, sandbox: Sandbox) -> None:
        """Without an agent the deletion is queued on the node after a timeout (recorded: 41 s)."""
        if self.endpoints.pop(uid_of(sandbox.pod), None) is None:
            return
        if self.agent is None:
            await self._machine.pace.sleep(CLIENT_TIMEOUT_SECONDS)
        self.pool.release(sandbox.address)
        if self.writer is not None:
            await self.writer.remove(sandbox)
        if self.agent is not None:
            self.agent.pool_changed()

    def route(self, destination: str) -> Route | None:
        """To the node whose CiliumNode has the range; in native mode (within one subnet) without a tunnel."""
        if self.pool.contains(destination):
            return Route("")
        if self._nodes is None:
            return None
        for node in self._nodes.all():
            ranges = (node["spec"].get("ipam") or {}).get("podCIDRs") or ()
            if any(in_network(destination, cidr) for cidr in ranges):
                via = next(a["ip"] for a in node["spec"]["addresses"] if a["type"] == "InternalIP")
                return Route(via, self.config.tunnel_port if self.config.tunnel else 0)
        return None

    def source_address(self, address: str, destination: str) -> str:
        native = self.config.native_routing_cidr or self._machine.vpc.cidr
        if in_network(destination, native) or self.route(destination) is not None:
            return address
        return self._machine.address if self.config.masquerades_on(NETWORK_DEVICE) else address


register_plugin(CILIUM_PLUGIN, CiliumPlugin)
