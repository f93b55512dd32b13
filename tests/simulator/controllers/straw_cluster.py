"""A cluster without kubelets or a network: a real API server, the controllers, and nodes of straw."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_cnimigrate.model.objects import (
    Object,
    is_pod_ready,
    is_terminating,
    micro_timestamp,
    name_of,
    namespace_of,
    timestamp,
    uid_of,
)
from pytest_cnimigrate.model.resources import EVENTS, LEASES, NODES, PODS, Resource
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.client.informer import Informer, Informers
from pytest_cnimigrate.simulator.client.local import LocalApi
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.controllers import ControllerManager, start_controllers

PATIENCE = 10.0
"""Wall seconds after which a condition that a test waits for counts as failed."""


@dataclass(frozen=True, slots=True)
class QuickPace(Pace):
    """No floor under heartbeats: nothing here runs on another machine."""

    def heartbeat_interval(self, nodes: int) -> float:
        return self.wall(10.0)


class FakeKubelet:
    """Makes bound pods Running and Ready, and lets terminating ones go."""

    def __init__(self, api: LocalApi, pods: Informer) -> None:
        self.start_delay = 0.0
        """Wall seconds from bound to Ready."""
        self.stop_delay = 0.0
        self.broken: Callable[[Object], bool] = lambda pod: False
        """Pods that run but never become Ready."""
        self.ends: Callable[[Object], str] = lambda pod: ""
        """The phase in which a pod ends instead of running on: Succeeded or Failed."""
        self.silent: set[str] = set()
        """Nodes whose kubelet does nothing any more."""
        self._api = api
        self._addresses = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: set[tuple[str, bool]] = set()
        pods.add_handler(self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or not new["spec"].get("nodeName") or new["spec"]["nodeName"] in self.silent:
            return
        stage = (uid_of(new), is_terminating(new))
        if stage not in self._seen:
            self._seen.add(stage)
            self._spawn(self._stop(new) if is_terminating(new) else self._start(new))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, pod: Object) -> None:
        await asyncio.sleep(self.start_delay)
        self._addresses += 1
        now = timestamp()
        address = f"10.0.{self._addresses // 250}.{self._addresses % 250 + 1}"
        end = self.ends(pod)
        ready = "False" if end or self.broken(pod) else "True"
        conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": now}]
        status = {"phase": end or "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": now}
        patch = {"status": {**status, "conditions": conditions}}
        with contextlib.suppress(ApiError):
            await self._api.patch(
                PODS, name_of(pod), patch, namespace_of(pod), kind="strategic", subresource="status"
            )

    async def _stop(self, pod: Object) -> None:
        await asyncio.sleep(self.stop_delay)
        with contextlib.suppress(ApiError):
            await self._api.delete(
                PODS, name_of(pod), namespace_of(pod), grace_period_seconds=0, uid=uid_of(pod)
            )

    async def set_ready(self, pod: Object, ready: bool) -> None:
        entry = {"type": "Ready", "status": str(ready), "lastTransitionTime": timestamp()}
        patch = {"status": {"conditions": [entry]}}
        await self._api.patch(
            PODS, name_of(pod), patch, namespace_of(pod), kind="strategic", subresource="status"
        )

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Cluster:
    """`async with` starts it; `nodes` lists nodes to begin with."""

    def __init__(self, *, speed: float = 100.0) -> None:
        self.server = ApiServer()
        self.api = LocalApi(self.server)
        self.pace = QuickPace(speed)
        self.informers: Informers
        self.pods: Informer
        self.kubelet: FakeKubelet
        self.manager: ControllerManager
        self._heartbeats: asyncio.Task[None]

    async def __aenter__(self) -> Cluster:
        self.informers = Informers(self.api)
        self.pods = self.informers.of(PODS)
        self.manager = await start_controllers(self.api, self.informers, self.pace)
        self.kubelet = FakeKubelet(self.api, self.pods)
        self._heartbeats = asyncio.create_task(self._renew_leases())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._heartbeats.cancel()
        await asyncio.gather(self._heartbeats, return_exceptions=True)
        await self.manager.stop()
        await self.kubelet.close()
        await self.informers.close()

    async def _renew_leases(self) -> None:
        nodes = self.informers.of(NODES)
        while True:
            for node in nodes.all():
                if name_of(node) not in self.kubelet.silent:
                    await self._renew(name_of(node))
            await self.pace.sleep(10.0)

    async def _renew(self, name: str) -> None:
        metadata = {"name": name, "namespace": "kube-node-lease"}
        lease = {"metadata": metadata, "spec": {"holderIdentity": name, "renewTime": micro_timestamp()}}
        try:
            await self.api.patch(LEASES, name, {"spec": lease["spec"]}, "kube-node-lease")
        except ApiError as error:
            if not error.is_not_found:
                raise
            await self.api.create(LEASES, lease, "kube-node-lease")

    async def add_node(
        self,
        name: str,
        *,
        labels: dict[str, str] | None = None,
        taints: list[Object] | None = None,
        ready: bool = True,
        cpu: str = "4",
        pods: int = 30,
    ) -> Object:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
            "spec": {"taints": taints or []},
            "status": {
                "allocatable": {"cpu": cpu, "memory": "8Gi", "pods": str(pods)},
                "conditions": [_ready_condition(ready)],
            },
        }
        created = await self.api.create(NODES, node)
        if ready:
            await self.until(lambda: not self.taint_keys(name, own=True), f"taints of {name} gone")
        return created

    async def add_nodes(self, count: int) -> list[str]:
        names = [f"node-{number}" for number in range(count)]
        for name in names:
            await self.add_node(name)
        return names

    async def set_node_ready(self, name: str, ready: bool) -> None:
        patch = {"status": {"conditions": [_ready_condition(ready)]}}
        await self.api.patch(NODES, name, patch, kind="strategic", subresource="status")

    async def taint(self, name: str, *taints: Object) -> None:
        node = self.server.get(NODES, name)
        kept = node["spec"].get("taints") or []
        await self.api.patch(NODES, name, {"spec": {"taints": [*kept, *taints]}})

    def taint_keys(self, name: str, *, own: bool = False) -> list[str]:
        """`key:effect` of the node's taints, of the node controller only if `own`."""
        taints = self.server.get(NODES, name)["spec"].get("taints") or []
        found = [f"{taint['key']}:{taint['effect']}" for taint in taints]
        return [each for each in found if not own or each.startswith("node.kubernetes.io/")]

    async def create(self, resource: Resource, obj: Object) -> Object:
        return await self.api.create(resource, obj, namespace_of(obj))

    async def patch(self, resource: Resource, name: str, patch: Object, namespace: str = "default") -> Object:
        return await self.api.patch(resource, name, patch, namespace if resource.namespaced else "")

    def get(self, resource: Resource, name: str, namespace: str = "default") -> Object:
        return self.server.get(resource, name, namespace if resource.namespaced else "")

    def exists(self, resource: Resource, name: str, namespace: str = "default") -> bool:
        try:
            self.get(resource, name, namespace)
        except ApiError as error:
            if error.is_not_found:
                return False
            raise
        return True

    def all(self, resource: Resource, namespace: str = "default", *, labels: str = "") -> list[Object]:
        scope = namespace if resource.namespaced else ""
        return self.server.list(resource, scope, label_selector=labels)[0]

    def running(self, app: str, namespace: str = "default") -> list[Object]:
        """Pods of an application that are not on their way out."""
        pods = self.all(PODS, namespace, labels=f"app={app}")
        return [pod for pod in pods if not is_terminating(pod)]

    def ready(self, app: str) -> list[Object]:
        return [pod for pod in self.running(app) if is_pod_ready(pod)]

    def events(self, reason: str) -> list[str]:
        """Messages of the events with this reason, in every namespace."""
        return [event["message"] for event in self.server.list(EVENTS, "")[0] if event["reason"] == reason]

    async def until(self, holds: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
        """Wait for a condition; fail with what was waited for."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not holds():
            assert asyncio.get_running_loop().time() < deadline, f"waited {seconds} s in vain: {what}"
            await asyncio.sleep(0.002)

    async def settled(self) -> None:
        """Wait until no controller has anything to do right now."""
        quiet = 0
        while quiet < 5:
            idle = all(controller.queue.idle for controller in self.manager.controllers)
            quiet = quiet + 1 if idle else 0
            await asyncio.sleep(0.002)


def _ready_condition(ready: bool) -> Object:
    now = timestamp()
    status, reason = ("True", "KubeletReady") if ready else ("False", "KubeletNotReady")
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    return {"type": "Ready", "status": status, "reason": reason, "message": "", **times}


def template(app: str, **spec: Any) -> Object:
    """A pod template with label `app`; `requests` go to its container, the rest into the pod's spec."""
    container: Object = {"name": "main", "image": "example/app:1"}
    if "requests" in spec:
        container["resources"] = {"requests": spec.pop("requests")}
    if "ports" in spec:
        container["ports"] = spec.pop("ports")
    if "image" in spec:
        container["image"] = spec.pop("image")
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], **spec}}


def workload(resource: Resource, app: str, *, pod: Object | None = None, **spec: Any) -> Object:
    """A DaemonSet, Deployment, ReplicaSet or StatefulSet named like its application."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": app, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}, "template": pod or template(app), **spec},
    }


def bare_pod(name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    body = template("unused", **spec)
    metadata = {"name": name, "namespace": "default", "labels": labels or {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body["spec"]}


def node_of(pod: Object) -> str:
    return pod["spec"].get("nodeName", "")
