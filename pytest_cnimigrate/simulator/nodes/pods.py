"""The life of one pod on one node, in stages: admitted, in a sandbox, initialised, started; then its end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pytest_cnimigrate.model.objects import (
    Object,
    condition,
    key_of,
    name_of,
    namespace_of,
    timestamp,
    uid_of,
)
from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.model.selectors import matches_node, untolerated_taint
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.cni.base import CniError
from pytest_cnimigrate.simulator.nodes.containers import Containers
from pytest_cnimigrate.simulator.nodes.faults import POD_SANDBOX_FAILS_ON_NEW_NODES, is_new_node
from pytest_cnimigrate.simulator.nodes.machine import Sandbox
from pytest_cnimigrate.simulator.nodes.pod_status import phase_of, pod_status, rejected_status
from pytest_cnimigrate.simulator.nodes.services import NodeServices

log = logging.getLogger("cnimigrate.simulator.kubelet")

SANDBOX_RETRY_SECONDS = 12.0
"""Kubelet tries a failed sandbox again with its next sync of the pod, 10 to 15 s later."""
TEARDOWN_RETRY_SECONDS = 5.0
MAX_GRACE_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a pod's start: how long it takes (simulated seconds) and what it does.

    The action says whether the pod goes on to the next stage.
    """

    name: str
    delay: float
    action: Callable[[PodWorker], Awaitable[bool]]


class PodWorker:
    """Everything about one pod on its node; made when the pod is bound, ends with the pod's deletion."""

    def __init__(self, pod: Object, services: NodeServices, *, active_pods: Callable[[], int]) -> None:
        self.pod = pod
        self.sandbox: Sandbox | None = None
        self.finished = False
        """Whether the pod has come to its end (Succeeded or Failed) and holds no resources."""
        self._services = services
        self._active_pods = active_pods
        self._start_time = timestamp()
        self._deletion = asyncio.Event()
        self._removed = False
        self._status: Object | None = None
        self._status_lock = asyncio.Lock()
        self._stopping = False
        self.containers = Containers(pod, services, self._sync_status)

    def update(self, pod: Object) -> None:
        """A new version of the pod has been seen."""
        self.pod = pod
        if self.sandbox is not None:
            self.sandbox.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._deletion.set()

    def remove(self) -> None:
        """The object is gone (a forced deletion): what runs is killed without a word."""
        self._removed = True
        self._deletion.set()

    @property
    def status_differs(self) -> bool:
        """Whether somebody else (the node controller) has changed the pod's readiness."""
        if self._status is None or self._stopping:
            return False
        wanted, found = condition({"status": self._status}, "Ready"), condition(self.pod, "Ready")
        return wanted is not None and found is not None and wanted["status"] != found["status"]

    async def restore_status(self) -> None:
        """Write kubelet's own view again."""
        self._status = None
        await self._sync_status()

    async def run(self) -> None:
        """Start the pod, keep it, and end it when it is deleted."""
        live = asyncio.create_task(self._live(), name=f"pod {key_of(self.pod)}")
        try:
            await self._deletion.wait()
        finally:
            live.cancel()
            await asyncio.gather(live, return_exceptions=True)
        await self._terminate()

    async def power_off(self) -> None:
        """The machine is switched off: nothing is written any more."""
        await self.containers.kill(self.sandbox)
        if self.sandbox is not None:
            self._services.machines.detach(self.sandbox)

    async def _live(self) -> None:
        for stage in STAGES:
            await self._services.pace.sleep(stage.delay, jitter=0.2)
            try:
                if not await stage.action(self):
                    return
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("pod %s is stuck in stage %r", key_of(self.pod), stage.name)
                raise

    async def _admit(self) -> bool:
        rejection = self._rejection()
        if rejection is not None:
            reason, message = rejection
            self.finished = True
            self._services.events.event(self.pod, "Warning", reason, message)
            await self._write_status(rejected_status(reason, message))
            return False
        await self._sync_status()
        return True

    def _rejection(self) -> tuple[str, str] | None:
        """Why kubelet refuses the pod, as (reason, message): the node may have changed since it was bound."""
        node = self._services.informers.of(NODES).get(self._services.machine.name)
        if node is None:
            return None
        capacity = int(node["status"]["allocatable"]["pods"])
        used = self._active_pods() - 1
        if used >= capacity:
            text = f"Node didn't have enough resource: pods, requested: 1, used: {used}, capacity: {capacity}"
            return "OutOfpods", text
        if not matches_node(self.pod["spec"], node):
            text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
            return "NodeAffinity", text
        taint = untolerated_taint(
            node["spec"].get("taints"), self.pod["spec"].get("tolerations"), ("NoExecute",)
        )
        if taint is not None:
            text = f"Predicate TaintToleration failed: node(s) had untolerated taint {{{taint['key']}: }}"
            return "TaintToleration", text
        return None

    async def _create_sandbox(self) -> bool:
        services = self._services
        while True:
            sandbox = Sandbox(self.pod, services.machine, sandbox_id=secrets.token_hex(32))
            if sandbox.host_network:
                sandbox.address = services.machine.address
                break
            if not services.network_ready.is_set():
                services.events.event(self.pod, "Warning", "NetworkNotReady", NETWORK_NOT_READY)
                await services.network_ready.wait()
                continue
            try:
                await self._attach(sandbox)
                break
            except CniError as error:
                services.events.event(
                    self.pod,
                    "Warning",
                    "FailedCreatePodSandBox",
                    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network "
                    f'for sandbox "{sandbox.sandbox_id}": {error}',
                )
                await services.pace.sleep(SANDBOX_RETRY_SECONDS, jitter=0.2)
        self.sandbox = sandbox
        sandbox.pod = self.pod
        services.machines.attach(sandbox)
        await self._sync_status()
        return True

    async def _attach(self, sandbox: Sandbox) -> None:
        machine = self._services.machine
        if self._services.faults.active(POD_SANDBOX_FAILS_ON_NEW_NODES) and is_new_node(machine):
            raise CniError(
                'plugin type="cilium-cni" failed (add): unable to create endpoint: '
                "Cilium API client timeout exceeded"
            )
        kind = machine.cni_files.plugin_type()
        if kind is None:
            raise CniError("cni config load failed: no network config found in /etc/cni/net.d")
        plugin = machine.plugin(kind)
        sandbox.address = await plugin.add(sandbox)
        sandbox.plugin = plugin

    async def _initialise(self) -> bool:
        assert self.sandbox is not None  # noqa: S101 - the stage before has made it
        return await self.containers.initialise(self.sandbox)

    async def _start(self) -> bool:
        assert self.sandbox is not None  # noqa: S101 - made two stages before
        await self.containers.start(self.sandbox)
        return True

    async def _terminate(self) -> None:
        services = self._services
        if self._removed:
            await self.containers.kill(self.sandbox)
            await self._teardown()
            return
        self._stopping = True
        grace = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if self.sandbox is not None:
            await self.containers.stop(self.sandbox, MAX_GRACE_SECONDS if grace is None else float(grace))
        else:
            await self.containers.kill(None)
        await services.pace.sleep(0.2)
        await self._teardown()
        if self.sandbox is not None:
            await self._sync_status()
        await services.pace.sleep(0.3)
        try:
            await services.api.delete(
                PODS, name_of(self.pod), namespace_of(self.pod), grace_period_seconds=0, uid=uid_of(self.pod)
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise

    async def _teardown(self) -> None:
        """Take the sandbox down; kubelet tries again until the CNI lets the pod go."""
        sandbox = self.sandbox
        if sandbox is None:
            return
        while sandbox.plugin is not None:
            try:
                await sandbox.plugin.delete(sandbox)
                break
            except CniError as error:
                self._services.events.event(
                    self.pod,
                    "Warning",
                    "FailedKillPod",
                    f'error killing pod: failed to "KillPodSandbox" for "{uid_of(self.pod)}" with '
                    'KillPodSandboxError: "rpc error: code = Unknown desc = failed to destroy network for '
                    f'sandbox \\"{sandbox.sandbox_id}\\": {error}"',
                )
                await self._services.pace.sleep(TEARDOWN_RETRY_SECONDS)
        self._services.machines.detach(sandbox)

    async def _sync_status(self) -> None:
        """Write the status if it has changed."""
        containers = self.containers.all
        phase = phase_of(containers, self.pod["spec"].get("restartPolicy", "Always"), stopping=self._stopping)
        ended = phase in ("Succeeded", "Failed")
        if ended and not self.finished and not self._stopping and self.sandbox is not None:
            self.finished = True
            for sidecar in (container for container in containers if container.sidecar and container.running):
                sidecar.ends(0)
            await self._teardown()
        started = any(container.container_id for container in containers)
        sandbox = self.sandbox
        status = pod_status(
            self.pod,
            containers,
            phase=phase,
            host_address=self._services.machine.address,
            pod_address=sandbox.address if sandbox is not None and (started or sandbox.host_network) else "",
            sandbox_ready=sandbox is not None and not ended,
            start_time=self._start_time,
        )
        await self._write_status(status)

    async def _write_status(self, status: Object) -> None:
        async with self._status_lock:
            if status == self._status or not self._services.machine.powered:
                return
            self._status = status
            name, namespace = name_of(self.pod), namespace_of(self.pod)
            patch = {"metadata": {"uid": uid_of(self.pod)}, "status": status}
            for attempt in range(5):
                try:
                    self.update(
                        await self._services.api.patch(
                            PODS, name, patch, namespace, kind="strategic", subresource="status"
                        )
                    )
                    return
                except ApiError as error:
                    if error.is_not_found or error.is_conflict:
                        return
                    log.debug("status of %s/%s: %s (try %d)", namespace, name, error.message, attempt + 1)
                    await self._services.pace.sleep(2.0)


NETWORK_NOT_READY = (
    "network is not ready: container runtime network not ready: NetworkReady=false "
    "reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"
)

STAGES = (
    # Delays as in the recordings: bound, +0.06 s admitted, +0.55 s sandbox, +1.4 s running, +0.55 s ready.
    Stage("admitted", 0.06, PodWorker._admit),
    Stage("sandbox", 0.5, PodWorker._create_sandbox),
    Stage("initialised", 0.1, PodWorker._initialise),
    Stage("started", 0.1, PodWorker._start),
)
