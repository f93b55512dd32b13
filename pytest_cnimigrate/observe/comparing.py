"""Two records side by side: what took longer, what appeared, what vanished.

Names that differ from run to run (of pods, ReplicaSets, nodes) are replaced by what they stand for: the
workload, the class of the node.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from pytest_cnimigrate.model.objects import Object, condition, is_pod_ready, uid_of
from pytest_cnimigrate.observe.invariants.context import Context, ContextError
from pytest_cnimigrate.observe.invariants.facts import Workload, keeps_pods_off, workload_of
from pytest_cnimigrate.observe.record.lines import Mark, Transition
from pytest_cnimigrate.observe.record.reading import replay
from pytest_cnimigrate.observe.record.state import State

_ROLLED_OUT = ("DaemonSet", "Deployment", "StatefulSet")
_NAMED = (
    *_ROLLED_OUT,
    "PodDisruptionBudget",
    "NetworkPolicy",
    "CustomResourceDefinition",
    "NodeGroup",
    "AddOn",
)
"""Kinds whose objects have the same name in every run."""


@dataclass(slots=True)
class Profile:
    """What a record comes down to when it is to be compared."""

    durations: dict[str, list[float]] = field(default_factory=dict)
    """What took time -> seconds, once for each time that it happened; of an embedded cluster, its own."""
    counts: Counter[str] = field(default_factory=Counter)
    """What happened -> how often."""
    present: set[str] = field(default_factory=set)
    """Objects that were there at some time."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the second record is not as the first."""

    kind: Literal["longer", "shorter", "appeared", "vanished", "more", "fewer"]
    what: str
    before: float | None = None
    """Seconds or number in the first record; None where it is not there."""
    after: float | None = None

    def __str__(self) -> str:
        match self.kind:
            case "appeared" | "vanished":
                return f"{self.kind}: {self.what}"
            case "longer" | "shorter":
                return f"{self.kind}: {self.what}: {self.before:.1f} s → {self.after:.1f} s"
        return f"{self.kind}: {self.what}: {self.before:.0f} → {self.after:.0f}"


def compare(before: Path, after: Path, *, ratio: float = 1.25, seconds: float = 5.0) -> list[Difference]:
    """How the record in `after` differs from the one in `before`, what took longer first.

    A duration counts as different when it is more than `ratio` times the other and differs by more than
    `seconds`. Where something happened several times, the slowest is compared. Raises `RecordError`.
    """
    one, other = profile(before), profile(after)
    found = [
        *_durations(one, other, ratio, seconds),
        *(Difference("appeared", what) for what in sorted(other.present - one.present)),
        *(Difference("vanished", what) for what in sorted(one.present - other.present)),
        *_counts(one, other),
    ]
    order = ("longer", "appeared", "vanished", "more", "fewer", "shorter")
    return sorted(found, key=lambda difference: order.index(difference.kind))


def profile(folder: Path) -> Profile:
    """What a record comes down to. Raises `RecordError`."""
    try:
        context = Context.read(folder)
    except ContextError:
        context = None  # Then nodes are just nodes, and the clock is the wall's.
    profiler = _Profiler(context)
    state = State()
    for line in replay(folder, state):
        if isinstance(line, Mark):
            if line.operation == "gap":
                profiler.profile.counts[f"gaps in the record of {line.kind}"] += 1
        else:
            profiler.take(line, state)
    return profiler.profile


class _Profiler:
    """Boils a record down, transition by transition."""

    def __init__(self, context: Context | None) -> None:
        self.profile = Profile()
        self._context = context
        self._speed = context.speed if context is not None else 1.0
        self._begun: dict[tuple[str, str], datetime] = {}
        """What is under way, and whose: since when."""

    def take(self, transition: Transition, state: State) -> None:
        match transition.kind:
            case "Pod":
                self._pod(transition, state)
            case "Node":
                self._node(transition)
            case "Event":
                self._event(transition)
            case kind if kind in _NAMED:
                self.profile.present.add(transition.spoken)
                if kind in _ROLLED_OUT:
                    self._rollout(transition)
            case _:
                pass

    def _pod(self, transition: Transition, state: State) -> None:
        pod = transition.last
        uid = uid_of(pod)
        owner = _spoken(workload_of(pod, state))
        if transition.operation == "added" and transition.found_by == "watch":
            self.profile.counts[f"pods made for {owner}"] += 1
            self._begin(f"pod of {owner}, until ready", uid, transition.time)
        if transition.new is None:
            self._end(f"pod of {owner}, from its deletion until it is gone", uid, transition.time)
            self._begun.pop((f"pod of {owner}, until ready", uid), None)
            return
        if "deletionTimestamp" in pod["metadata"]:
            self._begin(f"pod of {owner}, from its deletion until it is gone", uid, transition.time)
        elif is_pod_ready(pod):
            self._end(f"pod of {owner}, until ready", uid, transition.time)
        restarts = _restarts(pod) - _restarts(transition.old) if transition.old is not None else 0
        if restarts > 0:
            self.profile.counts[f"containers restarted in pods of {owner}"] += restarts

    def _node(self, transition: Transition) -> None:
        node, time = transition.last, transition.time
        what = self._node_class(node)
        if transition.operation == "added" and transition.found_by == "watch":
            self.profile.counts[f"{what}s joined"] += 1
            self._begin(f"{what}, until Ready", transition.key, time)
            self._begin(f"{what}, until it takes pods", transition.key, time)
        if transition.new is None:
            self.profile.counts[f"{what}s gone"] += 1
            return
        ready = condition(node, "Ready")
        if ready is not None and ready["status"] == "True":
            self._end(f"{what}, until Ready", transition.key, time)
            if not keeps_pods_off(node):
                self._end(f"{what}, until it takes pods", transition.key, time)

    def _rollout(self, transition: Transition) -> None:
        what = f"rollout of {transition.spoken}"
        new, old = transition.new, transition.old
        if new is None:
            self._begun.pop((what, ""), None)
            return
        if old is not None and old["spec"].get("template") != new["spec"].get("template"):
            self._begin(what, "", transition.time)
        elif _is_rolled_out(new):
            self._end(what, "", transition.time)

    def _event(self, transition: Transition) -> None:
        event = transition.last
        if event.get("type") == "Warning" and transition.found_by != "start":
            about = event.get("involvedObject") or event.get("regarding") or {}
            self.profile.counts[f"warnings {event.get('reason')} about a {about.get('kind')}"] += 1

    def _node_class(self, node: Object) -> str:
        if self._context is not None and self._context.is_old(node):
            return "old node"
        return "new node" if self._context is not None and self._context.is_new(node) else "node"

    def _begin(self, what: str, whose: str, time: datetime) -> None:
        self._begun.setdefault((what, whose), time)

    def _end(self, what: str, whose: str, time: datetime) -> None:
        begun = self._begun.pop((what, whose), None)
        if begun is not None:
            seconds = (time - begun).total_seconds() * self._speed
            self.profile.durations.setdefault(what, []).append(seconds)


def _durations(one: Profile, other: Profile, ratio: float, seconds: float) -> Iterable[Difference]:
    for what in sorted(one.durations.keys() & other.durations.keys()):
        before, after = max(one.durations[what]), max(other.durations[what])
        if abs(after - before) <= seconds:
            continue
        if after > before * ratio:
            yield Difference("longer", _times(what, other), before, after)
        elif before > after * ratio:
            yield Difference("shorter", _times(what, other), before, after)


def _times(what: str, profile: Profile) -> str:
    times = profile.durations[what]
    if len(times) == 1:
        return what
    return f"{what} (slowest of {len(times)}, median {statistics.median(times):.1f} s)"


def _counts(one: Profile, other: Profile) -> Iterable[Difference]:
    for what in sorted(one.counts.keys() | other.counts.keys()):
        before, after = one.counts[what], other.counts[what]
        if before == after:
            continue
        if not before:
            yield Difference("appeared", f"{what} ({after})", 0, after)
        elif not after:
            yield Difference("vanished", f"{what} ({before})", before, 0)
        else:
            yield Difference("more" if after > before else "fewer", what, before, after)


def _spoken(workload: Workload | None) -> str:
    if workload is None:
        return "no workload"
    kind, namespace, name = workload
    return f"{kind} {namespace}/{name}"


def _restarts(pod: Object | None) -> int:
    status = (pod or {}).get("status") or {}
    return sum(one.get("restartCount", 0) for one in status.get("containerStatuses") or ())


def _is_rolled_out(workload: Object) -> bool:
    """Whether every pod is of the present template and available."""
    status = workload.get("status") or {}
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(wanted == status.get("updatedNumberScheduled", 0) == status.get("numberAvailable", 0))
    wanted = workload["spec"].get("replicas", 1)
    available = status.get("availableReplicas", 0)
    return bool(wanted == status.get("updatedReplicas", 0) == available == status.get("replicas", 0))
