"""What the scheduler knows of each node: what its pods ask for and the ports they hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from pytest_cnimigrate.model.objects import Object, controller_of, labels_of, name_of, uid_of
from pytest_cnimigrate.model.quantities import milli
from pytest_cnimigrate.simulator.controllers.pods import is_terminal, node_name

ZONE = "topology.kubernetes.io/zone"

HostPort = tuple[str, str, int]
"""(protocol, host address, port)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one pod takes of its node."""

    requests: dict[str, int]
    """Resource to thousandths."""
    ports: tuple[HostPort, ...]


def claim_of(pod: Object) -> Claim:
    """A pod's requests (its containers' sum, or its largest init container) and host ports."""
    spec = pod["spec"]
    total: Counter[str] = Counter()
    ports: list[HostPort] = []
    for container in spec.get("containers") or ():
        total.update(_requests(container))
        ports += _host_ports(container)
    peak: dict[str, int] = {}
    sidecars: Counter[str] = Counter()
    for container in spec.get("initContainers") or ():
        requests = _requests(container)
        if container.get("restartPolicy") == "Always":  # a sidecar stays
            sidecars.update(requests)
            ports += _host_ports(container)
            requests = {}
        for resource in {*requests, *sidecars}:
            peak[resource] = max(peak.get(resource, 0), requests.get(resource, 0) + sidecars[resource])
    total.update(sidecars)
    for resource, amount in peak.items():
        total[resource] = max(total[resource], amount)
    for resource, quantity in (spec.get("overhead") or {}).items():
        total[resource] += milli(quantity)
    return Claim({resource: amount for resource, amount in total.items() if amount}, tuple(ports))


def _requests(container: Object) -> dict[str, int]:
    requests = (container.get("resources") or {}).get("requests") or {}
    return {resource: milli(quantity) for resource, quantity in requests.items()}


def _host_ports(container: Object) -> list[HostPort]:
    return [
        (port.get("protocol") or "TCP", port.get("hostIP") or "0.0.0.0", port["hostPort"])  # noqa: S104 - Kubernetes' "any address"
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


@dataclass(slots=True)
class NodeInfo:
    """A node with the sum of what is on it."""

    node: Object
    allocatable: dict[str, int]
    labels: dict[str, str]
    requested: Counter[str] = field(default_factory=Counter)
    ports: Counter[HostPort] = field(default_factory=Counter)
    pods: int = 0

    @property
    def name(self) -> str:
        return name_of(self.node)

    def has_port_conflict(self, ports: tuple[HostPort, ...]) -> bool:
        """Whether another pod holds one of the ports, on the same address or on any."""
        any_address = "0.0.0.0"  # noqa: S104 - Kubernetes' "any address"
        for protocol, address, number in ports:
            for held_protocol, held_address, held_number in self.ports:
                same = (held_protocol, held_number) == (protocol, number)
                if same and any_address in (address, held_address):
                    return True
                if same and address == held_address:
                    return True
        return False


class NodeCache:
    """All nodes, kept up to date by the informers' handlers and by pods that are as good as bound."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeInfo] = {}
        self._placed: dict[str, tuple[str, Claim]] = {}
        """uid of a pod -> its node and claim; also for nodes that are not known (yet)."""
        self._on_node: dict[str, set[str]] = {}
        self._siblings: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """uid of an owner -> how many of its pods are on each node (by name) and in each zone (`zone/…`)."""
        self._spread: dict[str, tuple[str, tuple[str, ...]]] = {}
        """uid of a pod -> its owner, and where it counts in `_siblings`."""

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, name: str) -> NodeInfo | None:
        return self._nodes.get(name)

    def names(self) -> list[str]:
        return list(self._nodes)

    def all(self) -> list[NodeInfo]:
        return list(self._nodes.values())

    def node_changed(self, old: Object | None, new: Object | None) -> None:
        """An informer's handler for nodes."""
        if new is None:
            self._nodes.pop(name_of(old or {}), None)
            return
        name = name_of(new)
        status = new.get("status") or {}
        if old is not None and name in self._nodes:
            info = self._nodes[name]
            info.node = new
            if (old.get("status") or {}).get("allocatable") != status.get("allocatable"):
                info.allocatable = _allocatable(new)
            info.labels = dict(labels_of(new))
            return
        info = NodeInfo(new, _allocatable(new), dict(labels_of(new)))
        self._nodes[name] = info
        for uid in self._on_node.get(name, ()):
            _add(info, self._placed[uid][1], 1)

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        """An informer's handler for pods."""
        pod = new or old or {}
        target = node_name(pod)
        if new is None or is_terminal(new):
            self.forget(uid_of(pod))
        elif target:
            self.place(pod, target)

    def place(self, pod: Object, name: str) -> None:
        """Count the pod as being on the node, whether it is bound yet or about to be."""
        uid = uid_of(pod)
        known = self._placed.get(uid)
        if known is not None and known[0] == name:
            return
        self.forget(uid)
        claim = claim_of(pod)
        self._placed[uid] = (name, claim)
        self._on_node.setdefault(name, set()).add(uid)
        if name in self._nodes:
            _add(self._nodes[name], claim, 1)
        owner = controller_of(pod)
        if owner is not None and owner["kind"] != "DaemonSet":
            zone = self._nodes[name].labels.get(ZONE, "") if name in self._nodes else ""
            where = (name, f"zone/{zone}") if zone else (name,)
            self._spread[uid] = (owner["uid"], where)
            self._siblings[owner["uid"]].update(where)

    def forget(self, uid: str) -> None:
        """The pod takes nothing any more."""
        known = self._placed.pop(uid, None)
        if known is None:
            return
        name, claim = known
        self._on_node[name].discard(uid)
        if not self._on_node[name]:
            del self._on_node[name]
        if name in self._nodes:
            _add(self._nodes[name], claim, -1)
        owner, where = self._spread.pop(uid, ("", ()))
        for place in where:
            siblings = self._siblings[owner]
            siblings[place] -= 1
            if not siblings[place]:
                del siblings[place]
            if not siblings:
                del self._siblings[owner]

    def siblings(self, owner_uid: str, info: NodeInfo) -> tuple[int, int]:
        """How many pods of the owner are on the node and in its zone; those of DaemonSets are not counted."""
        counts = self._siblings.get(owner_uid)
        if counts is None:
            return 0, 0
        zone = info.labels.get(ZONE)
        return counts[info.name], counts[f"zone/{zone}"] if zone else 0

    def node_of(self, pod: Object) -> str:
        """Where the pod is, or is about to be; "" if nowhere."""
        known = self._placed.get(uid_of(pod))
        return known[0] if known else ""


def _allocatable(node: Object) -> dict[str, int]:
    return {k: milli(v) for k, v in ((node.get("status") or {}).get("allocatable") or {}).items()}


def _add(info: NodeInfo, claim: Claim, sign: int) -> None:
    info.pods += sign
    for resource, amount in claim.requests.items():
        info.requested[resource] += sign * amount
    for port in claim.ports:
        info.ports[port] += sign
        if not info.ports[port]:
            del info.ports[port]
