"""Pods as controllers see them: indexes, phases, availability, and making and removing them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Mapping

from pytest_cnimigrate.model.objects import (
    Object,
    condition,
    controller_of,
    copy,
    is_pod_ready,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    parse_timestamp,
    uid_of,
)
from pytest_cnimigrate.model.resources import PODS, Resource
from pytest_cnimigrate.model.selectors import label_selector, matches
from pytest_cnimigrate.simulator.client.api import Api, ApiError
from pytest_cnimigrate.simulator.client.events import EventRecorder
from pytest_cnimigrate.simulator.client.informer import Informer, Informers
from pytest_cnimigrate.simulator.clock import Pace

BY_NODE = "node"
BY_OWNER = "owner"
BY_NAMESPACE = "namespace"
BY_LABEL = "label"
ORPHANS = "orphans"


def node_name(pod: Object) -> str:
    """The node the pod is bound to, or ""."""
    name: str = pod["spec"].get("nodeName") or ""
    return name


def phase(pod: Object) -> str:
    text: str = (pod.get("status") or {}).get("phase") or "Pending"
    return text


def is_terminal(pod: Object) -> bool:
    """Succeeded or Failed: its containers will not run again."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Neither terminal nor on its way out: it counts as a replica."""
    return not is_terminal(pod) and not is_terminating(pod)


def standing(pod: Object | None) -> tuple[object, ...] | None:
    """What of a pod its owner and its disruption budgets count by; None for a pod that is not there.

    Most changes of a pod (bound, an address, a condition) leave it as it was and need no second look.
    """
    if pod is None:
        return None
    return is_pod_ready(pod), is_terminating(pod), is_terminal(pod), labels_of(pod), controller_of(pod)


def pod_informer(informers: Informers) -> Informer:
    """The shared informer of pods with the indexes of this module.

    Everything that a pod's change can touch is found through an index, so that the cost of a change does not
    grow with the cluster.
    """
    informer = informers.of(PODS)
    informer.add_index(BY_NODE, lambda pod: (node_name(pod),))
    informer.add_index(BY_OWNER, _owner_uid)
    informer.add_index(BY_NAMESPACE, lambda pod: (namespace_of(pod),))
    informer.add_index(BY_LABEL, label_keys)
    informer.add_index(ORPHANS, lambda pod: () if controller_of(pod) else (namespace_of(pod),))
    return informer


def _owner_uid(obj: Object) -> Iterable[str]:
    owner = controller_of(obj)
    return (owner["uid"],) if owner else ()


def label_keys(obj: Object) -> Iterable[str]:
    """An index by namespace and label: `namespace/key=value` for each label."""
    namespace = namespace_of(obj)
    return [f"{namespace}/{key}={value}" for key, value in labels_of(obj).items()]


def select(pods: Informer, namespace: str, selector: Object | None) -> list[Object]:
    """The pods of the namespace that a LabelSelector matches; costs what the rarest of its labels costs."""
    match_labels: Mapping[str, str] = (selector or {}).get("matchLabels") or {}
    buckets = [pods.indexed(BY_LABEL, f"{namespace}/{key}={value}") for key, value in match_labels.items()]
    if len(buckets) == 1 and not (selector or {}).get("matchExpressions"):
        return buckets[0]
    candidates = min(buckets, key=len) if buckets else pods.indexed(BY_NAMESPACE, namespace)
    selects = matcher(selector)
    return [pod for pod in candidates if selects(labels_of(pod))]


def matcher(selector: Object | None) -> Callable[[Mapping[str, str]], bool]:
    """A LabelSelector as a function of labels: parsed once, for many objects."""
    parsed = label_selector(selector)
    if parsed is None:
        return lambda labels: False
    return lambda labels: matches(parsed, labels)


class Availability:
    """Which pods have been Ready for `minReadySeconds`.

    Timestamps in the API have whole seconds of wall time, too coarse once delays are divided by the speed;
    so the moment at which a pod turned Ready is kept from what the informer reported.
    """

    def __init__(self, pods: Informer, pace: Pace) -> None:
        self._pace = pace
        self._ready_since: dict[str, float] = {}
        pods.add_handler(self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            if old is not None:
                self._ready_since.pop(uid_of(old), None)
        elif not is_pod_ready(new):
            self._ready_since.pop(uid_of(new), None)
        elif uid_of(new) not in self._ready_since:
            now = asyncio.get_running_loop().time()
            if old is None:  # Ready before we looked: all there is is the timestamp
                ready = condition(new, "Ready") or {}
                since = (
                    parse_timestamp(ready["lastTransitionTime"]) if ready.get("lastTransitionTime") else None
                )
                now -= max(0.0, (dt.datetime.now(dt.UTC) - since).total_seconds()) if since else 0.0
            self._ready_since[uid_of(new)] = now

    def missing_seconds(self, pod: Object, min_ready_seconds: int) -> float | None:
        """Simulated seconds until the pod is available: 0 if it is, None while it is not even Ready."""
        if not is_pod_ready(pod):
            return None
        if not min_ready_seconds:
            return 0.0
        since = self._ready_since.get(uid_of(pod))
        if since is None:
            return float(min_ready_seconds)
        passed = (asyncio.get_running_loop().time() - since) * self._pace.speed
        return max(0.0, min_ready_seconds - passed)

    def ready_for(self, pod: Object) -> float:
        """Simulated seconds since the pod turned Ready; 0 if it is not."""
        since = self._ready_since.get(uid_of(pod))
        return (asyncio.get_running_loop().time() - since) * self._pace.speed if since is not None else 0.0

    def is_available(self, pod: Object, min_ready_seconds: int) -> bool:
        return self.missing_seconds(pod, min_ready_seconds) == 0.0


class PodControl:
    """Makes and deletes pods for their owners, with the events that kube records on the owner.

    Every method returns once the informer shows what was done, so that no pod is counted twice.
    """

    def __init__(self, api: Api, pods: Informer, recorder: EventRecorder) -> None:
        self._api = api
        self._pods = pods
        self._recorder = recorder

    async def create(self, owner: Object, pods: list[Object]) -> None:
        """Create pods; stops at the first that is refused and raises its `ApiError` (a quota, a fault)."""
        last: Object | None = None
        try:
            for pod in pods:
                last = await self._api.create(PODS, pod, namespace_of(owner))
                self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name_of(last)}")
        except ApiError as error:
            if error.reason != "AlreadyExists":
                self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        finally:
            if last is not None:
                seen = last
                await self._pods.wait_until(lambda: self._pods.has_seen(seen))

    async def delete(self, owner: Object, pods: list[Object]) -> None:
        """Delete pods; one that is gone already, or replaced, is no error."""
        for pod in pods:
            try:
                await self._api.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
            except ApiError as error:
                if not (error.is_not_found or error.is_conflict):
                    message = f"Error deleting: {error.message}"
                    self._recorder.event(owner, "Warning", "FailedDelete", message)
                    raise
            else:
                message = f"Deleted pod: {name_of(pod)}"
                self._recorder.event(owner, "Normal", "SuccessfulDelete", message)
        await self._pods.wait_until(lambda: all(self._is_leaving(pod) for pod in pods))

    def _is_leaving(self, pod: Object) -> bool:
        known = self._pods.by_key(key_of(pod))
        return known is None or uid_of(known) != uid_of(pod) or is_terminating(known)


def pod_from_template(owner: Object, template: Object, labels: Mapping[str, str]) -> Object:
    """A pod of the owner's template, with further labels and a generated name; free to be changed."""
    metadata = template.get("metadata") or {}
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{name_of(owner)}-",
            "namespace": namespace_of(owner),
            "labels": {**(metadata.get("labels") or {}), **labels},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": copy(template["spec"]),
    }
    if metadata.get("annotations"):
        pod["metadata"]["annotations"] = dict(metadata["annotations"])
    if metadata.get("finalizers"):
        pod["metadata"]["finalizers"] = list(metadata["finalizers"])
    return pod


async def claim(
    api: Api, resource: Resource, informer: Informer, owner: Object, selector: Object
) -> list[Object]:
    """The owner's objects (pods, ReplicaSets, …): matching orphans are adopted, others released.

    This is what lets a DaemonSet that was deleted with `--cascade=orphan` take its pods back. `informer`
    needs the indexes `BY_OWNER` and `ORPHANS`.
    """
    claimed = []
    selects = matcher(selector)
    for obj in informer.indexed(BY_OWNER, uid_of(owner)):
        if selects(labels_of(obj)):
            claimed.append(obj)
        elif not is_terminating(owner):
            references = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] != uid_of(owner)]
            await _set_owners(api, resource, informer, obj, references)
    if is_terminating(owner):
        return claimed
    for obj in informer.indexed(ORPHANS, namespace_of(owner)):
        if is_terminating(obj) or (obj["kind"] == "Pod" and is_terminal(obj)):
            continue
        if selects(labels_of(obj)):
            references = [*(obj["metadata"].get("ownerReferences") or ()), owner_reference(owner)]
            adopted = await _set_owners(api, resource, informer, obj, references)
            if adopted is not None:
                claimed.append(adopted)
    return claimed


async def _set_owners(
    api: Api, resource: Resource, informer: Informer, obj: Object, references: list[Object]
) -> Object | None:
    patch = {"metadata": {"uid": uid_of(obj), "ownerReferences": references or None}}
    try:
        written = await api.patch(resource, name_of(obj), patch, namespace_of(obj))
    except ApiError as error:
        if error.is_not_found or error.is_conflict:
            return None
        raise
    await informer.wait_until(lambda: informer.has_seen(written))
    return written
