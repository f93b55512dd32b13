"""What is on a node beneath Kubernetes: files, network plugins, sandboxes and who holds which address."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_cnimigrate.model.objects import Object, key_of
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import Instance, Vpc
from pytest_cnimigrate.simulator.cni.base import CniPlugin, make_plugin
from pytest_cnimigrate.simulator.nodes.cni_files import CniFiles

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.nodes.programs import Program

NETWORK_DEVICE = "ens5"
"""The first network device on Amazon Linux 2023 (it was eth0 on Amazon Linux 2)."""


@dataclass(eq=False, slots=True)
class Sandbox:
    """A pod's network namespace and what runs in it. A restart of the node makes a new one."""

    pod: Object
    """The latest version of the pod that the kubelet has seen."""
    machine: Machine
    sandbox_id: str = field(default_factory=lambda: secrets.token_hex(32))
    address: str = ""
    plugin: CniPlugin | None = None
    """Who attached it; None for pods in the host's network."""
    programs: dict[str, Program] = field(default_factory=dict)
    """By container name; only those that run."""

    @property
    def host_network(self) -> bool:
        return bool(self.pod["spec"].get("hostNetwork"))

    def server(self, port: int, protocol: str = "tcp") -> Program | None:
        """The program that listens on the port."""
        for program in self.programs.values():
            if program.listens(port, protocol):
                return program
        return None


class Machine:
    """One instance that is switched on."""

    def __init__(self, instance: Instance, *, vpc: Vpc, pace: Pace) -> None:
        self.instance = instance
        self.name = instance.private_dns_name
        self.address = instance.private_ip
        self.vpc = vpc
        self.pace = pace
        self.powered = True
        self.boot_id = str(uuid.uuid4())
        self.cni_files = CniFiles()
        self.images: set[str] = set()
        """Images that have been pulled."""
        self.sandboxes: dict[str, Sandbox] = {}
        """By the pod's uid."""
        self.service_proxies: set[str] = set()
        """Who has programmed Services into the kernel; the rules stay when the program goes."""
        self.flushed_addresses: set[str] = set()
        """Pod addresses whose routes and rules somebody has removed from the host."""
        self._plugins: dict[str, CniPlugin] = {}

    def plugin(self, kind: str) -> CniPlugin:
        """The CNI of that type on this node; raises `CniError` if there is no such CNI."""
        if kind not in self._plugins:
            self._plugins[kind] = make_plugin(kind, self)
        return self._plugins[kind]

    def plugins(self) -> list[CniPlugin]:
        """The CNIs that have been in use on this node."""
        return list(self._plugins.values())

    def host_sandboxes(self) -> Iterable[Sandbox]:
        return (sandbox for sandbox in self.sandboxes.values() if sandbox.host_network)


class Machines:
    """All machines of the cluster, and who holds which address."""

    def __init__(self) -> None:
        self._by_name: dict[str, Machine] = {}
        self._by_address: dict[str, Machine] = {}
        self._sandboxes: dict[str, Sandbox] = {}
        self._by_pod: dict[str, Sandbox] = {}

    def add(self, machine: Machine) -> None:
        self._by_name[machine.name] = machine
        self._by_address[machine.address] = machine

    def remove(self, machine: Machine) -> None:
        self._by_name.pop(machine.name, None)
        if self._by_address.get(machine.address) is machine:
            del self._by_address[machine.address]
        for sandbox in list(machine.sandboxes.values()):
            self.detach(sandbox)

    def all(self) -> list[Machine]:
        return list(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Machine | None:
        """By the node's name."""
        return self._by_name.get(name)

    def with_instance(self, instance_id: str) -> Machine | None:
        return next((m for m in self._by_name.values() if m.instance.instance_id == instance_id), None)

    def with_address(self, address: str) -> Machine | None:
        """The machine whose own (primary) address this is."""
        return self._by_address.get(address)

    def attach(self, sandbox: Sandbox) -> None:
        """From now on the sandbox is found: by its pod and, unless in the host's network, by its address."""
        sandbox.machine.sandboxes[sandbox.pod["metadata"]["uid"]] = sandbox
        self._by_pod[key_of(sandbox.pod)] = sandbox
        if sandbox.plugin is not None:
            self._sandboxes[sandbox.address] = sandbox

    def detach(self, sandbox: Sandbox) -> None:
        sandbox.machine.sandboxes.pop(sandbox.pod["metadata"]["uid"], None)
        if self._by_pod.get(key_of(sandbox.pod)) is sandbox:
            del self._by_pod[key_of(sandbox.pod)]
        if self._sandboxes.get(sandbox.address) is sandbox:
            del self._sandboxes[sandbox.address]

    def sandbox_at(self, address: str) -> Sandbox | None:
        """The pod (not in the host's network) that holds the address."""
        return self._sandboxes.get(address)

    def sandbox_of(self, pod: Object) -> Sandbox | None:
        """The sandbox of exactly this pod (its uid counts)."""
        sandbox = self._by_pod.get(key_of(pod))
        if sandbox is None or sandbox.pod["metadata"]["uid"] != pod["metadata"]["uid"]:
            return None
        return sandbox
