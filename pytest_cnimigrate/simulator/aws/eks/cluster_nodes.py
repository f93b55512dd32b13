"""What EKS does to the nodes of a node group from inside the cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from pytest_cnimigrate.model.objects import (
    Object,
    condition,
    controller_of,
    copy,
    is_terminating,
    name_of,
    namespace_of,
)
from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.simulator.client.api import Api, ApiError
from pytest_cnimigrate.simulator.clock import Pace

log = logging.getLogger("cnimigrate.simulator.aws")

DRAIN_SECONDS = 900.0
"""EKS waits this long for pods to leave, then terminates the node all the same.

https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
"""
EVICTION_RETRY_SECONDS = 5.0
CONFLICT_RETRIES = 5

NodeState = Literal["absent", "not-ready", "ready"]
Taint = Mapping[str, str]


class ClusterNodes(Protocol):
    """The nodes of the cluster, by name; a node that is not there (yet) is not an error."""

    async def state(self, name: str) -> NodeState: ...

    async def is_gone(self, name: str) -> bool:
        """Whether a terminated instance has left the cluster."""

    async def relabel(self, name: str, add: Mapping[str, str], remove: Sequence[str]) -> None: ...

    async def retaint(self, name: str, add: Sequence[Taint], remove: Sequence[Taint]) -> None:
        """Taints in Kubernetes spelling."""

    async def drain(self, name: str) -> None:
        """Cordon and evict; returns when the node is empty or EKS's patience is at its end."""


class NoClusterNodes:
    """A cloud without a cluster behind it: an instance that runs counts as a Ready node."""

    async def state(self, name: str) -> NodeState:
        return "ready"

    async def is_gone(self, name: str) -> bool:
        return True

    async def relabel(self, name: str, add: Mapping[str, str], remove: Sequence[str]) -> None:
        """Nothing to do."""

    async def retaint(self, name: str, add: Sequence[Taint], remove: Sequence[Taint]) -> None:
        """Nothing to do."""

    async def drain(self, name: str) -> None:
        """Nothing to do."""


class ApiClusterNodes:
    """The nodes as the cluster's API has them."""

    def __init__(self, api: Api, pace: Pace) -> None:
        self._api = api
        self._pace = pace

    async def state(self, name: str) -> NodeState:
        node = await self._get(name)
        if node is None:
            return "absent"
        ready = condition(node, "Ready")
        return "ready" if ready is not None and ready["status"] == "True" else "not-ready"

    async def is_gone(self, name: str) -> bool:
        return await self._get(name) is None

    async def relabel(self, name: str, add: Mapping[str, str], remove: Sequence[str]) -> None:
        labels = {**dict.fromkeys(remove), **add}
        if labels:
            await self._patch_node(name, {"metadata": {"labels": labels}})

    async def retaint(self, name: str, add: Sequence[Taint], remove: Sequence[Taint]) -> None:
        if not add and not remove:
            return
        for _ in range(CONFLICT_RETRIES):
            node = await self._get(name)
            if node is None:
                return
            changed = copy(node)
            changed["spec"]["taints"] = merge_taints(node["spec"].get("taints") or [], add, remove)
            try:
                await self._api.update(NODES, changed)
            except ApiError as error:
                if not error.is_conflict:
                    raise
            else:
                return
        log.warning("node %s: taints not updated, others kept changing the node", name)

    async def drain(self, name: str) -> None:
        try:
            async with asyncio.timeout(self._pace.wall(DRAIN_SECONDS)):
                await self._patch_node(name, {"spec": {"unschedulable": True}})
                while pods := await self._pods_to_evict(name):
                    for pod in pods:
                        await self._evict(pod)
                    await self._pace.sleep(EVICTION_RETRY_SECONDS)
        except TimeoutError:
            log.info("node %s: not empty after %d simulated seconds", name, DRAIN_SECONDS)
        except ApiError as error:
            # The instance goes all the same, as it does when EKS cannot reach a cluster's API.
            log.warning("node %s: drain ended early: %s", name, error.message)

    async def _get(self, name: str) -> Object | None:
        try:
            return await self._api.get(NODES, name)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def _patch_node(self, name: str, patch: Object) -> None:
        try:
            await self._api.patch(NODES, name, patch)
        except ApiError as error:
            if not error.is_not_found:
                raise

    async def _pods_to_evict(self, node: str) -> list[Object]:
        pods, _ = await self._api.list(PODS, field_selector=f"spec.nodeName={node}")
        return [pod for pod in pods if not _stays(pod)]

    async def _evict(self, pod: Object) -> None:
        if is_terminating(pod):
            return
        try:
            await self._api.evict(name_of(pod), namespace_of(pod))
        except ApiError as error:
            # 429: a disruption budget forbids it now; 404: gone meanwhile. Both settle in the next round.
            if error.code != 429 and not error.is_not_found:
                raise


def _stays(pod: Object) -> bool:
    """Pods of DaemonSets are not evicted, nor those that have ended."""
    owner = controller_of(pod)
    return (owner is not None and owner["kind"] == "DaemonSet") or (pod.get("status") or {}).get("phase") in (
        "Succeeded",
        "Failed",
    )


def merge_taints(taints: Iterable[Taint], add: Sequence[Taint], remove: Sequence[Taint]) -> list[Taint]:
    """Taints are told apart by key and effect; everything not named is kept as it is."""
    dropped = {(taint["key"], taint["effect"]) for taint in (*add, *remove)}
    return [taint for taint in taints if (taint["key"], taint["effect"]) not in dropped] + [*add]
