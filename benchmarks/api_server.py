"""An API server in a process of its own, for benchmarks: it does what it is told, a line of JSON each.

    {"do": "fill", "nodes": 1000, "pods": 10000}    fill the store
    {"do": "ready", "node": "node-0", "ready": true} change one node's condition, at once
    {"do": "churn", "pods": 1000, "round": 1}        change the status of that many pods
    {"do": "count"}                                  nothing: only the numbers that every answer gives

Each answer is a line of JSON: `at` is the monotonic clock right after the change, which on Linux all
processes of a machine share; `watches` are open at present; `requests` were made so far, watches included.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import NAMESPACES, NODES, PODS
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.server import HttpServer

NAMESPACE = "load"


def node(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "pool": "old"}},
        "spec": {"providerID": f"aws:///us-west-1a/{name}"},
        "status": {
            "allocatable": {"cpu": "1930m", "memory": "7244720Ki", "pods": "29"},
            "conditions": [
                {"type": kind, "status": "False", "reason": f"KubeletHas{kind}", "message": "as it should be"}
                for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
            ],
        },
    }


def pod(name: str, node_name: str) -> Object:
    """About 4 kB of JSON, as an ordinary pod of a real cluster without managedFields."""
    environment = [{"name": f"SETTING_{index}", "value": f"value of {index}"} for index in range(12)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": "load", "pod-template-hash": "5c8f69d94"},
            "annotations": {f"example.org/note-{index}": "x" * 60 for index in range(6)},
        },
        "spec": {
            "nodeName": node_name,
            "containers": [
                {
                    "name": container,
                    "image": f"registry.example/{container}:1.2.3",
                    "env": environment,
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }
                for container in ("main", "side")
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": "2026-11-22T20:30:17Z"}
                for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
            ],
            "containerStatuses": [
                {
                    "name": container,
                    "ready": True,
                    "restartCount": 0,
                    "image": f"registry.example/{container}:1.2.3",
                    "imageID": f"registry.example/{container}@sha256:{'0' * 64}",
                    "state": {"running": {"startedAt": "2026-11-22T20:30:17Z"}},
                }
                for container in ("main", "side")
            ],
        },
    }


class Answers:
    """Carries out what is asked for."""

    def __init__(self, api_server: ApiServer, server: HttpServer) -> None:
        self._server = api_server
        self._access_log = server.application.access_log

    def __call__(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "fill":
                self._fill(order["nodes"], order["pods"])
            case "ready":
                self._ready(order["node"], ready=order["ready"])
            case "churn":
                self._churn(order["pods"], order["round"])
        at = time.monotonic()
        watches = sum(len(table.watchers()) for table in self._server.store.tables().values())
        # A watch is noted when it ends.
        return {"at": at, "watches": watches, "requests": self._access_log.count + watches}

    def _fill(self, nodes: int, pods: int) -> None:
        if pods:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            self._server.create(NAMESPACES, namespace)
        for index in range(nodes):
            self._server.create(NODES, node(f"node-{index}"))
        for index in range(pods):
            self._create_pod(pod(f"pod-{index}", f"node-{index % nodes}"))

    def _create_pod(self, obj: Object) -> None:
        status = obj["status"]
        self._server.create(PODS, obj, NAMESPACE)
        name = obj["metadata"]["name"]
        self._server.patch(PODS, name, {"status": status}, NAMESPACE, kind="merge", subresource="status")

    def _ready(self, name: str, *, ready: bool) -> None:
        found = self._server.get(NODES, name)
        conditions = [
            one | {"status": str(ready)} if one["type"] == "Ready" else one
            for one in found["status"]["conditions"]
        ]
        patch = {"status": {"conditions": conditions}}
        self._server.patch(NODES, name, patch, kind="merge", subresource="status")

    def _churn(self, pods: int, number: int) -> None:
        for index in range(pods):
            patch = {"status": {"message": f"round {number}"}}
            self._server.patch(PODS, f"pod-{index}", patch, NAMESPACE, kind="merge", subresource="status")


async def serve() -> None:
    """Say how to log in, then answer until standard input ends."""
    api_server = ApiServer()
    server = HttpServer(api_server)
    await server.start()
    answer = Answers(api_server, server)
    print(json.dumps(server.kubeconfig()), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(answer(json.loads(line))), flush=True)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(serve())
