"""The Deployment controller: a ReplicaSet a template, and the way from the old ones to the new one."""

from __future__ import annotations

from typing import ClassVar

from pytest_cnimigrate.model.objects import (
    Object,
    annotations_of,
    controller_of,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from pytest_cnimigrate.model.resources import DEPLOYMENTS, REPLICA_SETS
from pytest_cnimigrate.model.selectors import matches_label_selector
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.controllers import deployment_sets as sets
from pytest_cnimigrate.simulator.controllers.base import Context, Controller, update_status
from pytest_cnimigrate.simulator.controllers.deployment_status import (
    Progress,
    deployment_status,
    seconds_until_overdue,
)
from pytest_cnimigrate.simulator.controllers.pods import (
    BY_NAMESPACE,
    BY_OWNER,
    claim,
    is_terminal,
    pod_informer,
)
from pytest_cnimigrate.simulator.controllers.replicaset import replica_set_informer
from pytest_cnimigrate.simulator.controllers.revisions import collision_count, template_hash
from pytest_cnimigrate.simulator.controllers.rollout import (
    Replicas,
    deployment_limits,
    scale_down_old,
    scale_in_proportion,
    scale_up_new,
)


class DeploymentController(Controller):
    component: ClassVar[str] = "deployment-controller"
    workers: ClassVar[int] = 5

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._deployments = self.informer(DEPLOYMENTS)
        self._replica_sets = replica_set_informer(self.informers)
        self._pods = pod_informer(self.informers)

    def watch(self) -> None:
        self._deployments.add_index("uid", lambda deployment: (uid_of(deployment),))
        self._deployments.add_index(BY_NAMESPACE, lambda deployment: (namespace_of(deployment),))
        self.enqueue_changes_of(self._deployments)
        self._replica_sets.add_handler(self._replica_set_changed)
        self._pods.add_handler(self._pod_changed)

    def _replica_set_changed(self, old: Object | None, new: Object | None) -> None:
        owners = {c["uid"] for each in (old, new) if each is not None and (c := controller_of(each))}
        for uid in owners:
            for deployment in self._deployments.indexed("uid", uid):
                self.queue.add(key_of(deployment))
        if not owners and new is not None:
            for deployment in self._deployments.indexed(BY_NAMESPACE, namespace_of(new)):
                if matches_label_selector(deployment["spec"]["selector"], labels_of(new)):
                    self.queue.add(key_of(deployment))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """Only `Recreate` waits for pods themselves: the new ones begin when the last old one is gone."""
        if new is not None and not is_terminal(new):
            return
        owner = controller_of(old or new or {"metadata": {}})
        if owner is None or owner["kind"] != "ReplicaSet":
            return
        replica_sets = self._replica_sets.indexed("uid", owner["uid"])
        for parent in [controller_of(each) for each in replica_sets]:
            for deployment in self._deployments.indexed("uid", parent["uid"]) if parent else ():
                if sets.strategy(deployment) == "Recreate":
                    self.queue.add(key_of(deployment))

    async def sync(self, key: str) -> None:
        deployment = self._deployments.by_key(key)
        if deployment is None:
            return
        deployment = {**deployment}  # its metadata is renewed below; the informer's object stays as it is
        selector = deployment["spec"]["selector"]
        owned = await claim(self.api, REPLICA_SETS, self._replica_sets, deployment, selector)
        if is_terminating(deployment):
            await self._write_status(deployment, owned, Progress())
            return
        paused = bool(deployment["spec"].get("paused"))
        scaled = any(sets.needs_scaling(each, deployment) for each in owned if sets.wanted(each))
        new, progress = await self._new_replica_set(deployment, owned, create=not (paused or scaled))
        progress.paused = paused
        old = sets.oldest_first([each for each in owned if new is None or uid_of(each) != uid_of(new)])
        if paused or scaled:
            await self._scale(deployment, new, old)
        elif new is not None and sets.strategy(deployment) == "Recreate":
            await self._recreate(deployment, new, old)
        elif new is not None:
            await self._roll(deployment, new, old)
        owned = self._replica_sets.indexed(BY_OWNER, uid_of(deployment))
        progress.new = self._replica_sets.by_key(key_of(new)) if new is not None else None
        status = await self._write_status(deployment, owned, progress)
        if progress.new is not None and sets.is_complete(deployment, status):
            await self._clean_up(deployment, old)

    async def _new_replica_set(
        self, deployment: Object, owned: list[Object], *, create: bool
    ) -> tuple[Object | None, Progress]:
        """The ReplicaSet of the present template: found (and made the newest revision), or created."""
        progress = Progress()
        template = deployment["spec"]["template"]
        matching = sets.oldest_first([each for each in owned if sets.has_template(each, template)])
        others = [each for each in owned if each not in matching[:1]]
        newest = max((sets.revision_of(each) for each in others), default=0)
        if matching:
            found = await self._annotate(matching[0], deployment, newest + 1)
            progress.found = name_of(found)
            await self._set_revision(deployment, sets.revision_of(found))
            return found, progress
        if not create:
            return None, progress
        digest = template_hash(template, collision_count(deployment))
        surge, _ = _limits(deployment)
        old = [sets.as_replicas(each) for each in owned]
        replicas = sets.wanted(deployment)
        nothing = Replicas("", 0, 0)
        count = (
            scale_up_new(replicas, surge, nothing, old)
            if sets.strategy(deployment) != "Recreate"
            else replicas
        )
        if sets.strategy(deployment) == "Recreate" and any(each.wanted for each in old):
            count = 0  # scaled up once the old pods are gone
        body = sets.new_replica_set(deployment, digest, count, newest + 1)
        try:
            created = await self.api.create(REPLICA_SETS, body, namespace_of(deployment))
        except ApiError as error:
            if error.reason == "AlreadyExists":
                await self._note_collision(deployment, name_of(body))
            raise
        await self._replica_sets.wait_until(lambda: self._replica_sets.has_seen(created))
        if count:
            self._scaled_event(deployment, created, 0, count)
        progress.created = name_of(created)
        await self._set_revision(deployment, newest + 1)
        return created, progress

    async def _note_collision(self, deployment: Object, name: str) -> None:
        """Another template has the hash already: count up, so that the next one differs."""
        existing = await self.api.get(REPLICA_SETS, name, namespace_of(deployment))
        owner = controller_of(existing)
        ours = owner is not None and owner["uid"] == uid_of(deployment)
        if ours and sets.has_template(existing, deployment["spec"]["template"]):
            return  # our own from a moment ago
        status = {**(deployment.get("status") or {}), "collisionCount": collision_count(deployment) + 1}
        await update_status(self.api, DEPLOYMENTS, deployment, status)

    async def _annotate(self, replica_set: Object, deployment: Object, revision: int) -> Object:
        annotations = sets.annotations_for(replica_set, deployment, revision)
        min_ready = deployment["spec"].get("minReadySeconds") or 0
        same_delay = (replica_set["spec"].get("minReadySeconds") or 0) == min_ready
        if annotations == annotations_of(replica_set) and same_delay:
            return replica_set
        patch = {"metadata": {"annotations": annotations}, "spec": {"minReadySeconds": min_ready or None}}
        return await self._patch(replica_set, patch)

    async def _set_revision(self, deployment: Object, revision: int) -> None:
        if annotations_of(deployment).get(sets.REVISION) != str(revision):
            # Through the status, as kube does: a write of annotations would raise the generation.
            annotations = {**annotations_of(deployment), sets.REVISION: str(revision)}
            metadata = {**deployment["metadata"], "annotations": annotations}
            body = {**deployment, "metadata": metadata}
            written = await self.api.update(DEPLOYMENTS, body, subresource="status")
            deployment["metadata"] = written["metadata"]

    async def _patch(self, replica_set: Object, patch: Object) -> Object:
        written = await self.api.patch(REPLICA_SETS, name_of(replica_set), patch, namespace_of(replica_set))
        await self._replica_sets.wait_until(lambda: self._replica_sets.has_seen(written))
        return written

    async def _resize(self, deployment: Object, replica_set: Object, size: int) -> None:
        before = sets.wanted(replica_set)
        annotations = sets.annotations_for(replica_set, deployment, sets.revision_of(replica_set))
        if size == before and annotations == annotations_of(replica_set):
            return
        patch = {"metadata": {"annotations": annotations}, "spec": {"replicas": size}}
        await self._patch(replica_set, patch)
        if size != before:
            self._scaled_event(deployment, replica_set, before, size)

    def _scaled_event(self, deployment: Object, replica_set: Object, before: int, size: int) -> None:
        direction = "up" if size > before else "down"
        message = f"Scaled {direction} replica set {name_of(replica_set)} from {before} to {size}"
        self.recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _roll(self, deployment: Object, new: Object, old: list[Object]) -> None:
        """One step of a rolling update: grow the new, or else shrink the old."""
        replicas = sets.wanted(deployment)
        surge, unavailable = _limits(deployment)
        olds = [sets.as_replicas(each) for each in old]
        size = scale_up_new(replicas, surge, sets.as_replicas(new), olds)
        if size != sets.wanted(new):
            await self._resize(deployment, new, size)
            return
        sizes = scale_down_old(replicas, unavailable, sets.as_replicas(new), olds)
        for each in old:
            if name_of(each) in sizes:
                await self._resize(deployment, each, sizes[name_of(each)])

    async def _recreate(self, deployment: Object, new: Object, old: list[Object]) -> None:
        """Everything old goes first, and the new begins when the last old pod is over."""
        running = [each for each in old if sets.wanted(each)]
        for each in running:
            await self._resize(deployment, each, 0)
        left = [pod for each in old for pod in self._pods.indexed(BY_OWNER, uid_of(each))]
        if running or any(not is_terminal(pod) for pod in left):
            return
        await self._resize(deployment, new, sets.wanted(deployment))

    async def _scale(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        """`spec.replicas` has changed (or the rollout is paused): keep proportions, start nothing new."""
        replicas = sets.wanted(deployment)
        everything = [*([new] if new is not None else []), *reversed(old)]
        active = [each for each in everything if sets.wanted(each)]
        if len(active) <= 1:
            target = active[0] if active else (everything[0] if everything else None)
            if target is not None:
                await self._resize(deployment, target, replicas)
        elif new is not None and sets.is_saturated(deployment, new):
            for each in old:
                await self._resize(deployment, each, 0)
        elif sets.strategy(deployment) == "RollingUpdate":
            surge, _ = _limits(deployment)
            before = (deployment.get("status") or {}).get("replicas") or 0
            sizes = scale_in_proportion(replicas, surge, before, [sets.as_replicas(each) for each in active])
            for each in active:
                await self._resize(deployment, each, sizes[name_of(each)])

    async def _write_status(self, deployment: Object, owned: list[Object], progress: Progress) -> Object:
        status = deployment_status(deployment, owned, progress, _limits(deployment)[1], self.pace)
        await update_status(self.api, DEPLOYMENTS, deployment, status)
        overdue = seconds_until_overdue(deployment, status, self.pace)
        if overdue is not None:
            self.queue.add_after(key_of(deployment), overdue)
        return status

    async def _clean_up(self, deployment: Object, old: list[Object]) -> None:
        """Old ReplicaSets beyond the history limit; the others stay for a roll-back."""
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        idle = [each for each in old if sets.is_idle(each) and not is_terminating(each)]
        idle.sort(key=sets.revision_of)
        for each in idle[: max(0, len(idle) - limit)]:
            await self.api.delete(REPLICA_SETS, name_of(each), namespace_of(each), uid=uid_of(each))


def _limits(deployment: Object) -> tuple[int, int]:
    if sets.strategy(deployment) != "RollingUpdate":
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge, unavailable = rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%")
    return deployment_limits(sets.wanted(deployment), surge, unavailable)
