"""Services: from a cluster IP to an endpoint, and from a name to a cluster IP."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

from pytest_cnimigrate.model.objects import Object, labels_of, namespace_of
from pytest_cnimigrate.model.resources import ENDPOINT_SLICES, PODS, SERVICES
from pytest_cnimigrate.simulator.client.informer import Informers

CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class Backend:
    address: str
    port: int


class ServiceRouting:
    """What kube-proxy and CoreDNS know of the cluster's Services."""

    def __init__(self, informers: Informers, rng: random.Random) -> None:
        self._random = rng
        self._pods = informers.of(PODS)
        self._services = informers.of(SERVICES)
        self._services.add_index(
            "clusterIP", lambda service: service["spec"].get("clusterIPs") or _ips(service)
        )
        self._slices = informers.of(ENDPOINT_SLICES)
        self._slices.add_index("service", _service_of)

    def service_at(self, address: str) -> Object | None:
        """The Service whose cluster IP this is."""
        found = self._services.indexed("clusterIP", address)
        return found[0] if found else None

    def service(self, name: str, namespace: str) -> Object | None:
        return self._services.get(name, namespace)

    def backend(self, service: Object, port: int, protocol: str) -> Backend | str:
        """An endpoint for a connection to the Service's port, or why there is none."""
        name = f"{namespace_of(service)}/{service['metadata']['name']}"
        wanted = next(
            (
                entry
                for entry in service["spec"].get("ports") or ()
                if entry["port"] == port and entry.get("protocol", "TCP").lower() == protocol
            ),
            None,
        )
        if wanted is None:
            return f"Service {name} has no port {port}/{protocol}"
        backends = self._endpoints(name, wanted.get("name", ""), "ready")
        # As kube-proxy: terminating endpoints that still serve are better than none.
        backends = backends or self._endpoints(name, wanted.get("name", ""), "serving")
        if not backends:
            return f"Service {name} has no ready endpoint"
        return self._random.choice(backends)

    def addresses(self, service: Object) -> list[str]:
        """What DNS answers: the cluster IP, or the ready endpoints of a headless Service."""
        cluster_ip = service["spec"].get("clusterIP", "")
        if cluster_ip and cluster_ip != "None":
            return [cluster_ip]
        name = f"{namespace_of(service)}/{service['metadata']['name']}"
        return sorted(
            {
                address
                for piece in self._slices.indexed("service", name)
                for endpoint in piece.get("endpoints") or ()
                if (endpoint.get("conditions") or {}).get("ready", True)
                for address in endpoint["addresses"]
            }
        )

    def lookup(self, name: str, namespace: str) -> str | None:
        """The address of a name as CoreDNS answers a pod of that namespace (search domains included).

        Names outside the cluster exist, except those below `.invalid` (RFC 2606) and those without a dot.
        """
        for suffix in (
            f".{namespace}.svc.{CLUSTER_DOMAIN}",
            f".svc.{CLUSTER_DOMAIN}",
            f".{CLUSTER_DOMAIN}",
            "",
        ):
            full = name.rstrip(".") + ("" if name.endswith(".") else suffix)
            if full.endswith(f".svc.{CLUSTER_DOMAIN}"):
                found = self._cluster_name(full.removesuffix(f".svc.{CLUSTER_DOMAIN}").split("."))
                if found is not None:
                    return found
        plain = name.rstrip(".")
        if "." not in plain or plain.endswith((".invalid", f".{CLUSTER_DOMAIN}")):
            return None
        # An address that belongs to nobody (RFC 5737), the same for the same name.
        return f"203.0.113.{zlib.crc32(plain.encode()) % 254 + 1}"

    def _cluster_name(self, labels: list[str]) -> str | None:
        if len(labels) == 2:
            service = self.service(labels[0], labels[1])
            addresses = self.addresses(service) if service is not None else []
            return addresses[0] if addresses else None
        if len(labels) == 3 and self.service(labels[1], labels[2]) is not None:
            pod = self._pods.get(labels[0], labels[2])
            if pod is not None and pod["spec"].get("subdomain") == labels[1]:
                address: str | None = pod["status"].get("podIP")
                return address
        return None

    def _endpoints(self, service: str, port_name: str, wanted: str) -> list[Backend]:
        backends = []
        for piece in self._slices.indexed("service", service):
            port = next(
                (p["port"] for p in piece.get("ports") or () if (p.get("name") or "") == port_name), None
            )
            if port is None:
                continue
            backends += [
                Backend(endpoint["addresses"][0], port)
                for endpoint in piece.get("endpoints") or ()
                if (endpoint.get("conditions") or {}).get(wanted, wanted == "ready")
            ]
        return backends


def _ips(service: Object) -> tuple[str, ...]:
    address = service["spec"].get("clusterIP")
    return (address,) if address and address != "None" else ()


def _service_of(piece: Object) -> tuple[str, ...]:
    name = labels_of(piece).get("kubernetes.io/service-name")
    return (f"{namespace_of(piece)}/{name}",) if name else ()
