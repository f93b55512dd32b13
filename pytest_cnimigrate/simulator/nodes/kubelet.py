"""A hollow kubelet: registers its node, keeps lease and status, and has a worker for each of its pods."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from pytest_cnimigrate.model.objects import Object, condition, is_terminating, micro_timestamp, uid_of
from pytest_cnimigrate.model.resources import CSI_NODES, LEASES, NODES
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.nodes.node_object import node_conditions, node_object, node_status
from pytest_cnimigrate.simulator.nodes.pods import PodWorker
from pytest_cnimigrate.simulator.nodes.services import NodeServices

log = logging.getLogger("cnimigrate.simulator.kubelet")

LEASE_NAMESPACE = "kube-node-lease"
CSI_SECONDS = 10.0
"""From registration to a CSINode; until then it is one of the reasons not to be Ready (recorded: 10.3 s)."""
RUNTIME_STATUS_SECONDS = 5.5
"""From a change of the CNI directory to the node's condition: kubelet asks the runtime every five seconds and
reports then (recorded: Ready 5.5 s after the agent)."""
STATUS_REPORTS = 30
"""The status is posted with every 30th heartbeat even if nothing has changed (every five minutes)."""


class Kubelet:
    """The kubelet of one machine."""

    def __init__(self, services: NodeServices) -> None:
        self.machine = services.machine
        self.workers: dict[str, PodWorker] = {}
        """By the pod's uid."""
        self._services = services
        self._tasks: set[asyncio.Task[Any]] = set()
        self._csi_initialised = False
        self._node_uid = ""
        self._conditions: list[Object] = []
        self._runtime_changed = asyncio.Event()
        self._unschedulable: bool | None = None

    async def run(self) -> None:
        """Register and keep the node until cancelled."""
        self._spawn(self._services.events.run())
        self.machine.cni_files.watch(self._runtime_changed.set)
        await self._register()
        self._spawn(self._watch_runtime())
        self._spawn(self._initialise_csi())
        await self._heartbeats()

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A pod that is bound to this node has been seen in a new version, or is gone."""
        if not self.machine.powered:
            return
        if new is None:
            assert old is not None  # noqa: S101 - an informer reports a change from or to something
            worker = self.workers.get(uid_of(old))
            if worker is not None:
                worker.remove()
            return
        worker = self.workers.get(uid_of(new))
        if worker is not None:
            worker.update(new)
            if worker.status_differs and not is_terminating(new) and self._is_ready():
                self._spawn(worker.restore_status())
            return
        if new["status"].get("phase") in ("Succeeded", "Failed") and not is_terminating(new):
            return
        worker = PodWorker(new, self._services, active_pods=self._active_pods)
        self.workers[uid_of(new)] = worker
        worker.update(new)
        self._spawn(self._run_worker(worker))

    def node_changed(self, node: Object) -> None:
        """Note cordon and uncordon, and correct conditions that somebody else has written."""
        unschedulable = bool(node["spec"].get("unschedulable"))
        if self._unschedulable is not None and unschedulable != self._unschedulable:
            reason = "NodeNotSchedulable" if unschedulable else "NodeSchedulable"
            self._event(reason, f"Node {self.machine.name} status is now: {reason}")
        self._unschedulable = unschedulable

    async def power_off(self) -> None:
        """Switch the machine off: nothing answers and nothing is written any more."""
        self.machine.powered = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self.workers.values():
            await worker.power_off()
        self.workers.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_worker(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except ApiError as error:
            log.warning("pod %s: %s", worker.pod["metadata"]["name"], error.message)
        finally:
            if self.machine.powered:
                self.workers.pop(uid_of(worker.pod), None)

    def _active_pods(self) -> int:
        return sum(not worker.finished for worker in self.workers.values())

    async def _register(self) -> None:
        while True:
            try:
                node = await self._services.api.create(NODES, node_object(self.machine))
                break
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    node = await self._services.api.get(NODES, self.machine.name)
                    break
                log.debug("node %s cannot register: %s", self.machine.name, error.message)
                await self._services.pace.sleep(5.0, jitter=0.2)
        self._node_uid = uid_of(node)
        self._conditions = node["status"].get("conditions") or []
        self._event("Starting", "Starting kubelet.")
        for reason in ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"):
            self._event(reason, f"Node {self.machine.name} status is now: {reason}")
        self._event("NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
        await self._renew_lease()

    async def _watch_runtime(self) -> None:
        """Follow the CNI directory: without a configuration the node is not Ready."""
        while True:
            self._runtime_changed.clear()
            present = self.machine.cni_files.active() is not None
            if present != self._services.network_ready.is_set():
                await self._services.pace.sleep(RUNTIME_STATUS_SECONDS, jitter=0.1)
                # It may have gone or come again while kubelet was not looking.
                present = self.machine.cni_files.active() is not None
            if present and not self._services.network_ready.is_set():
                self._services.network_ready.set()
                await self._post_status()
            elif not present and self._services.network_ready.is_set():
                self._services.network_ready.clear()
                await self._post_status()
            await self._runtime_changed.wait()

    async def _initialise_csi(self) -> None:
        await self._services.pace.sleep(CSI_SECONDS, jitter=0.1)
        csi_node = {
            "apiVersion": CSI_NODES.api_version,
            "kind": "CSINode",
            "metadata": {"name": self.machine.name, "ownerReferences": [self._owner()]},
            "spec": {"drivers": None},
        }
        try:
            await self._services.api.create(CSI_NODES, csi_node)
        except ApiError as error:
            log.debug("CSINode %s: %s", self.machine.name, error.message)
        self._csi_initialised = True
        await self._post_status()

    async def _heartbeats(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(self._services.pace.heartbeat_interval(len(self._services.machines)))
            count += 1
            try:
                await self._renew_lease()
            except ApiError as error:
                log.debug("lease of %s: %s", self.machine.name, error.message)
            if count % STATUS_REPORTS == 0 or self._overruled():
                await self._post_status()

    def _overruled(self) -> bool:
        """Whether the node controller has set Ready to Unknown while this kubelet was silent."""
        node = self._services.informers.of(NODES).get(self.machine.name)
        if node is None:
            return False
        ready = condition(node, "Ready")
        return ready is None or ready["status"] == "Unknown"

    def _is_ready(self) -> bool:
        node = self._services.informers.of(NODES).get(self.machine.name)
        ready = condition(node, "Ready") if node is not None else None
        return ready is not None and ready["status"] == "True"

    async def _post_status(self) -> None:
        node = self._services.informers.of(NODES).get(self.machine.name)
        earlier = ((node or {}).get("status") or {}).get("conditions") or self._conditions
        was_ready = condition({"status": {"conditions": self._conditions}}, "Ready")
        self._conditions = node_conditions(
            self._services.network_ready.is_set(), self._csi_initialised, earlier
        )
        status = node_status(self.machine, conditions=self._conditions)
        # Images and addresses are lists that a strategic merge replaces; conditions are merged by type, so
        # that NetworkUnavailable, which others write, stays.
        del status["addresses"]
        patch = {"status": status}
        try:
            await self._services.api.patch(
                NODES, self.machine.name, patch, kind="strategic", subresource="status"
            )
        except ApiError as error:
            log.debug("status of node %s: %s", self.machine.name, error.message)
            return
        ready = self._conditions[-1]
        if ready["status"] == "True" and was_ready is not None and was_ready["status"] != "True":
            self._event("NodeReady", f"Node {self.machine.name} status is now: NodeReady")
            for worker in self.workers.values():
                if worker.status_differs:
                    self._spawn(worker.restore_status())

    async def _renew_lease(self) -> None:
        renewed = {"spec": {"renewTime": micro_timestamp()}}
        try:
            await self._services.api.patch(LEASES, self.machine.name, renewed, LEASE_NAMESPACE)
        except ApiError as error:
            if not error.is_not_found:
                raise
            lease = {
                "apiVersion": LEASES.api_version,
                "kind": "Lease",
                "metadata": {
                    "name": self.machine.name,
                    "namespace": LEASE_NAMESPACE,
                    "ownerReferences": [self._owner()],
                },
                "spec": {
                    "holderIdentity": self.machine.name,
                    "leaseDurationSeconds": 40,
                    "renewTime": micro_timestamp(),
                },
            }
            await self._services.api.create(LEASES, lease, LEASE_NAMESPACE)

    def _owner(self) -> Object:
        return {"apiVersion": "v1", "kind": "Node", "name": self.machine.name, "uid": self._node_uid}

    def _event(self, reason: str, message: str) -> None:
        # Kubelet names the node without knowing its uid; the recordings show it so.
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.machine.name}}
        self._services.events.event(node, "Normal", reason, message)
