"""The StatefulSet controller: numbered pods with claims of their own, one after the other."""

from __future__ import annotations

import re
from typing import ClassVar

from pytest_cnimigrate.model.objects import (
    Object,
    controller_of,
    copy,
    is_pod_ready,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from pytest_cnimigrate.model.resources import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from pytest_cnimigrate.model.selectors import matches_label_selector
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.controllers.base import Context, Controller, update_status, without_zeros
from pytest_cnimigrate.simulator.controllers.pods import (
    BY_NAMESPACE,
    Availability,
    PodControl,
    claim,
    is_terminal,
    pod_from_template,
    pod_informer,
    standing,
)
from pytest_cnimigrate.simulator.controllers.revisions import (
    HASH_LABEL,
    History,
    revision_informer,
)
from pytest_cnimigrate.simulator.controllers.rollout import resolve

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"


class StatefulSetController(Controller):
    component: ClassVar[str] = "statefulset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sets = self.informer(STATEFUL_SETS)
        self._claims = self.informer(PERSISTENT_VOLUME_CLAIMS)
        self._pods = pod_informer(self.informers)
        self._history = History(self.api, revision_informer(self.informers))
        self._availability = Availability(self._pods, self.pace)
        self._control = PodControl(self.api, self._pods, self.recorder)

    def watch(self) -> None:
        self._sets.add_index("uid", lambda stateful_set: (uid_of(stateful_set),))
        self._sets.add_index(BY_NAMESPACE, lambda stateful_set: (namespace_of(stateful_set),))
        self.enqueue_changes_of(self._sets)
        self._pods.add_handler(self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if standing(old) == standing(new):
            return
        owners = {c["uid"] for each in (old, new) if each is not None and (c := controller_of(each))}
        for uid in owners:
            for stateful_set in self._sets.indexed("uid", uid):
                self.queue.add(key_of(stateful_set))
        if not owners and new is not None:
            for stateful_set in self._sets.indexed(BY_NAMESPACE, namespace_of(new)):
                if matches_label_selector(stateful_set["spec"]["selector"], labels_of(new)):
                    self.queue.add(key_of(stateful_set))

    async def sync(self, key: str) -> None:
        stateful_set = self._sets.by_key(key)
        if stateful_set is None:
            return
        update = await self._history.current(stateful_set)
        if not is_terminating(stateful_set):
            await self._step(stateful_set, await self._own_pods(stateful_set), update)
        status = self._status(stateful_set, await self._own_pods(stateful_set), update)
        await update_status(self.api, STATEFUL_SETS, stateful_set, status)
        if not is_terminating(stateful_set):
            live = {status["currentRevision"], status["updateRevision"]}
            hashes = {labels_of(r)[HASH_LABEL] for r in self._history.of(stateful_set) if name_of(r) in live}
            limit = stateful_set["spec"].get("revisionHistoryLimit", 10)
            await self._history.clean_up(stateful_set, hashes, limit)

    async def _own_pods(self, stateful_set: Object) -> dict[int, Object]:
        """Ordinal -> pod."""
        selector = stateful_set["spec"]["selector"]
        pods = await claim(self.api, PODS, self._pods, stateful_set, selector)
        ordinals = {ordinal_of(stateful_set, pod): pod for pod in pods}
        return {ordinal: pod for ordinal, pod in sorted(ordinals.items()) if ordinal >= 0}

    async def _step(self, stateful_set: Object, pods: dict[int, Object], update: Object) -> None:
        """What may be done now; with `OrderedReady` that is one pod at a time, lowest ordinal first."""
        spec = stateful_set["spec"]
        start = (spec.get("ordinals") or {}).get("start") or 0
        wanted = range(start, start + spec.get("replicas", 1))
        ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        for ordinal in wanted:
            pod = pods.get(ordinal)
            if pod is not None and is_terminal(pod):
                if not is_terminating(pod):
                    await self._control.delete(stateful_set, [pod])
                pod = self._pods.by_key(key_of(pod))
            if pod is None:
                await self._create(stateful_set, ordinal, update)
            if ordered and (pod is None or not self._is_settled(stateful_set, pod)):
                return
        surplus = [pods[ordinal] for ordinal in sorted(pods, reverse=True) if ordinal not in wanted]
        for pod in surplus:
            if not is_terminating(pod):
                await self._control.delete(stateful_set, [pod])
            if ordered:
                return  # the next one when this one is gone
        if not surplus:
            await self._roll(stateful_set, {n: pods[n] for n in wanted if n in pods}, update)

    def _is_settled(self, stateful_set: Object, pod: Object) -> bool:
        min_ready = stateful_set["spec"].get("minReadySeconds") or 0
        missing = self._availability.missing_seconds(pod, min_ready)
        if missing:
            self.queue.add_after(key_of(stateful_set), missing)
        return missing == 0 and not is_terminating(pod)

    async def _roll(self, stateful_set: Object, pods: dict[int, Object], update: Object) -> None:
        """Replace outdated pods from the highest ordinal down to the partition."""
        strategy = stateful_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        rolling = strategy.get("rollingUpdate") or {}
        partition = rolling.get("partition") or 0
        replicas = stateful_set["spec"].get("replicas", 1)
        limit = max(1, resolve(rolling.get("maxUnavailable") or 1, replicas, round_up=True))
        unavailable = sum(1 for pod in pods.values() if not self._is_settled(stateful_set, pod))
        for ordinal in sorted(pods, reverse=True):
            pod = pods[ordinal]
            if ordinal < partition:
                return
            outdated = labels_of(pod).get(HASH_LABEL) != name_of(update)
            if outdated and not is_terminating(pod):
                settled = self._is_settled(stateful_set, pod)
                if settled and unavailable >= limit:
                    return
                await self._control.delete(stateful_set, [pod])
                unavailable += int(settled)
            if unavailable >= limit and not self._is_settled(stateful_set, pod):
                return  # wait for this one before the next

    async def _create(self, stateful_set: Object, ordinal: int, update: Object) -> None:
        name = f"{name_of(stateful_set)}-{ordinal}"
        for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
            await self._ensure_claim(stateful_set, template, name)
        revision = self._revision_for(stateful_set, ordinal, update)
        template = {k: v for k, v in revision["data"]["spec"]["template"].items() if k != "$patch"}
        labels = {
            HASH_LABEL: name_of(revision),
            POD_NAME_LABEL: name,
            POD_INDEX_LABEL: str(ordinal),
        }
        pod = pod_from_template(stateful_set, template, labels)
        del pod["metadata"]["generateName"]
        pod["metadata"]["name"] = name
        pod["spec"]["hostname"] = name
        if stateful_set["spec"].get("serviceName"):
            pod["spec"]["subdomain"] = stateful_set["spec"]["serviceName"]
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
            volume = {"persistentVolumeClaim": {"claimName": f"{name_of(template)}-{name}"}}
            volumes[name_of(template)] = {"name": name_of(template), **volume}
        if volumes:
            pod["spec"]["volumes"] = list(volumes.values())
        await self._control.create(stateful_set, [pod])

    def _revision_for(self, stateful_set: Object, ordinal: int, update: Object) -> Object:
        """Below the partition pods come back as they were."""
        rolling = (stateful_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        current = (stateful_set.get("status") or {}).get("currentRevision")
        if ordinal >= (rolling.get("partition") or 0):
            return update
        return next((r for r in self._history.of(stateful_set) if name_of(r) == current), update)

    async def _ensure_claim(self, stateful_set: Object, template: Object, pod_name: str) -> None:
        """The pod's claim. There are no volumes here: it is bound from the start."""
        name, namespace = f"{name_of(template)}-{pod_name}", namespace_of(stateful_set)
        if self._claims.get(name, namespace) is not None:
            return
        body = copy(template)
        labels = stateful_set["spec"]["selector"].get("matchLabels") or {}
        body["metadata"] = {
            "name": name,
            "namespace": namespace,
            "labels": {**labels_of(template), **labels},
        }
        body["spec"]["volumeName"] = f"pvc-{uid_of(stateful_set)[:8]}-{name}"
        try:
            created = await self.api.create(PERSISTENT_VOLUME_CLAIMS, body, namespace)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return
            raise
        status = {
            "phase": "Bound",
            "accessModes": body["spec"].get("accessModes") or ["ReadWriteOnce"],
            "capacity": (body["spec"].get("resources") or {}).get("requests") or {},
        }
        bound = await update_status(self.api, PERSISTENT_VOLUME_CLAIMS, created, status)
        await self._claims.wait_until(lambda: self._claims.has_seen(bound))

    def _status(self, stateful_set: Object, pods: dict[int, Object], update: Object) -> Object:
        previous = stateful_set.get("status") or {}
        alive = [pod for pod in pods.values() if not is_terminal(pod)]
        staying = [pod for pod in alive if not is_terminating(pod)]
        min_ready = stateful_set["spec"].get("minReadySeconds") or 0
        current = previous.get("currentRevision") or name_of(update)
        updated = [pod for pod in staying if labels_of(pod).get(HASH_LABEL) == name_of(update)]
        ready = [pod for pod in alive if is_pod_ready(pod)]
        available = [pod for pod in staying if self._availability.is_available(pod, min_ready)]
        replicas = stateful_set["spec"].get("replicas", 1)
        if len(updated) == replicas == len(alive) and all(is_pod_ready(pod) for pod in updated):
            current = name_of(update)
        status = {
            "observedGeneration": stateful_set["metadata"]["generation"],
            "replicas": len(alive),
            "readyReplicas": len(ready),
            "availableReplicas": len(available),
            "currentReplicas": sum(1 for pod in staying if labels_of(pod).get(HASH_LABEL) == current),
            "updatedReplicas": len(updated),
            "currentRevision": current,
            "updateRevision": name_of(update),
            "collisionCount": previous.get("collisionCount") or 0,
        }
        return without_zeros(status, "replicas", "availableReplicas", "collisionCount")


def ordinal_of(stateful_set: Object, pod: Object) -> int:
    """The number at the end of the pod's name; -1 if it is none of the set's names."""
    match = re.fullmatch(re.escape(name_of(stateful_set)) + r"-(\d+)", name_of(pod))
    return int(match.group(1)) if match else -1
