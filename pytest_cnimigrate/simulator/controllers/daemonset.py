"""The DaemonSet controller: a pod on every node that fits, replaced node by node after a change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import ClassVar

from pytest_cnimigrate.model.objects import (
    Object,
    controller_of,
    is_pod_ready,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from pytest_cnimigrate.model.resources import DAEMON_SETS, NODES, PODS
from pytest_cnimigrate.model.selectors import matches_label_selector
from pytest_cnimigrate.simulator.controllers import daemonset_placement as placement
from pytest_cnimigrate.simulator.controllers.base import Context, Controller, update_status
from pytest_cnimigrate.simulator.controllers.daemonset_state import (
    DaemonState,
    Rollout,
    has_hash,
    is_present,
    oldest_first,
    share_of,
)
from pytest_cnimigrate.simulator.controllers.pods import (
    BY_NAMESPACE,
    BY_OWNER,
    Availability,
    PodControl,
    claim,
    node_name,
    phase,
    pod_informer,
)
from pytest_cnimigrate.simulator.controllers.revisions import History, revision_hash, revision_informer
from pytest_cnimigrate.simulator.controllers.rollout import daemon_limits

BY_DAEMON_AND_NODE = "daemon"
FIRST_RESPITE = 1.0
LONGEST_RESPITE = 900.0
"""Simulated seconds before a failed pod is replaced, doubling: kube's guard against fighting the kubelet."""


class DaemonSetController(Controller):
    component: ClassVar[str] = "daemonset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._daemon_sets = self.informer(DAEMON_SETS)
        self._nodes = self.informer(NODES)
        self._pods = pod_informer(self.informers)
        self._history = History(self.api, revision_informer(self.informers))
        self._availability = Availability(self._pods, self.pace)
        self._control = PodControl(self.api, self._pods, self.recorder)
        self._states: dict[str, DaemonState] = {}

    def watch(self) -> None:
        self._pods.add_index(BY_DAEMON_AND_NODE, _daemon_and_node)
        self._daemon_sets.add_index("uid", lambda ds: (uid_of(ds),))
        self._daemon_sets.add_index(BY_NAMESPACE, lambda ds: (namespace_of(ds),))
        self.enqueue_changes_of(self._daemon_sets)
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _relevant(old) == _relevant(new):
            return  # a heartbeat
        node = name_of(new or old or {})
        for daemon_set in self._daemon_sets.all():
            state = self._state(daemon_set)
            state.fits.pop(node, None)
            state.dirty.add(node)
            self.queue.add(key_of(daemon_set))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old or {}
        owner = controller_of(pod)
        owners = {c["uid"] for each in (old, new) if each is not None and (c := controller_of(each))}
        for uid in owners:
            for daemon_set in self._daemon_sets.indexed("uid", uid):
                self._state(daemon_set).dirty.add(placement.target_node(pod))
                self.queue.add(key_of(daemon_set))
        if owner is None and new is not None:
            for daemon_set in self._daemon_sets.indexed(BY_NAMESPACE, namespace_of(pod)):
                if matches_label_selector(daemon_set["spec"]["selector"], labels_of(pod)):
                    self._state(daemon_set).orphans = True
                    self.queue.add(key_of(daemon_set))

    def _state(self, daemon_set: Object) -> DaemonState:
        uid = uid_of(daemon_set)
        if uid not in self._states:
            self._states[uid] = DaemonState(uid)
        return self._states[uid]

    async def sync(self, key: str) -> None:
        daemon_set = self._daemon_sets.by_key(key)
        if daemon_set is None:
            self._forget_deleted()
            return
        if is_terminating(daemon_set):
            return
        state = self._state(daemon_set)
        digest = revision_hash(await self._history.current(daemon_set))
        if state.orphans:
            state.orphans = False
            selector = daemon_set["spec"]["selector"]
            for pod in await claim(self.api, PODS, self._pods, daemon_set, selector):
                state.dirty.add(placement.target_node(pod))
        if state.generation != daemon_set["metadata"]["generation"]:
            state.generation = daemon_set["metadata"]["generation"]
            state.dirty |= {*state.known_nodes(), *(name_of(node) for node in self._nodes.all())}
            state.fits.clear()
        dirty, state.dirty = state.dirty | state.maturing, set()
        state.maturing.clear()
        try:
            await self._manage(daemon_set, state, digest, dirty)
            self._count(daemon_set, state, digest, dirty | state.dirty)
            touched = await self._roll(daemon_set, state, digest)
            self._count(daemon_set, state, digest, touched)
            await self._clean_up(daemon_set, digest)
            status = state.status(daemon_set.get("status") or {}, daemon_set["metadata"]["generation"])
            await update_status(self.api, DAEMON_SETS, daemon_set, status)
        except BaseException:
            state.dirty |= dirty
            raise

    def _forget_deleted(self) -> None:
        alive = {uid_of(daemon_set) for daemon_set in self._daemon_sets.all()}
        for uid in [uid for uid in self._states if uid not in alive]:
            del self._states[uid]

    def _pods_on(self, daemon_set: Object, node: str) -> list[Object]:
        return self._pods.indexed(BY_DAEMON_AND_NODE, f"{uid_of(daemon_set)}/{node}")

    def _fit(self, daemon_set: Object, state: DaemonState, name: str) -> placement.Fit:
        if name not in state.fits:
            node = self._nodes.get(name)
            if node is None:
                return placement.Fit(False, False)
            spec = daemon_set["spec"]["template"]["spec"]
            state.fits[name] = placement.fit(spec, placement.tolerations(spec), node)
        return state.fits[name]

    async def _manage(
        self, daemon_set: Object, state: DaemonState, digest: str, nodes: Iterable[str]
    ) -> None:
        """Start pods where they are missing, remove those that do not belong."""
        missing: list[str] = []
        surplus: list[Object] = []
        for node in sorted(nodes):
            fit = self._fit(daemon_set, state, node)
            present = [pod for pod in self._pods_on(daemon_set, node) if is_present(pod)]
            staying = oldest_first([pod for pod in present if not is_terminating(pod)])
            if self._nodes.get(node) is None:
                # What ran there is for pod garbage collection; what has not been bound never will be.
                surplus += [pod for pod in staying if not node_name(pod)]
            elif not present:
                if fit.should_run:
                    missing.append(node)
            elif not fit.may_stay:
                surplus += staying
            else:
                running = [pod for pod in staying if phase(pod) not in ("Failed", "Succeeded")]
                ended = [pod for pod in staying if phase(pod) in ("Failed", "Succeeded")]
                surplus += self._replace_ended(daemon_set, state, node, ended)
                surplus += self._excess(daemon_set, digest, running)
        if surplus:
            await self._control.delete(daemon_set, surplus)
        if missing:
            pods = [placement.daemon_pod(daemon_set, node, digest) for node in missing]
            await self._control.create(daemon_set, pods)

    def _replace_ended(
        self, daemon_set: Object, state: DaemonState, node: str, ended: list[Object]
    ) -> list[Object]:
        """Of pods that ended, as daemons never should, those to replace now; failures get a respite."""
        due = []
        now = asyncio.get_running_loop().time()
        for pod in ended:
            where = f"daemon pod {key_of(pod)} on node {node}"
            if phase(pod) == "Succeeded":
                message = f"Found succeeded {where}, will try to delete it"
                self.recorder.event(daemon_set, "Normal", "SucceededDaemonPod", message)
                due.append(pod)
                continue
            if uid_of(pod) not in state.condemned:
                failures = state.failures.get(node, 0)
                state.failures[node] = failures + 1
                respite = self.pace.wall(min(FIRST_RESPITE * 2**failures, LONGEST_RESPITE))
                state.condemned[uid_of(pod)] = now + respite
            left = state.condemned[uid_of(pod)] - now
            if left > 0:
                state.maturing.add(node)
                self.queue.add_after(key_of(daemon_set), left * self.pace.speed)
                continue
            message = f"Found failed {where}, will try to kill it"
            self.recorder.event(daemon_set, "Warning", "FailedDaemonPod", message)
            due.append(pod)
            del state.condemned[uid_of(pod)]
        return due

    def _excess(self, daemon_set: Object, digest: str, running: list[Object]) -> list[Object]:
        """More pods on a node than belong there: all but the oldest, or but the oldest old and new one."""
        surge, _ = self._limits(daemon_set, 1)
        if not surge:
            return running[1:]
        new = [pod for pod in running if has_hash(pod, digest)]
        old = [pod for pod in running if not has_hash(pod, digest)]
        excess = new[1:] + old[1:]
        if new and old:
            min_ready = daemon_set["spec"].get("minReadySeconds") or 0
            if not is_pod_ready(old[0]) or self._availability.is_available(new[0], min_ready):
                excess.append(old[0])
        return excess

    def _limits(self, daemon_set: Object, nodes: int) -> tuple[int, int]:
        """(surge, unavailable) of the update strategy; (0, 0) for OnDelete, which moves nothing by itself."""
        strategy = daemon_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return 0, 0
        rolling = strategy.get("rollingUpdate") or {}
        return daemon_limits(nodes, rolling.get("maxSurge", 0), rolling.get("maxUnavailable", 1))

    def _count(self, daemon_set: Object, state: DaemonState, digest: str, nodes: Iterable[str]) -> None:
        min_ready = daemon_set["spec"].get("minReadySeconds") or 0
        for node in nodes:
            # Pods of vanished nodes count no more.
            pods = self._pods_on(daemon_set, node) if self._nodes.get(node) is not None else []
            fit = self._fit(daemon_set, state, node)
            state.set_share(node, share_of(pods, fit, digest, self._availability, min_ready))
            for pod in pods:
                missing = self._availability.missing_seconds(pod, min_ready)
                if missing:
                    state.maturing.add(node)
                    self.queue.add_after(key_of(daemon_set), missing)
                if is_pod_ready(pod):
                    state.failures.pop(node, None)

    async def _roll(self, daemon_set: Object, state: DaemonState, digest: str) -> set[str]:
        """Replace outdated pods as far as the strategy allows; returns the nodes that were touched."""
        strategy = (daemon_set["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
        if strategy != "RollingUpdate" or state.dirty:
            # Dirty again already: look at that first, as kube waits for its expectations.
            if state.dirty:
                self.queue.add(key_of(daemon_set))
            return set()
        surge, unavailable = self._limits(daemon_set, state.desired)
        at = state.nodes
        if not surge:
            lacking = len(at[Rollout.UNSETTLED]) + len(at[Rollout.NEW_UNAVAILABLE])
            lacking += (
                len(at[Rollout.OLD_UNAVAILABLE]) + len(at[Rollout.BOTH]) + len(at[Rollout.BOTH_UNAVAILABLE])
            )
            room = max(0, unavailable - lacking)
            nodes = sorted(at[Rollout.OLD_UNAVAILABLE]) + sorted(at[Rollout.OLD])[:room]
            await self._control.delete(daemon_set, self._outdated(daemon_set, nodes, digest))
            return set(nodes)
        surging = len(at[Rollout.BOTH_UNAVAILABLE]) + len(at[Rollout.UNSETTLED])
        room = max(0, surge - surging)
        done = sorted(at[Rollout.BOTH])
        fresh = sorted(at[Rollout.OLD_UNAVAILABLE]) + sorted(at[Rollout.OLD])[:room]
        await self._control.delete(daemon_set, self._outdated(daemon_set, done, digest))
        fresh = [node for node in fresh if self._fit(daemon_set, state, node).should_run]
        if fresh:
            pods = [placement.daemon_pod(daemon_set, node, digest) for node in fresh]
            await self._control.create(daemon_set, pods)
        return {*done, *fresh}

    def _outdated(self, daemon_set: Object, nodes: list[str], digest: str) -> list[Object]:
        return [
            pod
            for node in nodes
            for pod in self._pods_on(daemon_set, node)
            if not is_terminating(pod) and not has_hash(pod, digest)
        ]

    async def _clean_up(self, daemon_set: Object, digest: str) -> None:
        limit = daemon_set["spec"].get("revisionHistoryLimit", 10)
        if len(self._history.of(daemon_set)) <= limit + 1:
            return
        live = {labels_of(pod).get("controller-revision-hash", "") for pod in self._owned(daemon_set)}
        await self._history.clean_up(daemon_set, live | {digest}, limit)

    def _owned(self, daemon_set: Object) -> list[Object]:
        return self._pods.indexed(BY_OWNER, uid_of(daemon_set))


def _daemon_and_node(pod: Object) -> Iterable[str]:
    owner = controller_of(pod)
    if owner is None or owner["kind"] != "DaemonSet":
        return ()
    return (f"{owner['uid']}/{placement.target_node(pod)}",)


def _relevant(node: Object) -> tuple[object, object]:
    """What of a node decides placement."""
    return node["metadata"].get("labels"), node["spec"].get("taints")
