"""NetworkPolicies as a CNI enforces them, for one pod and one direction.

A CNI knows the labels of the pods that it manages itself. A peer that another CNI attached has no identity
for it: no podSelector matches it, only an ipBlock (failure mode 40: during a migration Cilium drops what
pods on old nodes send to pods with a policy).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_cnimigrate.model.objects import Object, labels_of, name_of, namespace_of
from pytest_cnimigrate.model.resources import NAMESPACES, NETWORK_POLICIES
from pytest_cnimigrate.model.selectors import matches_label_selector
from pytest_cnimigrate.simulator.client.informer import Informers
from pytest_cnimigrate.simulator.network.addresses import in_network
from pytest_cnimigrate.simulator.nodes.machine import Sandbox


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection, as the enforcing CNI sees it."""

    address: str
    pod: Object | None
    """None when the CNI does not know the peer as a pod of its own."""


class Policies:
    """Judges connections by the NetworkPolicies in the cluster."""

    def __init__(self, informers: Informers) -> None:
        self._policies = informers.of(NETWORK_POLICIES)
        self._policies.add_index("namespace", lambda policy: (namespace_of(policy),))
        self._namespaces = informers.of(NAMESPACES)

    def forbids_ingress(self, target: Sandbox, source: Peer, port: int, protocol: str) -> str:
        """The reason why the target's policies do not let the connection in; "" if they do."""
        return self._forbids("Ingress", target, source, port, protocol, server=target)

    def forbids_egress(
        self, source: Sandbox, target: Peer, port: int, protocol: str, *, server: Sandbox | None
    ) -> str:
        """The reason why the source's policies do not let the connection out; "" if they do."""
        return self._forbids("Egress", source, target, port, protocol, server=server)

    def _forbids(
        self,
        direction: str,
        sandbox: Sandbox,
        peer: Peer,
        port: int,
        protocol: str,
        *,
        server: Sandbox | None,
    ) -> str:
        if sandbox.plugin is None or not sandbox.plugin.enforces_policies:
            return ""
        namespace = namespace_of(sandbox.pod)
        candidates = self._policies.indexed("namespace", namespace)
        if not candidates:
            return ""
        selecting = [
            policy
            for policy in candidates
            if direction in _types(policy)
            and matches_label_selector(policy["spec"].get("podSelector") or {}, labels_of(sandbox.pod))
        ]
        rules, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
        for policy in selecting:
            for rule in policy["spec"].get(rules) or ():
                if _allows_port(rule.get("ports"), port, protocol, server) and self._allows_peer(
                    rule.get(peers), peer, namespace
                ):
                    return ""
        if not selecting:
            return ""
        names = ", ".join(sorted(name_of(policy) for policy in selecting))
        who = (
            f"pod {namespace_of(peer.pod)}/{name_of(peer.pod)}"
            if peer.pod
            else f"{peer.address} (no identity)"
        )
        verb = "from" if direction == "Ingress" else "to"
        return f"NetworkPolicy {namespace}/{names}: {direction.lower()} {verb} {who} is not allowed"

    def _allows_peer(self, peers: list[Object] | None, peer: Peer, namespace: str) -> bool:
        if not peers:
            return True
        return any(self._matches(entry, peer, namespace) for entry in peers)

    def _matches(self, entry: Object, peer: Peer, namespace: str) -> bool:
        if "ipBlock" in entry:
            # For Cilium a CIDR never stands for a pod that has an identity.
            return peer.pod is None and _in_block(peer.address, entry["ipBlock"])
        if peer.pod is None:
            return False
        if "namespaceSelector" in entry:
            found = self._namespaces.get(namespace_of(peer.pod))
            if found is None or not matches_label_selector(
                entry["namespaceSelector"] or {}, labels_of(found)
            ):
                return False
        elif namespace_of(peer.pod) != namespace:
            return False
        return "podSelector" not in entry or matches_label_selector(
            entry["podSelector"] or {}, labels_of(peer.pod)
        )


def _types(policy: Object) -> Iterable[str]:
    declared: list[str] | None = policy["spec"].get("policyTypes")
    if declared is not None:
        return declared
    return ("Ingress", "Egress") if policy["spec"].get("egress") else ("Ingress",)


def _allows_port(ports: list[Object] | None, port: int, protocol: str, server: Sandbox | None) -> bool:
    if not ports:
        return True
    for entry in ports:
        if entry.get("protocol", "TCP").lower() != protocol:
            continue
        wanted: str | int | None = entry.get("port")
        if wanted is None:
            return True
        if isinstance(wanted, str):
            if server is not None and wanted in _port_names(server, port, protocol):
                return True
        elif wanted <= port <= int(entry.get("endPort", wanted)):
            return True
    return False


def _port_names(server: Sandbox, port: int, protocol: str) -> set[str]:
    return {
        entry["name"]
        for container in server.pod["spec"]["containers"]
        for entry in container.get("ports") or ()
        if entry["containerPort"] == port
        and entry.get("protocol", "TCP").lower() == protocol
        and "name" in entry
    }


def _in_block(address: str, block: Object) -> bool:
    return in_network(address, block["cidr"]) and not any(
        in_network(address, net) for net in block.get("except") or ()
    )
