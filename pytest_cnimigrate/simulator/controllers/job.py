"""The Job controller: pods that run to their end, so many times, with patience for failures.

Outcomes are counted from what the informer saw rather than with kube's finalizer on the pods: the
controller lives as long as the cluster. Indexed Jobs and failure policies are not simulated; such a Job
fails at once, and says so.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pytest_cnimigrate.model.objects import (
    Object,
    controller_of,
    is_pod_ready,
    is_terminating,
    key_of,
    name_of,
    namespace_of,
    parse_timestamp,
    timestamp,
    uid_of,
)
from pytest_cnimigrate.model.resources import CRON_JOBS, JOBS
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.controllers.base import Context, Controller, update_status, without_zeros
from pytest_cnimigrate.simulator.controllers.pods import (
    BY_OWNER,
    PodControl,
    is_active,
    is_terminal,
    phase,
    pod_from_template,
    pod_informer,
)

FIRST_BACKOFF = 10.0
LONGEST_BACKOFF = 360.0
"""Simulated seconds between a failure and the next pod, doubling with each failure."""


@dataclass(slots=True)
class _Outcomes:
    """How the pods of one Job ended: uid -> `Succeeded` or `Failed`, also of those that are gone."""

    ended: dict[str, str] = field(default_factory=dict)
    last_failure: float = 0.0

    def count(self, outcome: str) -> int:
        return Counter(self.ended.values())[outcome]


class JobController(Controller):
    component: ClassVar[str] = "job-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._jobs = self.informer(JOBS)
        self._pods = pod_informer(self.informers)
        self._control = PodControl(self.api, self._pods, self.recorder)
        self._outcomes: dict[str, _Outcomes] = {}
        self._finished: dict[str, float] = {}
        """uid of a Job -> when (the loop's time) it was seen to be over."""

    def watch(self) -> None:
        self._jobs.add_index("uid", lambda job: (uid_of(job),))
        self._jobs.add_handler(self._job_changed)
        self._pods.add_handler(self._pod_changed)

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        job = new or old or {}
        if new is None:
            self._outcomes.pop(uid_of(job), None)
            self._finished.pop(uid_of(job), None)
        self.queue.add(key_of(job))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old or {}
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "Job":
            return
        outcomes = self._outcomes.setdefault(owner["uid"], _Outcomes())
        if uid_of(pod) not in outcomes.ended:
            if is_terminal(pod):
                self._note(outcomes, pod, phase(pod))
            elif new is None:  # deleted in the middle of its work
                self._note(outcomes, pod, "Failed")
        for job in self._jobs.indexed("uid", owner["uid"]):
            self.queue.add(key_of(job))

    def _note(self, outcomes: _Outcomes, pod: Object, outcome: str) -> None:
        outcomes.ended[uid_of(pod)] = outcome
        if outcome == "Failed":
            outcomes.last_failure = asyncio.get_running_loop().time()

    async def sync(self, key: str) -> None:
        job = self._jobs.by_key(key)
        if job is None or is_terminating(job):
            return
        if _finished_condition(job) is not None:
            await self._expire(job)
            return
        outcomes = self._outcomes.setdefault(uid_of(job), _Outcomes())
        active = [pod for pod in self._pods.indexed(BY_OWNER, uid_of(job)) if is_active(pod)]
        end = self._end(job, outcomes)
        if end is not None or job["spec"].get("suspend"):
            await self._control.delete(job, active)
            active = []
        else:
            active = await self._keep_running(job, outcomes, active)
        await update_status(self.api, JOBS, job, self._status(job, outcomes, active, end))
        if end is not None:
            kind, reason, message = end
            if kind == "Complete":
                self.recorder.event(job, "Normal", "Completed", "Job completed")
            else:
                self.recorder.event(job, "Warning", reason, message)

    async def _keep_running(self, job: Object, outcomes: _Outcomes, active: list[Object]) -> list[Object]:
        spec = job["spec"]
        parallelism = spec.get("parallelism", 1)
        succeeded = outcomes.count("Succeeded")
        completions = spec.get("completions")
        if completions is not None:
            wanted = min(parallelism, completions - succeeded)
        else:  # a work queue: once one has succeeded no more are started
            wanted = len(active) if succeeded else parallelism
        if len(active) > wanted:
            await self._control.delete(job, active[wanted:])
            return active[:wanted]
        failures = outcomes.count("Failed")
        if failures and len(active) < wanted:
            backoff = min(FIRST_BACKOFF * 2 ** (failures - 1), LONGEST_BACKOFF)
            left = outcomes.last_failure + self.pace.wall(backoff) - asyncio.get_running_loop().time()
            if left > 0:
                self.queue.add_after(key_of(job), left * self.pace.speed)
                return active
        labels = _labels(job)
        missing = wanted - len(active)
        if missing > 0:
            pods = [pod_from_template(job, spec["template"], labels) for _ in range(missing)]
            await self._control.create(job, pods)
            active = [pod for pod in self._pods.indexed(BY_OWNER, uid_of(job)) if is_active(pod)]
        return active

    def _end(self, job: Object, outcomes: _Outcomes) -> tuple[str, str, str] | None:
        """(condition, reason, message) if the Job is over."""
        spec = job["spec"]
        for name, given in (
            ("completionMode", "Indexed"),
            ("podFailurePolicy", None),
            ("successPolicy", None),
        ):
            if name in spec and (given is None or spec[name] == given):
                return "Failed", "NotSimulated", f"spec.{name} ({given or 'any'}) is not simulated"
        succeeded, failed = outcomes.count("Succeeded"), outcomes.count("Failed")
        if failed > spec.get("backoffLimit", 6):
            return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        deadline = spec.get("activeDeadlineSeconds")
        started = (job.get("status") or {}).get("startTime")
        if deadline is not None and started and not spec.get("suspend"):
            left = deadline - self._passed(started)
            if left <= 0:
                return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
            self.queue.add_after(key_of(job), left)
        completions = spec.get("completions")
        running = any(is_active(pod) for pod in self._pods.indexed(BY_OWNER, uid_of(job)))
        done = succeeded >= completions if completions is not None else succeeded > 0 and not running
        return (
            ("Complete", "CompletionsReached", "Reached expected number of succeeded pods") if done else None
        )

    def _passed(self, moment: str) -> float:
        """Simulated seconds since a timestamp."""
        return (dt.datetime.now(dt.UTC) - parse_timestamp(moment)).total_seconds() * self.pace.speed

    def _status(
        self, job: Object, outcomes: _Outcomes, active: list[Object], end: tuple[str, str, str] | None
    ) -> Object:
        previous = job.get("status") or {}
        now = timestamp()
        terminating = [
            pod
            for pod in self._pods.indexed(BY_OWNER, uid_of(job))
            if is_terminating(pod) and not is_terminal(pod)
        ]
        status: dict[str, Any] = {
            **previous,
            "startTime": previous.get("startTime") or (None if job["spec"].get("suspend") else now),
            "active": len(active),
            "ready": sum(1 for pod in active if is_pod_ready(pod)),
            "terminating": len(terminating),
            "succeeded": outcomes.count("Succeeded"),
            "failed": outcomes.count("Failed"),
            "uncountedTerminatedPods": {},
        }
        conditions = [c for c in previous.get("conditions") or () if c["type"] != "Suspended"]
        if job["spec"].get("suspend"):
            suspended = ("Suspended", "JobSuspended", "Job suspended")
            conditions.append(_condition(*suspended, now))
            status["startTime"] = None
        if end is not None:
            kind, reason, message = end
            first = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
            conditions += [_condition(first, reason, message, now), _condition(kind, reason, message, now)]
            if kind == "Complete":
                status["completionTime"] = now
        status["conditions"] = conditions
        return without_zeros(status, "ready", "terminating", "uncountedTerminatedPods")

    async def _expire(self, job: Object) -> None:
        """Delete a finished Job when its `ttlSecondsAfterFinished` has passed."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return
        now = asyncio.get_running_loop().time()
        since = self._finished.setdefault(uid_of(job), now)
        left = ttl - (now - since) * self.pace.speed
        if left > 0:
            self.queue.add_after(key_of(job), left)
            return
        try:
            await self.api.delete(
                JOBS, name_of(job), namespace_of(job), uid=uid_of(job), propagation_policy="Foreground"
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise


class CronJobNotice(Controller):
    """CronJobs are kept but never run; each gets a warning that says so."""

    component: ClassVar[str] = "cronjob-controller"
    workers: ClassVar[int] = 1

    def watch(self) -> None:
        self.enqueue_changes_of(self.informer(CRON_JOBS))

    async def sync(self, key: str) -> None:
        cron_job = self.informer(CRON_JOBS).by_key(key)
        if cron_job is not None:
            self.recorder.event(
                cron_job, "Warning", "NotSimulated", "CronJobs are not run by the embedded cluster"
            )


def _labels(job: Object) -> dict[str, str]:
    labels = {}
    for prefix in ("", "batch.kubernetes.io/"):
        labels[f"{prefix}controller-uid"] = uid_of(job)
        labels[f"{prefix}job-name"] = name_of(job)
    return labels


def _condition(kind: str, reason: str, message: str, now: str) -> Object:
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastProbeTime": now,
        "lastTransitionTime": now,
    }


def _finished_condition(job: Object) -> Object | None:
    for entry in (job.get("status") or {}).get("conditions") or ():
        if entry["type"] in ("Complete", "Failed") and entry["status"] == "True":
            found: Object = entry
            return found
    return None
