"""All hollow nodes: boots instances, hands pods to their kubelets, carries proxy, exec and logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from pytest_cnimigrate.model.objects import Object, condition, key_of, uid_of
from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.simulator.client.api import Api, ApiError
from pytest_cnimigrate.simulator.client.events import EventRecorder
from pytest_cnimigrate.simulator.client.informer import Informers
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import Instance, Vpc
from pytest_cnimigrate.simulator.faults import Faults
from pytest_cnimigrate.simulator.gateway import ExecResult, GatewayError, HttpRequest, HttpResponse
from pytest_cnimigrate.simulator.network.dataplane import CONTROL_PLANE, DataPlane
from pytest_cnimigrate.simulator.network.wire import Wire, WireError
from pytest_cnimigrate.simulator.nodes.catalog import default_programs
from pytest_cnimigrate.simulator.nodes.faults import NODE_NEVER_REGISTERS
from pytest_cnimigrate.simulator.nodes.kubelet import Kubelet
from pytest_cnimigrate.simulator.nodes.machine import Machine, Machines
from pytest_cnimigrate.simulator.nodes.pod_status import Container
from pytest_cnimigrate.simulator.nodes.programs import ProgramRegistry
from pytest_cnimigrate.simulator.nodes.services import NodeServices

log = logging.getLogger("cnimigrate.simulator.fleet")

BOOT_SECONDS = 25.0
PROXY_TIMEOUT_SECONDS = 30.0
"""How long the API server tries to reach a pod before it says `i/o timeout`."""
MONITOR_SECONDS = 5.0
"""Between two looks of the cloud controller at nodes that are not Ready (`--node-monitor-period`)."""


class Fleet:
    """Implements `NodeLauncher` for the cloud and `KubeletGateway` for the API server."""

    def __init__(
        self,
        api: Api,
        informers: Informers,
        pace: Pace,
        vpc: Vpc,
        faults: Faults,
        *,
        programs: ProgramRegistry | None = None,
    ) -> None:
        self.machines = Machines()
        self.dataplane = DataPlane(self.machines, informers, vpc=vpc, pace=pace, faults=faults)
        self._api = api
        self._informers = informers
        self._pace = pace
        self._vpc = vpc
        self._faults = faults
        self._programs = programs if programs is not None else default_programs()
        self._wire = Wire(self.dataplane, pace)
        self._kubelets: dict[str, Kubelet] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._launches: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Begin to follow pods and nodes."""
        pods, nodes = self._informers.of(PODS), self._informers.of(NODES)
        pods.add_index("node", lambda pod: (pod["spec"].get("nodeName") or "",))
        pods.add_handler(self._pod_changed)
        nodes.add_handler(self._node_changed)
        await pods.wait_synced()
        await nodes.wait_synced()

    async def stop(self) -> None:
        """Switch everything off at once."""
        self._informers.of(PODS).remove_handler(self._pod_changed)
        self._informers.of(NODES).remove_handler(self._node_changed)
        for task in [*self._launches.values(), *self._tasks]:
            task.cancel()
        await asyncio.gather(*self._launches.values(), *self._tasks, return_exceptions=True)
        for kubelet in list(self._kubelets.values()):
            await kubelet.power_off()
            self.machines.remove(kubelet.machine)
        self._kubelets.clear()

    # What becomes of instances (NodeLauncher)

    async def launch(self, instance: Instance) -> None:
        """Boot the instance: after its boot time a kubelet registers the node. Returns at once."""
        task = asyncio.create_task(self._boot(instance), name=f"node {instance.private_dns_name}")
        self._launches[instance.instance_id] = task

    async def terminate(self, instance_id: str) -> None:
        """Power off at once; the Node object goes when the cloud controller misses the instance."""
        launch = self._launches.pop(instance_id, None)
        if launch is not None:
            launch.cancel()
            await asyncio.gather(launch, return_exceptions=True)
        machine = self.machines.with_instance(instance_id)
        if machine is None:
            return
        kubelet = self._kubelets.pop(machine.name, None)
        if kubelet is not None:
            await kubelet.power_off()
        self.machines.remove(machine)
        self._spawn(self._remove_node(machine.name))

    async def _boot(self, instance: Instance) -> None:
        await self._pace.sleep(BOOT_SECONDS, jitter=0.2)
        if self._faults.active(NODE_NEVER_REGISTERS):
            log.info("fault %s: %s stays silent", NODE_NEVER_REGISTERS, instance.private_dns_name)
            return
        machine = Machine(instance, vpc=self._vpc, pace=self._pace)
        services = NodeServices(
            api=self._api,
            informers=self._informers,
            pace=self._pace,
            faults=self._faults,
            wire=self._wire,
            programs=self._programs,
            machines=self.machines,
            machine=machine,
            events=EventRecorder(self._api, "kubelet", self._pace, host=machine.name),
        )
        kubelet = Kubelet(services)
        self.machines.add(machine)
        self._kubelets[machine.name] = kubelet
        for pod in self._informers.of(PODS).indexed("node", machine.name):
            kubelet.pod_changed(None, pod)
        await kubelet.run()

    async def _remove_node(self, name: str) -> None:
        """As the cloud controller: a node that is not Ready and whose instance is gone is deleted.

        It does not ask the cloud about nodes that are Ready, so that a node always turns Unknown first, for
        as long as the node lifecycle controller is patient:
        https://kubernetes.io/docs/concepts/architecture/cloud-controller/#node-controller
        """
        nodes = self._informers.of(NODES)

        def unready() -> bool:
            node = nodes.get(name)
            ready = condition(node, "Ready") if node is not None else None
            return node is None or ready is None or ready["status"] != "True"

        await nodes.wait_until(unready)
        await self._pace.sleep(MONITOR_SECONDS, jitter=0.5)
        try:
            await self._api.delete(NODES, name)
        except ApiError as error:
            if not error.is_not_found:
                log.warning("node %s cannot be removed: %s", name, error.message)

    # Following the API

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new if new is not None else old
        assert pod is not None  # noqa: S101 - an informer reports a change from or to something
        if old is not None and new is not None and uid_of(old) != uid_of(new):
            # Deleted and made again under the same name while the watch was broken.
            self._pod_changed(old, None)
            old = None
        kubelet = self._kubelets.get(pod["spec"].get("nodeName") or "")
        if kubelet is not None:
            kubelet.pod_changed(old, new)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            kubelet = self._kubelets.get(new["metadata"]["name"])
            if kubelet is not None:
                kubelet.node_changed(new)

    # What the API server needs of the nodes (KubeletGateway)

    async def request(self, pod: Object, port: int, request: HttpRequest) -> HttpResponse:
        """Send an HTTP request to the pod's port from the control plane's place in the network."""
        address = pod["status"].get("podIP")
        if not address:
            raise GatewayError(f'pod "{key_of(pod)}" has no address: address not allowed')
        try:
            return await self._wire.request(
                CONTROL_PLANE, address, port, request, timeout=PROXY_TIMEOUT_SECONDS
            )
        except WireError as error:
            text = str(error)
            if text == "context deadline exceeded":
                text = f"dial tcp {address}:{port}: i/o timeout"
            raise GatewayError(f"error trying to reach service: {text}") from None

    async def execute(self, pod: Object, container: str, command: list[str]) -> ExecResult:
        """Run a command in a container that runs."""
        found = self._container(pod, container)
        if found.program is None or not found.running:
            raise GatewayError(f'unable to upgrade connection: container not found ("{found.name}")')
        return await found.program.execute(command)

    async def logs(self, pod: Object, container: str, *, previous: bool = False) -> list[str]:
        """What the container has written, a line each, without timestamps."""
        found = self._container(pod, container)
        if previous:
            if not found.restart_count or found.previous_log is None:
                place = f'container "{found.name}" in pod "{pod["metadata"]["name"]}"'
                raise GatewayError(f"previous terminated {place} not found")
            return list(found.previous_log)
        if found.program is not None:
            return found.program.logs()
        if found.previous_log is not None:
            return list(found.previous_log)
        reason = found.state.get("waiting", {}).get("reason", "ContainerCreating")
        raise GatewayError(
            f'container "{found.name}" in pod "{pod["metadata"]["name"]}" is waiting to start: {reason}'
        )

    def _container(self, pod: Object, name: str) -> Container:
        node = pod["spec"].get("nodeName") or ""
        kubelet = self._kubelets.get(node)
        if kubelet is None:
            raise GatewayError(
                f"error dialing backend: dial tcp {pod['status'].get('hostIP', node)}:10250: i/o timeout"
            )
        worker = kubelet.workers.get(uid_of(pod))
        found = worker.containers.find(name) if worker is not None else None
        if found is None:
            raise GatewayError(f'unable to upgrade connection: container not found ("{name}")')
        return found

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
