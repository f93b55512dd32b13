"""CiliumEndpoint and CiliumIdentity: what the agent writes for each pod that it manages."""

from __future__ import annotations

import logging
import re
import zlib

from pytest_cnimigrate.model.objects import (
    Object,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from pytest_cnimigrate.model.resources import CILIUM_ENDPOINTS, CILIUM_IDENTITIES, NAMESPACES
from pytest_cnimigrate.simulator.client.api import Api, ApiError
from pytest_cnimigrate.simulator.client.informer import Informers
from pytest_cnimigrate.simulator.nodes.machine import Sandbox

log = logging.getLogger("cnimigrate.simulator.cilium")

# The labels that make an identity, as `pkg/labelsfilter` has them: the patterns are anchored at the key's
# beginning, so `app.kubernetes.io/name` counts although `kubernetes.io/…` does not.
_IGNORED_LABELS = re.compile(
    r"io\.kubernetes|kubernetes\.io|statefulset\.kubernetes\.io/pod-name|apps\.kubernetes\.io/pod-index|"
    r"batch\.kubernetes\.io/job-completion-index|batch\.kubernetes\.io/controller-uid|.*beta\.kubernetes\.io|k8s\.io|"
    r"pod-template-generation|pod-template-hash|controller-revision-hash|annotation.*|controller-uid|etcd_node"
)
FIRST_IDENTITY, IDENTITIES = 256, 65280


def security_labels(pod: Object, cluster_name: str, namespace_labels: dict[str, str]) -> dict[str, str]:
    """The labels that Cilium's policies see."""
    namespace = namespace_of(pod)
    labels = {f"k8s:{key}": value for key, value in labels_of(pod).items() if not _IGNORED_LABELS.match(key)}
    labels |= {f"k8s:io.cilium.k8s.namespace.labels.{key}": value for key, value in namespace_labels.items()}
    labels["k8s:io.cilium.k8s.policy.cluster"] = cluster_name
    labels["k8s:io.cilium.k8s.policy.serviceaccount"] = pod["spec"].get("serviceAccountName", "default")
    labels["k8s:io.kubernetes.pod.namespace"] = namespace
    return dict(sorted(labels.items()))


class EndpointWriter:
    """Keeps the objects of one node's endpoints."""

    def __init__(self, api: Api, informers: Informers, *, cluster_name: str) -> None:
        self._api = api
        self._namespaces = informers.of(NAMESPACES)
        self._cluster_name = cluster_name

    async def write(self, sandbox: Sandbox) -> None:
        """Create the pod's CiliumEndpoint (and its identity), or correct one left from another life."""
        pod = sandbox.pod
        namespace = self._namespaces.get(namespace_of(pod))
        labels = security_labels(pod, self._cluster_name, labels_of(namespace) if namespace else {})
        identity = await self._identity(labels, namespace_of(pod))
        endpoint = _endpoint(sandbox, identity, labels)
        try:
            await self._api.create(CILIUM_ENDPOINTS, endpoint, namespace_of(pod))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            patch = {
                "metadata": {"ownerReferences": endpoint["metadata"]["ownerReferences"]},
                "status": endpoint["status"],
            }
            await self._api.patch(CILIUM_ENDPOINTS, name_of(pod), patch, namespace_of(pod))

    async def remove(self, sandbox: Sandbox) -> None:
        """Delete the pod's CiliumEndpoint, if it is still there."""
        try:
            await self._api.delete(CILIUM_ENDPOINTS, name_of(sandbox.pod), namespace_of(sandbox.pod))
        except ApiError as error:
            if not error.is_not_found:
                log.warning("CiliumEndpoint %s: %s", key_of(sandbox.pod), error.message)

    async def _identity(self, labels: dict[str, str], namespace: str) -> int:
        """The number of the labels' identity. The labels decide it, so agents need not agree on it."""
        number = zlib.crc32("\n".join(f"{key}={value}" for key, value in labels.items()).encode())
        while True:
            name = str(FIRST_IDENTITY + number % IDENTITIES)
            identity = {
                "apiVersion": CILIUM_IDENTITIES.api_version,
                "kind": "CiliumIdentity",
                "metadata": {"name": name, "labels": {"io.kubernetes.pod.namespace": namespace}},
                "security-labels": labels,
            }
            try:
                await self._api.create(CILIUM_IDENTITIES, identity)
                return int(name)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
            if (await self._api.get(CILIUM_IDENTITIES, name))["security-labels"] == labels:
                return int(name)
            number += 1


def _endpoint(sandbox: Sandbox, identity: int, labels: dict[str, str]) -> Object:
    pod = sandbox.pod
    ports = [
        {"name": entry["name"], "port": entry["containerPort"], "protocol": entry.get("protocol", "TCP")}
        for container in pod["spec"]["containers"]
        for entry in container.get("ports") or ()
        if "name" in entry
    ]
    return {
        "apiVersion": CILIUM_ENDPOINTS.api_version,
        "kind": "CiliumEndpoint",
        "metadata": {
            "name": name_of(pod),
            "namespace": namespace_of(pod),
            "labels": labels_of(pod),
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)},
            ],
        },
        "status": {
            "encryption": {},
            "external-identifiers": {
                "cni-attachment-id": f"{sandbox.sandbox_id}:eth0",
                "container-id": sandbox.sandbox_id,
                "k8s-namespace": namespace_of(pod),
                "k8s-pod-name": name_of(pod),
                "pod-name": key_of(pod),
            },
            "id": zlib.crc32(sandbox.sandbox_id.encode()) % 4000 + 1,
            "identity": {"id": identity, "labels": [f"{key}={value}" for key, value in labels.items()]},
            **({"named-ports": ports} if ports else {}),
            "networking": {"addressing": [{"ipv4": sandbox.address}], "node": sandbox.machine.address},
            "state": "ready",
        },
    }
