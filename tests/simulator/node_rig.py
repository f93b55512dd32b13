"""A cluster in this process: API server, control loops, VPC and hollow nodes; no AWS, no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pytest_cnimigrate.model.objects import Object, condition, is_pod_ready, key_of, labels_of, name_of
from pytest_cnimigrate.model.resources import (
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    EVENTS,
    NODES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Resource,
)
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.aws.security_groups import Rule
from pytest_cnimigrate.simulator.aws.vpc import VpcModel
from pytest_cnimigrate.simulator.client.informer import Informers
from pytest_cnimigrate.simulator.client.local import LocalApi
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import Instance
from pytest_cnimigrate.simulator.controllers import start_controllers
from pytest_cnimigrate.simulator.faults import Faults
from pytest_cnimigrate.simulator.gateway import GatewayError, HttpRequest
from pytest_cnimigrate.simulator.nodes.fleet import Fleet

PATIENCE = 20.0
"""Wall seconds after which a wait in a test has failed; the machine may be busy."""

TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoSchedule"}
OLD, NEW = "old", "new"

GOLDPINGER_IMAGE = "bloomberg/goldpinger:3.10.2"


@dataclass
class Rig:
    server: ApiServer
    api: LocalApi
    informers: Informers
    pace: Pace
    vpc: VpcModel
    faults: Faults
    fleet: Fleet
    security_group: str
    instances: list[Instance] = field(default_factory=list)

    # Nodes

    async def add_node(
        self,
        group: str = OLD,
        *,
        taints: tuple[dict[str, str], ...] = (),
        zone: int = 0,
        max_pods: int = 29,
        instance_type: str = "m5.large",
        security_group: str = "",
        public: bool = False,
    ) -> str:
        """Launch an instance and return its node's name, without waiting for the node."""
        subnet = [s for s in self.vpc.subnets.values() if s.public == public][zone]
        instance_id = f"i-{len(self.instances):017x}"
        groups = (security_group or self.security_group,)
        interface = self.vpc.add_instance(
            instance_id, instance_type, subnet_id=subnet.subnet_id, security_group_ids=groups
        )
        address = interface.private_ip_address
        instance = Instance(
            instance_id=instance_id,
            instance_type=instance_type,
            private_ip=address,
            private_dns_name=f"ip-{address.replace('.', '-')}.us-west-1.compute.internal",
            availability_zone=interface.availability_zone,
            subnet_id=subnet.subnet_id,
            security_group_ids=groups,
            cluster_name="rig",
            node_group=group,
            labels={"cni": "aws-cni"} if group == OLD else {},
            taints=taints,
            max_pods=max_pods,
        )
        self.instances.append(instance)
        await self.fleet.launch(instance)
        return instance.private_dns_name

    async def add_new_node(self, **options: Any) -> str:
        """A node for Cilium, tainted as the migration's new node group."""
        return await self.add_node(NEW, taints=(TAINT,), **options)

    def node(self, name: str) -> Object | None:
        return self.informers.of(NODES).get(name)

    def machine(self, name: str) -> Any:
        machine = self.fleet.machines.get(name)
        assert machine is not None
        return machine

    async def node_ready(self, *names: str, status: str = "True") -> None:
        for name in names:
            await self.until(lambda name=name: node_condition(self.node(name), "Ready") == status, NODES)

    # Waiting

    async def until(self, holds: Callable[[], bool], *resources: Resource) -> None:
        """Wait for what `holds` says of the informers' copies of the resources."""
        informer = self.informers.of(resources[0])
        async with asyncio.timeout(PATIENCE):
            await informer.wait_until(holds)

    async def eventually(self, holds: Callable[[], Any]) -> Any:
        """Wait for something that no informer tells of; returns what `holds` said."""
        async with asyncio.timeout(PATIENCE):
            while not (found := holds()):  # noqa: ASYNC110 - nobody sets an event here
                await asyncio.sleep(0.005)
            return found

    async def eventually_async(self, holds: Callable[[], Awaitable[Any]]) -> None:
        """Wait for something that must be asked for."""
        async with asyncio.timeout(PATIENCE):
            while not await holds():  # noqa: ASYNC110 - nobody sets an event here
                await asyncio.sleep(0.005)

    # Pods

    def pods(self, **labels: str) -> list[Object]:
        return [
            pod
            for pod in self.informers.of(PODS).all()
            if all(labels_of(pod).get(key.replace("_", "-")) == value for key, value in labels.items())
        ]

    async def pod_ready(self, name: str, namespace: str = "default") -> Object:
        pods = self.informers.of(PODS)
        await self.until(lambda: is_pod_ready(pods.get(name, namespace) or {"status": {}}), PODS)
        pod = pods.get(name, namespace)
        assert pod is not None
        return pod

    async def run_pod(
        self, name: str, *, node: str = "", labels: dict[str, str] | None = None, **spec: Any
    ) -> None:
        """A pod with one container, on the node if one is named."""
        container = {
            "name": "main",
            "image": "example/app:1",
            "ports": [{"containerPort": 8080, "name": "http"}],
        }
        spec.setdefault("containers", [container])
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": labels or {"app": name}},
            "spec": {**({"nodeName": node} if node else {}), **spec},
        }
        await self.api.create(PODS, pod, "default")

    async def events(self, reason: str, name: str = "") -> list[Object]:
        found, _ = await self.api.list(EVENTS)
        return [e for e in found if e["reason"] == reason and name in ("", e["involvedObject"]["name"])]

    async def event(self, reason: str, name: str) -> Object:
        """Wait for an event of the object."""

        def found() -> list[Object]:
            return [
                event
                for event in self.informers.of(EVENTS).all()
                if event["reason"] == reason and event["involvedObject"]["name"] == name
            ]

        await self.until(lambda: bool(found()), EVENTS)
        return found()[0]

    async def log_line(self, pod: Object, container: str, text: str) -> str:
        """Wait for a line of the container's output that contains the text."""
        async with asyncio.timeout(PATIENCE):
            while True:
                pod = self.informers.of(PODS).by_key(key_of(pod)) or pod
                with contextlib.suppress(GatewayError):
                    for line in await self.fleet.logs(pod, container):
                        if text in line:
                            return line
                await asyncio.sleep(0.005)

    async def get(self, pod: Object, path: str, port: int = 8080) -> tuple[int, Any]:
        """Status and parsed body of a request through the API server's proxy."""
        response = await self.fleet.request(pod, port, HttpRequest("GET", path))
        if response.headers.get("Content-Type", "").startswith("application/json"):
            return response.status, json.loads(response.body)
        return response.status, response.body.decode()

    # What runs in the cluster

    async def install_aws_node(self, *, fenced: bool = True) -> None:
        """aws-node, by default only where the label says so."""
        await self._service_account("kube-system", "aws-node")
        expressions = [{"key": "cni", "operator": "In", "values": ["aws-cni"]}] if fenced else []
        await self.api.create(
            DAEMON_SETS,
            daemon_set(
                "aws-node",
                "602401143452.dkr.ecr.us-west-1.amazonaws.com/amazon-k8s-cni:v1.19.2",
                labels={"k8s-app": "aws-node"},
                expressions=expressions,
                service_account="aws-node",
            ),
            "kube-system",
        )

    async def install_kube_proxy(self) -> None:
        await self._service_account("kube-system", "kube-proxy")
        await self.api.create(
            DAEMON_SETS,
            daemon_set(
                "kube-proxy",
                "602401143452.dkr.ecr.us-west-1.amazonaws.com/eks/kube-proxy:v1.32.0",
                labels={"k8s-app": "kube-proxy"},
                service_account="kube-proxy",
            ),
            "kube-system",
        )

    async def install_cilium(self, *, operator: bool = True, **config: str) -> None:
        """Agent and operator as the chart has them, in ENI mode unless `ipam` says otherwise."""
        for name in ("cilium", "cilium-operator"):
            await self._service_account("kube-system", name)
        data = {
            "agent-not-ready-taint-key": TAINT["key"],
            "cluster-name": "rig",
            "cni-exclusive": "true",
            "custom-cni-conf": "false",
            "enable-ipv4-masquerade": "false",
            "enable-policy": "default",
            "ipam": "eni",
            "kube-proxy-replacement": "false",
            "remove-cilium-node-taints": "true",
            "routing-mode": "native",
            "set-cilium-is-up-condition": "true",
            "set-cilium-node-taints": "true",
            "unmanaged-pod-watcher-interval": "0",
            "write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist",
        } | {key.replace("_", "-"): value for key, value in config.items()}
        await self.api.create(
            CONFIG_MAPS,
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cilium-config"}, "data": data},
            "kube-system",
        )
        agent = daemon_set(
            "cilium",
            "quay.io/cilium/cilium:v1.18.0",
            labels={"k8s-app": "cilium"},
            expressions=[{"key": "cni", "operator": "NotIn", "values": ["aws-cni"]}],
            service_account="cilium",
        )
        agent["spec"]["template"]["spec"]["initContainers"] = [
            {
                "name": "config",
                "image": "quay.io/cilium/cilium:v1.18.0",
                "command": ["cilium-dbg", "build-config"],
            }
        ]
        await self.api.create(DAEMON_SETS, agent, "kube-system")
        if operator:
            await self._install_cilium_operator()

    async def _install_cilium_operator(self) -> None:
        operator = deployment(
            "cilium-operator",
            "quay.io/cilium/operator-aws:v1.18.0",
            labels={"io.cilium/app": "operator", "name": "cilium-operator"},
            namespace="kube-system",
            hostNetwork=True,
            tolerations=[{"operator": "Exists"}],
            serviceAccountName="cilium-operator",
        )
        await self.api.create(DEPLOYMENTS, operator, "kube-system")

    async def install_goldpinger(self, *, image: str = GOLDPINGER_IMAGE, **env: str) -> None:
        """Goldpinger on every node; it tolerates the agent-not-ready taint."""
        await self._service_account("default", "goldpinger")
        role = {
            "metadata": {"name": "goldpinger"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
        }
        await self.api.create(ROLES, {"apiVersion": ROLES.api_version, "kind": "Role", **role}, "default")
        binding = {
            "apiVersion": ROLE_BINDINGS.api_version,
            "kind": "RoleBinding",
            "metadata": {"name": "goldpinger"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "goldpinger"},
            "subjects": [{"kind": "ServiceAccount", "name": "goldpinger", "namespace": "default"}],
        }
        await self.api.create(ROLE_BINDINGS, binding, "default")
        variables = {"LABEL_SELECTOR": "app=goldpinger", "REFRESH_INTERVAL": "5", **env}
        pinger = daemon_set(
            "goldpinger",
            image,
            labels={"app": "goldpinger"},
            namespace="default",
            service_account="goldpinger",
            host_network=False,
        )
        container = pinger["spec"]["template"]["spec"]["containers"][0]
        container["ports"] = [{"containerPort": 8080, "name": "http"}]
        container["env"] = [
            {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            *({"name": name, "value": value} for name, value in variables.items()),
        ]
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": "http"}}
        await self.api.create(DAEMON_SETS, pinger, "default")

    async def _service_account(self, namespace: str, name: str) -> None:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        await self.api.create(SERVICE_ACCOUNTS, account, namespace)


def daemon_set(
    name: str,
    image: str,
    *,
    labels: dict[str, str],
    expressions: list[Object] | None = None,
    namespace: str = "kube-system",
    service_account: str = "default",
    host_network: bool = True,
) -> Object:
    affinity: Object = {}
    if expressions:
        required = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "affinity": affinity,
                    "hostNetwork": host_network,
                    "serviceAccountName": service_account,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [
                        {
                            "name": name,
                            "image": image,
                            "volumeMounts": [{"name": "cni", "mountPath": "/host/etc/cni/net.d"}],
                        }
                    ],
                    "volumes": [{"name": "cni", "hostPath": {"path": "/etc/cni/net.d"}}],
                },
            },
        },
    }


def deployment(
    name: str,
    image: str,
    *,
    labels: dict[str, str],
    namespace: str = "default",
    replicas: int = 1,
    **spec: Any,
) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": image}], **spec},
            },
        },
    }


def node_condition(node: Object | None, kind: str, key: str = "status") -> str:
    found = condition(node, kind) if node is not None else None
    return str(found[key]) if found is not None else ""


def names(objects: list[Object]) -> set[str]:
    return {name_of(obj) for obj in objects}


@contextlib.asynccontextmanager
async def rig(
    *,
    speed: float = 400.0,
    faults: tuple[str, ...] = (),
    controllers: bool = True,
    subnet_prefix: int = 19,
    **vpc_options: Any,
) -> AsyncIterator[Rig]:
    """An empty cluster, with a security group that admits its own members."""
    pace = Pace(speed=speed)
    vpc = VpcModel(subnet_prefix=subnet_prefix, **vpc_options)
    group = vpc.create_security_group("cluster", "EKS created security group")
    vpc.security_group(group).ingress.append(Rule(group_ids=(group,)))
    server = ApiServer()
    api = LocalApi(server)
    informers = Informers(api)
    active = Faults(faults)
    fleet = Fleet(api, informers, pace, vpc, active)
    await fleet.start()
    manager = await start_controllers(api, informers, pace) if controllers else None
    try:
        yield Rig(server, api, informers, pace, vpc, active, fleet, group)
    finally:
        await fleet.stop()
        if manager is not None:
            await manager.stop()
        await informers.close()
