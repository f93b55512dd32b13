"""Who reaches whom: every connection is judged by itself, in one direction, with a reason in words."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass

from pytest_cnimigrate.model.objects import Object, key_of, namespace_of
from pytest_cnimigrate.simulator.client.informer import Informers
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import Vpc
from pytest_cnimigrate.simulator.faults import Faults
from pytest_cnimigrate.simulator.network import faults as network_faults
from pytest_cnimigrate.simulator.network.addresses import in_network, is_address, is_outside
from pytest_cnimigrate.simulator.network.policies import Peer, Policies
from pytest_cnimigrate.simulator.network.service_routing import ServiceRouting
from pytest_cnimigrate.simulator.network.verdict import Verdict, dropped, refused
from pytest_cnimigrate.simulator.nodes.faults import is_new_node
from pytest_cnimigrate.simulator.nodes.machine import Machine, Machines, Sandbox

CONTROL_PLANE = "control-plane"
"""The source that stands for the API server, whose interfaces are in the cluster's subnets."""

KUBELET_PORT = 10250
DNS_PORT = 53
FLAP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Place:
    """One end of a connection."""

    address: str
    machine: Machine | None
    """None for the control plane."""
    sandbox: Sandbox | None = None
    """None for a host, also when a pod in the host's network is meant."""

    def __str__(self) -> str:
        if self.sandbox is not None:
            return f"pod {key_of(self.sandbox.pod)} ({self.address})"
        return f"node {self.machine.name}" if self.machine is not None else "the control plane"


class DataPlane:
    """Decides connections from what the nodes, their CNIs, the cloud and the policies are at the moment."""

    def __init__(
        self, machines: Machines, informers: Informers, *, vpc: Vpc, pace: Pace, faults: Faults
    ) -> None:
        self._machines = machines
        self._vpc = vpc
        self._pace = pace
        self._faults = faults
        self._policies = Policies(informers)
        self._services = ServiceRouting(informers, pace.random)

    def connect(
        self, source: Sandbox | Object | str, address: str, port: int, protocol: str = "tcp"
    ) -> Verdict:
        """Whether a connection from a pod, a node (by name) or `CONTROL_PLANE` to `address:port` succeeds."""
        place = self._place(source)
        if isinstance(place, Verdict):
            return place
        service = self._services.service_at(address)
        if service is not None:
            return self._to_service(place, service, port, protocol)
        return self._to_address(place, address, port, protocol)

    def resolve(self, source: Sandbox | Object | str, name: str) -> Verdict:
        """Whether the name can be looked up from there; the verdict's `address` is the answer."""
        if is_address(name):
            return Verdict(True, "", address=name)
        place = self._place(source)
        if isinstance(place, Verdict):
            return place
        namespace, via_cluster = "default", False
        if place.sandbox is not None:
            namespace = namespace_of(place.sandbox.pod)
            via_cluster = (
                place.sandbox.pod["spec"].get("dnsPolicy", "ClusterFirst").startswith("ClusterFirst")
            )
        elif not isinstance(source, str):
            pod = source.pod if isinstance(source, Sandbox) else source
            namespace = namespace_of(pod)
            via_cluster = pod["spec"].get("dnsPolicy") == "ClusterFirstWithHostNet"
        if not via_cluster:
            return self._answer(self._services.lookup(name + ".", namespace), name, "the VPC's resolver", 1.0)
        dns = self._services.service("kube-dns", "kube-system")
        if dns is None:
            return dropped(f"lookup {name}: there is no Service kube-system/kube-dns")
        server = dns["spec"].get("clusterIP", "")
        if self._faults.active(network_faults.DNS_BROKEN_ON_NEW_NODES) and _is_new(place):
            return dropped(f"lookup {name} on {server}:53: fault {network_faults.DNS_BROKEN_ON_NEW_NODES}")
        query = self._to_service(place, dns, DNS_PORT, "udp")
        if not query.ok:
            return dropped(f"lookup {name} on {server}:53: {query.reason}")
        return self._answer(self._services.lookup(name, namespace), name, f"{server}:53", query.latency_ms)

    @staticmethod
    def _answer(address: str | None, name: str, server: str, latency_ms: float) -> Verdict:
        if address is None:
            return refused(f"lookup {name} on {server}: no such host")
        return Verdict(True, "", latency_ms, address=address)

    def _place(self, source: Sandbox | Object | str) -> _Place | Verdict:
        if isinstance(source, str):
            if source == CONTROL_PLANE:
                return _Place("", None)
            machine = self._machines.get(source)
            if machine is None or not machine.powered:
                return dropped(f"node {source} is down")
            return _Place(machine.address, machine)
        sandbox = source if isinstance(source, Sandbox) else self._machines.sandbox_of(source)
        if sandbox is None:
            assert isinstance(source, dict)  # noqa: S101 - a Sandbox is never None
            return dropped(f"pod {key_of(source)} has no sandbox")
        return self._place_of(sandbox)

    @staticmethod
    def _place_of(sandbox: Sandbox) -> _Place:
        return _Place(sandbox.address, sandbox.machine, None if sandbox.host_network else sandbox)

    def _to_service(self, source: _Place, service: Object, port: int, protocol: str) -> Verdict:
        name = key_of(service)
        if source.machine is not None and not source.machine.service_proxies:
            return dropped(f"Service {name}: nothing has programmed Services on {source.machine.name}")
        if name == "default/kubernetes":
            return Verdict(True, "", self._latency(1.0), address=service["spec"]["clusterIP"], port=port)
        backend = self._services.backend(service, port, protocol)
        if isinstance(backend, str):
            # kube-proxy rejects connections to a Service without endpoints.
            return refused(backend, service["spec"]["clusterIP"])
        return self._to_address(source, backend.address, backend.port, protocol)

    def _to_address(self, source: _Place, address: str, port: int, protocol: str) -> Verdict:
        sandbox = self._machines.sandbox_at(address)
        machine = sandbox.machine if sandbox is not None else self._machines.with_address(address)
        if machine is None:
            if is_outside(address):
                return self._to_internet(source, address, port, protocol)
            return dropped(f"nobody holds {address}", address)
        target = _Place(address, machine, sandbox)
        obstacle = self._obstacle(source, target, port, protocol)
        if obstacle:
            return dropped(obstacle, address)
        server = _server(target, port, protocol)
        pod = server.pod if server is not None else None
        if server is None and not (target.sandbox is None and port == KUBELET_PORT):
            return refused(f"{target} does not listen on port {port}/{protocol}", address)
        latency = self._latency(_distance(source, target))
        return Verdict(True, "", latency, pod, address=address, port=port, target=server)

    def _obstacle(self, source: _Place, target: _Place, port: int, protocol: str) -> str:
        """What keeps a packet from `source` from arriving at `target`; "" if nothing does."""
        assert target.machine is not None  # noqa: S101 - the control plane is no target
        if not target.machine.powered:
            return f"node {target.machine.name} is down"
        if target.sandbox is not None and target.sandbox is source.sandbox:
            return ""
        for place in (source, target):
            if place.machine is not None and place.address in place.machine.flushed_addresses:
                return f"the routes and rules of {place.address} on {place.machine.name} have been flushed"
        return (
            self._fault_between(source, target)
            or self._not_carried(source, target, port, protocol)
            or self._forbidden(source, target, port, protocol)
        )

    def _not_carried(self, source: _Place, target: _Place, port: int, protocol: str) -> str:
        if source.machine is target.machine:
            return ""
        if not self._in_vpc(target.address):
            return self._no_overlay(source, target, port)
        if source.machine is None:
            return ""  # the cluster's own security group admits the control plane
        address = self._leaving_address(source, target.address)
        if not self._in_vpc(address):
            # The reply needs a way back to an address that the cloud does not know.
            return self._no_overlay(target, source, port)
        return self._vpc.why_not(address, target.address, port, protocol)

    def _no_overlay(self, source: _Place, target: _Place, port: int) -> str:
        """Why no CNI on the source's node carries packets to an address outside the cloud's network."""
        if source.machine is None:
            return f"the control plane has no route to {target.address}, which is outside the VPC"
        for plugin in source.machine.plugins():
            route = plugin.route(target.address)
            if route is None:
                continue
            if route.via in ("", source.address):
                return ""
            protocol = "udp" if route.port else "tcp"
            return self._vpc.why_not(source.machine.address, route.via, route.port or port, protocol)
        return f"no CNI on {source.machine.name} has a route to {target.address}"

    def _forbidden(self, source: _Place, target: _Place, port: int, protocol: str) -> str:
        """What NetworkPolicies say; the node that a pod runs on may always reach it, as probes must."""
        if source.sandbox is not None:
            reason = self._policies.forbids_egress(
                source.sandbox, _peer(target, source.sandbox), port, protocol, server=target.sandbox
            )
            if reason:
                return reason
        if target.sandbox is None or (source.sandbox is None and source.machine is target.machine):
            return ""
        return self._policies.forbids_ingress(target.sandbox, _peer(source, target.sandbox), port, protocol)

    def _to_internet(self, source: _Place, address: str, port: int, protocol: str) -> Verdict:
        machine = source.machine
        if machine is None:
            return Verdict(True, "", self._latency(10.0), address=address, port=port)
        if self._faults.active(network_faults.NEW_NODES_NO_EGRESS) and _is_new(source):
            return dropped(f"fault {network_faults.NEW_NODES_NO_EGRESS}", address)
        if source.sandbox is not None:
            outside = Peer(address, None)
            reason = self._policies.forbids_egress(source.sandbox, outside, port, protocol, server=None)
            if reason:
                return dropped(reason, address)
        obstacle = self._vpc.why_not(self._leaving_address(source, address), address, port, protocol)
        if obstacle:
            return dropped(obstacle, address)
        return Verdict(True, "", self._latency(10.0), address=address, port=port)

    def _leaving_address(self, source: _Place, destination: str) -> str:
        if source.sandbox is None or source.sandbox.plugin is None:
            return source.address
        return source.sandbox.plugin.source_address(source.address, destination)

    def _fault_between(self, source: _Place, target: _Place) -> str:
        if source.machine is None or source.machine is target.machine:
            return ""
        from_new, to_new = _is_new(source), _is_new(target)
        if from_new == to_new:
            return ""
        name = (
            network_faults.CROSS_CNI_NEW_TO_OLD_BLOCKED
            if from_new
            else network_faults.CROSS_CNI_OLD_TO_NEW_BLOCKED
        )
        if self._faults.active(name):
            return f"fault {name}"
        if self._faults.active(network_faults.REACHABILITY_FLAPS):
            window = int(time.monotonic() / self._pace.wall(FLAP_SECONDS))
            if zlib.crc32(f"{source.address} {target.address} {window}".encode()) % 6 == 0:
                return f"fault {network_faults.REACHABILITY_FLAPS}"
        return ""

    def _in_vpc(self, address: str) -> bool:
        return in_network(address, self._vpc.cidr)

    def _latency(self, milliseconds: float) -> float:
        return milliseconds * self._pace.random.uniform(0.5, 1.5)


def _is_new(place: _Place) -> bool:
    return place.machine is not None and is_new_node(place.machine)


def _peer(place: _Place, enforced: Sandbox) -> Peer:
    """The other end as the CNI of the pod `enforced` knows it: as a pod only if it attached it too."""
    sandbox = place.sandbox
    known = (
        sandbox is not None
        and sandbox.plugin is not None
        and enforced.plugin is not None
        and sandbox.plugin.kind == enforced.plugin.kind
    )
    return Peer(place.address, sandbox.pod if known and sandbox is not None else None)


def _server(target: _Place, port: int, protocol: str) -> Sandbox | None:
    """The sandbox in which somebody listens on the port."""
    if target.sandbox is not None:
        return target.sandbox if target.sandbox.server(port, protocol) is not None else None
    assert target.machine is not None  # noqa: S101 - the control plane is no target
    hosts = target.machine.host_sandboxes()
    return next((sandbox for sandbox in hosts if sandbox.server(port, protocol) is not None), None)


def _distance(source: _Place, target: _Place) -> float:
    """Typical latency in milliseconds: same node, same zone, another zone."""
    if source.machine is target.machine:
        return 0.1
    if source.machine is None or target.machine is None:
        return 1.0
    same_zone = source.machine.instance.availability_zone == target.machine.instance.availability_zone
    return 0.5 if same_zone else 1.1
