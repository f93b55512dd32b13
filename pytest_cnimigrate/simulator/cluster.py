"""An embedded cluster, put together from its parts."""

from __future__ import annotations

import asyncio
import base64
from importlib import resources
from typing import Any

import yaml

from pytest_cnimigrate.model.objects import Object, condition, namespace_of
from pytest_cnimigrate.model.resources import DEPLOYMENTS, NODES, PODS, STATEFUL_SETS
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.aws import AwsCloud, AwsSettings, NodeGroupSpec
from pytest_cnimigrate.simulator.client.informer import Informers
from pytest_cnimigrate.simulator.client.local import LocalApi
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.controllers import ControllerManager, start_controllers
from pytest_cnimigrate.simulator.faults import Faults
from pytest_cnimigrate.simulator.listening import Listener
from pytest_cnimigrate.simulator.nodes.fleet import Fleet
from pytest_cnimigrate.simulator.server import HttpServer
from pytest_cnimigrate.simulator.settings import ClusterSettings, GroupSettings

_EFFECTS = {"NoSchedule": "NO_SCHEDULE", "NoExecute": "NO_EXECUTE", "PreferNoSchedule": "PREFER_NO_SCHEDULE"}


class EmbeddedCluster:
    """API server, control loops, hollow nodes and cloud on one event loop.

    `start` returns once the API answers; `settled` waits until the nodes are Ready and everything runs.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self.faults = Faults(settings.faults)
        pace = Pace(settings.speed)
        self._api_server = ApiServer(faults=self.faults)
        self._api = LocalApi(self._api_server)
        self._informers = Informers(self._api)
        self._pace = pace
        self._cloud = AwsCloud(AwsSettings(region=settings.region), pace=pace, faults=self.faults)
        self._fleet = Fleet(self._api, self._informers, pace, self._cloud.vpc, self.faults)
        self._kube_server = HttpServer(self._api_server, pace=pace, gateway=self._fleet, port=settings.port)
        self._cloud_server = Listener(self._cloud.handler)
        self._controllers: ControllerManager | None = None

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._kube_server.url

    @property
    def cloud(self) -> str:
        """The AWS endpoint's URL."""
        return self._cloud_server.url

    @property
    def kubeconfig(self) -> dict[str, Any]:
        """A kubeconfig for a cluster administrator. Holds a token."""
        return self._kube_server.kubeconfig(self.settings.name)

    async def start(self) -> None:
        """Begin to serve, and boot the nodes. Raises `PortInUseError`."""
        await self._kube_server.start()
        await self._cloud_server.start()
        self._controllers = await start_controllers(self._api, self._informers, self._pace)
        await self._fleet.start()
        self._cloud.attach(
            self._fleet,
            LocalApi(self._api_server, manager="eks"),
            endpoint=self.server,
            certificate_authority_data=base64.b64encode(
                self._kube_server.credentials.certificate_authority
            ).decode(),
        )
        for name in self.settings.workloads:
            for manifest in workload(name):
                await self._create(manifest)
        self._cloud.seed_cluster(self.settings.name, [_as_spec(group) for group in self.settings.groups])

    async def settled(self) -> None:
        """Return once every node is Ready and every workload complete."""
        nodes, pods = self._informers.of(NODES), self._informers.of(PODS)
        wanted = sum(group.desired for group in self.settings.groups)
        changed = asyncio.Event()

        def wake(old: Object | None, new: Object | None) -> None:
            changed.set()

        watched = (nodes, pods, self._informers.of(DEPLOYMENTS), self._informers.of(STATEFUL_SETS))
        for informer in watched:
            await informer.wait_synced()
            informer.add_handler(wake)
        try:
            while not (len(nodes) >= wanted and all(map(_is_ready, nodes.all())) and self._is_complete()):
                changed.clear()
                await changed.wait()
        finally:
            for informer in watched:
                informer.remove_handler(wake)

    async def stop(self) -> None:
        """End everything, in the reverse order of its start."""
        await self._cloud.stop()
        await self._fleet.stop()
        if self._controllers is not None:
            await self._controllers.stop()
        await self._informers.close()
        await self._cloud_server.stop()
        await self._kube_server.stop()

    async def _create(self, manifest: Object) -> None:
        info = self._api_server.registry.by_kind(manifest["apiVersion"], manifest["kind"])
        if info is None:
            raise LookupError(f"nothing serves {manifest['apiVersion']} {manifest['kind']}")
        await self._api.create(info.resource, manifest, namespace_of(manifest))

    def _is_complete(self) -> bool:
        deployments, stateful_sets = self._informers.of(DEPLOYMENTS), self._informers.of(STATEFUL_SETS)
        return all(
            _replicas(item, "availableReplicas") == item["spec"].get("replicas", 1)
            for item in deployments.all()
        ) and all(
            _replicas(item, "readyReplicas") == item["spec"].get("replicas", 1)
            for item in stateful_sets.all()
        )


def workload(name: str) -> list[Object]:
    """The objects of one file of `workloads/`."""
    text = resources.files(__package__).joinpath("workloads", f"{name}.yaml").read_text("utf-8")
    return [obj for obj in yaml.safe_load_all(text) if obj]


def _as_spec(group: GroupSettings) -> NodeGroupSpec:
    return NodeGroupSpec(
        group.name,
        desired=group.desired,
        minimum=group.minimum,
        maximum=group.maximum,
        instance_type=group.instance_type,
        labels=group.labels,
        taints=tuple(taint | {"effect": _EFFECTS[taint["effect"]]} for taint in group.taints),
    )


def _is_ready(node: Object) -> bool:
    ready = condition(node, "Ready")
    return ready is not None and ready["status"] == "True"


def _replicas(workload: Object, field: str) -> int:
    count: int = (workload.get("status") or {}).get(field, 0)
    return count
