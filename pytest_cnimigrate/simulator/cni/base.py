"""What the runtime and the data plane need of a CNI on one node, and which CNIs there are.

A plugin lives on the node, like its binary under `/opt/cni/bin` and the kernel state that it made: it
outlasts the pod of its agent. The agent's program only switches it on and off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.nodes.machine import Machine, Sandbox


class CniError(Exception):
    """ADD or DEL failed; the text is what the plugin reports to the runtime."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a node carries packets towards an address that the cloud's network does not know."""

    via: str
    """The address of the node that the packet is sent to, or "" when the node itself holds the address."""
    port: int = 0
    """The UDP port of the tunnel; 0 when the packet is sent as it is."""


class CniPlugin(Protocol):
    """One CNI on one node."""

    kind: str
    """The plugin's `type` in a CNI configuration."""

    @property
    def enforces_policies(self) -> bool:
        """Whether NetworkPolicies hold for the pods that this plugin attached."""

    async def add(self, sandbox: Sandbox) -> str:
        """Attach the pod to the network; its IPv4 address. Raises `CniError`."""

    async def delete(self, sandbox: Sandbox) -> None:
        """Detach the pod and give its address back. Raises `CniError`; unknown pods are no error."""

    def route(self, destination: str) -> Route | None:
        """The way to an address outside the cloud's network, if this CNI knows one."""

    def source_address(self, address: str, destination: str) -> str:
        """The address that a packet from the pod's `address` bears when it leaves the node."""


PluginFactory = Callable[["Machine"], CniPlugin]

_FACTORIES: dict[str, PluginFactory] = {}


def register_plugin(kind: str, factory: PluginFactory) -> None:
    """Make known what a CNI configuration means that names `kind` as its plugin's type."""
    _FACTORIES[kind] = factory


def make_plugin(kind: str, machine: Machine) -> CniPlugin:
    """The plugin of that type for a node; raises `CniError` as the runtime does without its binary."""
    factory = _FACTORIES.get(kind)
    if factory is None:
        raise CniError(f'failed to find plugin "{kind}" in path [/opt/cni/bin]')
    return factory(machine)
