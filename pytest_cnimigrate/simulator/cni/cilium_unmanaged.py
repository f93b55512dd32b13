"""The operator's watcher of unmanaged pods: restarts pods that run without Cilium, one at a time.

Source: operator/cmd/k8s_pod_controller.go. By default only `k8s-app=kube-dns` is looked at; the pod must be
30 s old and is not restarted again within five minutes. Pods on nodes of another CNI are unmanaged, too: as
long as old nodes take CoreDNS, it is deleted again and again (failure mode 17).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

from pytest_cnimigrate.model.objects import (
    Object,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    parse_timestamp,
)
from pytest_cnimigrate.model.resources import CILIUM_ENDPOINTS, PODS
from pytest_cnimigrate.model.selectors import matches, parse_label_selector
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.cni.cilium_config import CiliumConfig
from pytest_cnimigrate.simulator.nodes.programs import Context

MINIMUM_AGE_SECONDS = 30.0
BACK_OFF_SECONDS = 300.0


class UnmanagedPods:
    """Looks every interval and deletes at most one pod."""

    def __init__(self, context: Context, config: CiliumConfig, say: Callable[[str, str], None]) -> None:
        self._context = context
        self._interval = config.unmanaged_interval
        self._selector = parse_label_selector(config.restart_selector)
        self._say = say
        self._pods = context.informers.of(PODS)
        self._endpoints = context.informers.of(CILIUM_ENDPOINTS)
        self._restarted: dict[str, float] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        await self._endpoints.wait_synced()
        while True:
            await self._context.pace.sleep(self._interval)
            pod = next((pod for pod in self._pods.all() if self._is_unmanaged(pod)), None)
            if pod is None:
                continue
            self._restarted[key_of(pod)] = time.monotonic()
            self._say("info", f"Restarting unmanaged pod {key_of(pod)}")
            try:
                await self._context.api.delete(PODS, name_of(pod), namespace_of(pod))
            except ApiError as error:
                self._say("warning", f"Unable to restart pod: {error.message}")

    def _is_unmanaged(self, pod: Object) -> bool:
        status, wall = pod["status"], self._context.pace.wall
        if status.get("phase") != "Running" or pod["spec"].get("hostNetwork") or is_terminating(pod):
            return False
        if not matches(self._selector, labels_of(pod)):
            return False
        if self._endpoints.get(name_of(pod), namespace_of(pod)) is not None:
            return False
        started = parse_timestamp(status.get("startTime") or pod["metadata"]["creationTimestamp"])
        if (dt.datetime.now(dt.UTC) - started).total_seconds() < wall(MINIMUM_AGE_SECONDS):
            return False
        last = self._restarted.get(key_of(pod))
        return last is None or time.monotonic() - last > wall(BACK_OFF_SECONDS)
