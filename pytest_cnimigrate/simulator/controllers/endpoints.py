"""Endpoints and EndpointSlices: the addresses behind each Service that has a selector."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar

from pytest_cnimigrate.model.objects import (
    Object,
    is_pod_ready,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    timestamp,
    uid_of,
)
from pytest_cnimigrate.model.resources import ENDPOINT_SLICES, ENDPOINTS, NODES, SERVICES
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.controllers.base import Context, Controller
from pytest_cnimigrate.simulator.controllers.pods import (
    BY_NAMESPACE,
    is_terminal,
    node_name,
    pod_informer,
    select,
)

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
HEADLESS = "service.kubernetes.io/headless"
MANAGED_BY_CONTROLLER = "endpoints.kubernetes.io/managed-by"
BY_SERVICE = "service"
MAX_ENDPOINTS = 100
"""Endpoints a slice, kube's `--max-endpoints-per-slice`."""

Ports = tuple[tuple[str, int, str, str], ...]
"""(name, number, protocol, application protocol) of each port, as resolved for a pod."""


class EndpointController(Controller):
    component: ClassVar[str] = "endpoint-slice-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._services = self.informer(SERVICES)
        self._slices = self.informer(ENDPOINT_SLICES)
        self._endpoints = self.informer(ENDPOINTS)
        self._nodes = self.informer(NODES)
        self._pods = pod_informer(self.informers)
        self._sizes: dict[str, int] = {}
        """Service -> how many endpoints it had when last looked at."""

    def watch(self) -> None:
        self._services.add_index(BY_NAMESPACE, lambda service: (namespace_of(service),))
        self._slices.add_index(BY_SERVICE, _service_of)
        self.enqueue_changes_of(self._services)
        self._slices.add_handler(self._slice_changed)
        self._pods.add_handler(self._pod_changed)

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        """Somebody else's hand on our slices is undone."""
        for each in (old, new):
            for key in _service_of(each) if each is not None else ():
                self.enqueue_batched(key, self._sizes.get(key, 0))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _visible(old) == _visible(new):
            return
        pod = new or old or {}
        labels = [labels_of(each) for each in (old, new) if each is not None]
        for service in self._services.indexed(BY_NAMESPACE, namespace_of(pod)):
            selector = service["spec"].get("selector")
            if selector and any(selector.items() <= each.items() for each in labels):
                self.enqueue_batched(key_of(service), self._sizes.get(key_of(service), 0))

    async def sync(self, key: str) -> None:
        service = self._services.by_key(key)
        namespace, _, name = key.partition("/")
        if service is None:
            self._sizes.pop(key, None)
            # Slices go with their owner; Endpoints have none, and go by hand.
            endpoints = self._endpoints.get(name, namespace)
            if endpoints is not None and MANAGED_BY_CONTROLLER in (endpoints["metadata"].get("labels") or {}):
                await self._ignoring_absence(ENDPOINTS, endpoints)
            return
        selector = service["spec"].get("selector")
        if not selector or is_terminating(service) or service["spec"]["type"] == "ExternalName":
            return
        pods = [
            pod
            for pod in select(self._pods, namespace, {"matchLabels": selector})
            if (pod.get("status") or {}).get("podIP") and not is_terminal(pod)
        ]
        pods.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], name_of(pod)))
        self._sizes[key] = len(pods)
        by_ports: defaultdict[Ports, list[Object]] = defaultdict(list)
        for pod in pods:
            by_ports[_resolve_ports(service, pod)].append(pod)
        await self._write_slices(service, by_ports)
        await self._write_endpoints(service, by_ports)

    async def _write_slices(self, service: Object, by_ports: dict[Ports, list[Object]]) -> None:
        existing = [each for each in self._slices.indexed(BY_SERVICE, key_of(service)) if _is_ours(each)]
        groups = dict(by_ports) or {(): []}
        mine = {ports: [each for each in existing if _ports_of(each) == ports] for ports in groups}
        obsolete = sorted((each for each in existing if _ports_of(each) not in groups), key=name_of)
        for ports, pods in groups.items():
            # Like kube, rather use a slice again than make one and delete another: the recorded one, made
            # empty with its Service, went through 63 generations.
            if not mine[ports] and obsolete:
                mine[ports].append(obsolete.pop(0))
            await self._fill(service, ports, [self._endpoint(service, pod) for pod in pods], mine[ports])
        for each in obsolete:
            await self._ignoring_absence(ENDPOINT_SLICES, each)

    async def _fill(self, service: Object, ports: Ports, wanted: list[Object], mine: list[Object]) -> None:
        """Put the endpoints into slices, each where it is already if it can stay."""
        left = {endpoint["targetRef"]["uid"]: endpoint for endpoint in wanted}
        mine = sorted(mine, key=name_of)
        plans = []
        for each in mine:
            uids = [e["targetRef"]["uid"] for e in each.get("endpoints") or () if "targetRef" in e]
            plans.append([left.pop(uid) for uid in uids if uid in left])
        for endpoint in left.values():
            roomy = next((plan for plan in plans if len(plan) < MAX_ENDPOINTS), None)
            if roomy is None:
                roomy = []
                plans.append(roomy)
            roomy.append(endpoint)
        for index, plan in enumerate(plans or [[]]):
            body = _slice(service, ports, plan)
            if index < len(mine):
                if not plan and index > 0:
                    await self._ignoring_absence(ENDPOINT_SLICES, mine[index])
                else:
                    await self._update_slice(mine[index], body)
            else:
                await self._create_slice(body)

    async def _create_slice(self, body: Object) -> None:
        created = await self.api.create(ENDPOINT_SLICES, body, namespace_of(body))
        await self._slices.wait_until(lambda: self._slices.has_seen(created))

    async def _update_slice(self, old: Object, body: Object) -> None:
        same = (old.get("endpoints") or []) == body["endpoints"] and old.get("ports") == body["ports"]
        if same and labels_of(old) == body["metadata"]["labels"]:
            return
        metadata = {**old["metadata"], "labels": body["metadata"]["labels"]}
        written = await self.api.update(ENDPOINT_SLICES, {**body, "metadata": metadata})
        await self._slices.wait_until(lambda: self._slices.has_seen(written))

    def _endpoint(self, service: Object, pod: Object) -> Object:
        serving, terminating = is_pod_ready(pod), is_terminating(pod)
        publish = bool(service["spec"].get("publishNotReadyAddresses"))
        endpoint: Object = {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {
                "ready": publish or (serving and not terminating),
                "serving": serving,
                "terminating": terminating,
            },
            "targetRef": _target(pod),
        }
        hostname = _hostname(service, pod)
        if hostname:
            endpoint["hostname"] = hostname
        node = self._nodes.get(node_name(pod))
        if node_name(pod):
            endpoint["nodeName"] = node_name(pod)
        zone = labels_of(node).get("topology.kubernetes.io/zone") if node is not None else None
        if zone:
            endpoint["zone"] = zone
        return endpoint

    async def _write_endpoints(self, service: Object, by_ports: dict[Ports, list[Object]]) -> None:
        publish = bool(service["spec"].get("publishNotReadyAddresses"))
        subsets = []
        for ports, pods in by_ports.items():
            addresses: defaultdict[str, list[Object]] = defaultdict(list)
            for pod in sorted(pods, key=lambda pod: pod["status"]["podIP"]):
                if is_terminating(pod) and not publish:
                    continue
                address: Object = {"ip": pod["status"]["podIP"], "targetRef": _target(pod)}
                if node_name(pod):
                    address["nodeName"] = node_name(pod)
                hostname = _hostname(service, pod)
                if hostname:
                    address["hostname"] = hostname
                ready = publish or is_pod_ready(pod)
                addresses["addresses" if ready else "notReadyAddresses"].append(address)
            if addresses:
                listed = [_port(port) for port in ports]
                subsets.append({**addresses, **({"ports": listed} if listed else {})})
        labels = {**labels_of(service), MANAGED_BY_CONTROLLER: "endpoint-controller"}
        if service["spec"].get("clusterIP") == "None":
            labels[HEADLESS] = ""
        old = self._endpoints.get(name_of(service), namespace_of(service))
        if old is not None and (old.get("subsets") or []) == subsets and labels_of(old) == labels:
            return
        body: Object = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": name_of(service),
                "namespace": namespace_of(service),
                "labels": labels,
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": timestamp()},
            },
            "subsets": subsets,
        }
        if old is None:
            written = await self.api.create(ENDPOINTS, body, namespace_of(service))
        else:
            body["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            written = await self.api.update(ENDPOINTS, body)
        await self._endpoints.wait_until(lambda: self._endpoints.has_seen(written))

    async def _ignoring_absence(self, resource: Any, obj: Object) -> None:
        try:
            await self.api.delete(resource, name_of(obj), namespace_of(obj), uid=uid_of(obj))
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise


def _service_of(endpoint_slice: Object) -> tuple[str, ...]:
    service = labels_of(endpoint_slice).get(SERVICE_NAME)
    return (f"{namespace_of(endpoint_slice)}/{service}",) if service else ()


def _is_ours(endpoint_slice: Object) -> bool:
    return labels_of(endpoint_slice).get(MANAGED_BY) == MANAGER and not is_terminating(endpoint_slice)


def _visible(pod: Object) -> tuple[object, ...]:
    """What of a pod shows in its endpoints."""
    address = (pod.get("status") or {}).get("podIP")
    return address, is_pod_ready(pod), is_terminating(pod), is_terminal(pod), labels_of(pod), node_name(pod)


def _resolve_ports(service: Object, pod: Object) -> Ports:
    """The Service's ports with their target on this pod; a named target that the pod lacks is left out."""
    result = []
    for port in service["spec"].get("ports") or ():
        target = port.get("targetPort", port["port"])
        protocol = port.get("protocol", "TCP")
        if isinstance(target, str):
            numbers = [
                each["containerPort"]
                for container in pod["spec"].get("containers") or ()
                for each in container.get("ports") or ()
                if each.get("name") == target and each.get("protocol", "TCP") == protocol
            ]
            if not numbers:
                continue
            target = numbers[0]
        result.append((port.get("name") or "", target, protocol, port.get("appProtocol") or ""))
    return tuple(result)


def _port(port: tuple[str, int, str, str]) -> Object:
    name, number, protocol, application = port
    entry: Object = {"name": name} if name else {}
    entry |= {"port": number, "protocol": protocol}
    return entry | ({"appProtocol": application} if application else {})


def _slice(service: Object, ports: Ports, endpoints: list[Object]) -> Object:
    labels = {**labels_of(service), MANAGED_BY: MANAGER, SERVICE_NAME: name_of(service)}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": families[0],
        "endpoints": endpoints,
        "ports": [{"name": "", **_port(port)} for port in ports],
    }


def _ports_of(endpoint_slice: Object) -> Ports:
    return tuple(
        (port.get("name") or "", port["port"], port.get("protocol", "TCP"), port.get("appProtocol") or "")
        for port in endpoint_slice.get("ports") or ()
    )


def _target(pod: Object) -> Object:
    return {"kind": "Pod", "name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)}


def _hostname(service: Object, pod: Object) -> str:
    """The name that DNS gives to a pod of a headless Service (StatefulSets)."""
    hostname: str = pod["spec"].get("hostname") or ""
    return hostname if pod["spec"].get("subdomain") == name_of(service) else ""
