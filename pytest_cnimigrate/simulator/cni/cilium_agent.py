"""The Cilium agent: takes its node over, manages endpoints, answers `cilium-dbg`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from pytest_cnimigrate.model.objects import Object, condition, key_of, name_of
from pytest_cnimigrate.model.resources import CILIUM_NODES, CUSTOM_RESOURCE_DEFINITIONS, NODES
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.cni.cilium_cni_file import CniFileManager
from pytest_cnimigrate.simulator.cni.cilium_config import CiliumConfig, CiliumConfigError, read_config
from pytest_cnimigrate.simulator.cni.cilium_endpoints import EndpointWriter
from pytest_cnimigrate.simulator.cni.cilium_faults import AGENT_CRASH_LOOP, CNI_FILE_NOT_WRITTEN
from pytest_cnimigrate.simulator.cni.cilium_node import cilium_node, create_or_adopt, pool_of
from pytest_cnimigrate.simulator.cni.cilium_plugin import CiliumPlugin
from pytest_cnimigrate.simulator.cni.vpc_cni import AWS_PLUGIN, AwsPlugin
from pytest_cnimigrate.simulator.gateway import ExecResult, HttpRequest, HttpResponse
from pytest_cnimigrate.simulator.nodes.faults import CILIUM_PLUGIN
from pytest_cnimigrate.simulator.nodes.programs import Context, Program

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.client.informer import Informer

BOOT_SECONDS = 5.0
"""From the start to the CNI file (recorded: ready 6.3 s after the start)."""
STATUS_UPDATE_SECONDS = 15.0
"""`ipam-cilium-node-update-rate`: how often at most the used addresses are reported."""
NEEDED_CRDS = ("ciliumendpoints", "ciliumidentities", "ciliumnodes")
HEALTH_PORT = 9879


class CiliumAgent(Program):
    """One agent. What it sets up on the node (plugin, routes, CNI file) outlasts it."""

    shutdown_seconds = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        plugin = context.machine.plugin(CILIUM_PLUGIN)
        assert isinstance(plugin, CiliumPlugin)  # noqa: S101 - registered with the plugin
        self._plugin = plugin
        self._config = CiliumConfig()
        self._files = CniFileManager(context.machine.cni_files, self._config, broken=False)
        self._pool_changed = asyncio.Event()
        self._reported: dict[str, Object] = {}
        self._up = False

    async def run(self) -> int:
        context = self.context
        try:
            node = await context.api.get(NODES, context.machine.name)
            self._config = await read_config(context.api, context.namespace, node)
            self._say("info", f"IPAM mode {self._config.ipam}, cluster {self._config.cluster_name}")
            if context.faults.active(AGENT_CRASH_LOOP):
                await context.pace.sleep(2.0)
                raise CiliumConfigError(f"fault {AGENT_CRASH_LOOP}")
            return await self._serve(node)
        except (CiliumConfigError, ApiError) as error:
            self._say("fatal", str(error))
            return 1

    async def _serve(self, node: Object) -> int:
        context, plugin = self.context, self._plugin
        self._remove_aws_rules()
        await self._wait_for_crds()
        nodes = context.informers.of(CILIUM_NODES)
        await nodes.wait_synced()
        if self._config.ipam == "kubernetes":
            node = await self._wait_for_pod_cidr()
        await create_or_adopt(context.api, cilium_node(node, context.machine, self._config))
        await asyncio.gather(context.pace.sleep(BOOT_SECONDS, jitter=0.1), self._wait_for_addresses(nodes))
        writer = EndpointWriter(context.api, context.informers, cluster_name=self._config.cluster_name)
        plugin.serve(self, self._config, writer, nodes)
        self._files = CniFileManager(
            context.machine.cni_files, self._config, broken=context.faults.active(CNI_FILE_NOT_WRITTEN)
        )
        nodes.add_handler(self._node_changed)
        try:
            await self._announce(node)
            for sandbox in list(plugin.endpoints.values()):
                context.machine.flushed_addresses.discard(sandbox.address)
                await writer.write(sandbox)
            if self._config.replaces_kube_proxy:
                context.machine.service_proxies.add("cilium")
            self._files.start()
            self._up = True
            self._say("info", "Cilium is up")
            context.set_ready(True)
            await self._report_addresses()
        finally:
            self._up = False
            nodes.remove_handler(self._node_changed)
            self._files.stop()
            if plugin.agent is self:
                plugin.agent = None
        return 0

    async def stop(self) -> None:
        self._files.uninstall()

    def pool_changed(self) -> None:
        """Addresses have been taken or given back."""
        self._pool_changed.set()

    def _say(self, level: str, message: str) -> None:
        self.context.print(f'level={level} msg="{message}" subsys=daemon')

    def _remove_aws_rules(self) -> None:
        """The chart's postStart hook: delete aws-node's SNAT rules, even while it has pods (cilium#28697)."""
        hook = (self.context.container.get("lifecycle") or {}).get("postStart") or {}
        if "AWS-SNAT-CHAIN" in " ".join((hook.get("exec") or {}).get("command") or ()):
            for plugin in self.context.machine.plugins():
                if plugin.kind == AWS_PLUGIN and isinstance(plugin, AwsPlugin):
                    plugin.masquerades = False

    async def _wait_for_crds(self) -> None:
        """The operator registers them; until then the agent waits (and its node keeps the taint)."""
        crds = self.context.informers.of(CUSTOM_RESOURCE_DEFINITIONS)

        def established() -> bool:
            for plural in NEEDED_CRDS:
                crd = crds.get(f"{plural}.cilium.io")
                found = condition(crd, "Established") if crd is not None else None
                if found is None or found["status"] != "True":
                    return False
            return True

        if not established():
            names = ", ".join(f"crd:{plural}.cilium.io" for plural in NEEDED_CRDS)
            self._say("info", f"Still waiting for Cilium Operator to register the following CRDs: [{names}]")
        await crds.wait_until(established)

    async def _wait_for_pod_cidr(self) -> Object:
        nodes = self.context.informers.of(NODES)
        name = self.context.machine.name
        await nodes.wait_until(lambda: bool(((nodes.get(name) or {}).get("spec") or {}).get("podCIDRs")))
        node = nodes.get(name)
        assert node is not None  # noqa: S101 - waited for
        return node

    async def _wait_for_addresses(self, nodes: Informer) -> None:
        """Until the operator (or the node's podCIDR) has given the node its first addresses."""
        name, pool = self.context.machine.name, self._plugin.pool

        def given() -> bool:
            node = nodes.get(name)
            if node is not None:
                self._take(node)
            return not pool.empty

        if not given():
            self._say("info", "Waiting for IPs to become available in CRD-backed allocation pool")
        await nodes.wait_until(given)

    def _take(self, node: Object) -> None:
        """Note the addresses that the CiliumNode has."""
        pool = self._plugin.pool
        if self._config.ipam == "eni":
            pool.set_addresses(pool_of(node))
        else:
            pool.set_networks((node["spec"].get("ipam") or {}).get("podCIDRs") or ())

    def _node_changed(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and name_of(new) == self.context.machine.name:
            self._take(new)

    async def _announce(self, node: Object) -> None:
        """The addresses of router and health endpoint, which come from the pool as any pod's."""
        pool, addresses = self._plugin.pool, {}
        for owner in ("router", "health"):
            held = next((address for address, who in pool.used.items() if who == owner), None)
            addresses[owner] = held or pool.allocate(owner) or ""
        spec = {
            "addresses": [
                {"ip": self.context.machine.address, "type": "InternalIP"},
                {"ip": addresses["router"], "type": "CiliumInternalIP"},
            ],
            "health": {"ipv4": addresses["health"]},
        }
        await self.context.api.patch(CILIUM_NODES, name_of(node), {"spec": spec})
        self._pool_changed.set()

    async def _report_addresses(self) -> None:
        """Keep `status.ipam.used`, from which the operator sees what is needed."""
        while True:
            await self._pool_changed.wait()
            self._pool_changed.clear()
            if self._config.ipam == "eni":
                await self._report()
            await self.context.pace.sleep(STATUS_UPDATE_SECONDS)

    async def _report(self) -> None:
        pool = self._plugin.pool
        used: dict[str, Object] = {
            address: {"owner": owner, "resource": pool.resource_of(address)}
            for address, owner in pool.used.items()
        }
        patch: dict[str, Object | None] = {**dict.fromkeys(self._reported.keys() - used.keys()), **used}
        try:
            await self.context.api.patch(
                CILIUM_NODES,
                self.context.machine.name,
                {"status": {"ipam": {"used": patch}}},
                subresource="status",
            )
            self._reported = used
        except ApiError as error:
            self._say("warning", f"Unable to update CiliumNode custom resource: {error.message}")
            self._pool_changed.set()

    # What others ask the agent

    def listens(self, port: int, protocol: str = "tcp") -> bool:
        return protocol == "tcp" and self._up and port in (HEALTH_PORT, 4240)

    async def request(self, port: int, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, orjson.dumps(self._status()), {"Content-Type": "application/json"})

    async def execute(self, command: list[str]) -> ExecResult:
        match command:
            case ["cilium-dbg" | "cilium", "status", *options]:
                return self._print_status(options)
            case ["cilium-dbg" | "cilium", "config", *_]:
                lines = (f"{key:<48} : {value}" for key, value in sorted(self._config.raw.items()))
                return ExecResult(0, "\n".join(lines) + "\n")
        return await super().execute(command)

    def _print_status(self, options: list[str]) -> ExecResult:
        if not self._up:
            return ExecResult(
                1,
                stderr='Cannot get status/probe: Get "http://localhost/v1/healthz": dial unix cilium.sock\n',
            )
        status = self._status()
        if "json" in " ".join(options):
            return ExecResult(0, orjson.dumps(status, option=orjson.OPT_INDENT_2).decode() + "\n")
        if "--brief" in options:
            return ExecResult(0, "OK\n")
        lines = [
            f"Kubernetes:             {status['kubernetes']['state']}   {status['kubernetes']['msg']}",
            f"CNI Config file:        {status['cni-file']['msg']}",
            f"Cilium:                 {status['cilium']['state']}   {status['cilium']['msg']}",
            f"IPAM:                   {status['ipam']['status']}",
        ]
        return ExecResult(0, "\n".join(lines) + "\n")

    def _status(self) -> Object:
        """The agent's StatusResponse, as far as the model has it."""
        pool, image = self._plugin.pool, self.context.container["image"]
        return {
            "cilium": {"msg": f"{image.rpartition(':')[2]}", "state": "Ok"},
            "cluster": {"self": {"name": f"{self._config.cluster_name}/{self.context.machine.name}"}},
            "cni-file": self._files.status(),
            "ipam": {
                "allocations": dict(pool.used),
                "ipv4": sorted(pool.used),
                "status": f"IPv4: {len(pool.used)} allocated",
            },
            "kube-proxy-replacement": {"mode": str(self._config.replaces_kube_proxy)},
            "kubernetes": {"msg": "1.32", "state": "Ok"},
            "masquerading": {"enabled": self._config.masquerade},
            "endpoints": sorted(key_of(sandbox.pod) for sandbox in self._plugin.endpoints.values()),
        }
