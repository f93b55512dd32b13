"""A made-up migration, told transition by transition to the judge of some rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pytest_cnimigrate.model.objects import Object, copy, key_of
from pytest_cnimigrate.observe.invariants import Context, Invariant, Judge, Ledger, instances
from pytest_cnimigrate.observe.record.lines import Line
from pytest_cnimigrate.observe.record.state import State
from pytest_cnimigrate.observe.record.tracking import Arrival, Tracker

BEGIN = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}

CONTEXT = Context(
    old_nodes="group=ng-1",
    new_nodes="group=ng-cilium",
    fence_key="cni",
    fence_value="aws-cni",
    old_cni="kube-system/aws-node",
    old_cni_pods="k8s-app=aws-node",
    old_group="ng-1",
    new_group="ng-cilium",
)

AGENTS = {"aws-node": ("DaemonSet", "aws-node"), "cilium": ("DaemonSet", "cilium")}


def node(name: str, group: str = "ng-1", *, fenced: bool = True, **spec: Any) -> Object:
    labels = {"group": group} | ({"cni": "aws-cni"} if fenced and group == "ng-1" else {})
    return {"kind": "Node", "metadata": {"name": name, "uid": f"node-{name}", "labels": labels}, "spec": spec}


def pod(
    name: str,
    on: str = "",
    *,
    of: tuple[str, str] | None = None,
    namespace: str = "shop",
    ready: bool = False,
    ip: str = "",
    made: int = 0,
    **labels: str,
) -> Object:
    """`of` is its controller's kind and name; `made` the second in which it was made."""
    moment = (BEGIN + timedelta(seconds=made)).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "uid": f"pod-{name}",
        "labels": labels,
        "creationTimestamp": moment,
    }
    if of:
        metadata["ownerReferences"] = [
            {"kind": of[0], "name": of[1], "uid": f"{of[0]}-{of[1]}", "controller": True}
        ]
    status: Object = {
        "phase": "Running" if ready or ip else "Pending",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": "main", "restartCount": 0}],
    }
    if ip:
        status["podIP"] = ip
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": on} if on else {},
        "status": status,
    }


def agent(cni: str, on: str, *, ready: bool = True, suffix: str = "", **settings: Any) -> Object:
    """An agent of `aws-node` or of `cilium`."""
    made = pod(
        f"{cni}-{on}{suffix}",
        on,
        of=AGENTS[cni],
        namespace="kube-system",
        ready=ready,
        **settings,
        **{"k8s-app": cni},
    )
    made["spec"]["hostNetwork"] = True
    return made


def workload(kind: str, name: str, *, namespace: str = "shop", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": namespace, "uid": f"{kind}-{name}", "generation": 1}
    return {"kind": kind, "metadata": metadata, "spec": spec, "status": {"observedGeneration": 1}}


class Story:
    """Everything `is_there` from the start; afterwards things `come`, `change` and `go`, at some second."""

    def __init__(self, *rules: type[Invariant], context: Context = CONTEXT) -> None:
        self.state = State()
        self.journal: list[dict[str, Any]] = []
        self._pending: list[dict[str, Any]] = []
        self._tracker = Tracker(self.state)
        self._synced: set[str] = set()
        self._ids = 0
        ledger = Ledger(self._fetch)
        self.judge = Judge(instances(context, ledger, rules))

    @property
    def violations(self) -> list[tuple[str, str]]:
        """(rule, object) of each violation so far."""
        return [(one.invariant, one.object) for one in self.judge.violations]

    def is_there(self, *objects: Object) -> None:
        for obj in objects:
            self._hear(0, "ADDED", obj, listed=True)
        for kind in dict.fromkeys(obj["kind"] for obj in objects):
            self._hear(0, "SYNCED", {"kind": kind}, listed=True)

    def comes(self, second: float, *objects: Object) -> None:
        for obj in objects:
            self._hear(second, "ADDED", obj)

    def changes(self, second: float, obj: Object, **paths: Any) -> Object:
        """Change an object, by `metadata__labels={…}`; a value of None takes the field away."""
        present = self.state.get(obj["kind"], key_of(obj))
        assert present is not None
        changed = copy(present)
        for path, value in paths.items():
            *parents, last = path.split("__")
            place = changed
            for part in parents:
                place = place.setdefault(part, {})
            if value is None:
                place.pop(last, None)
            else:
                place[last] = value
        self._hear(second, "MODIFIED", changed)
        return changed

    def becomes_ready(self, second: float, obj: Object, *, ready: bool = True, **paths: Any) -> None:
        conditions = [{"type": "Ready", "status": str(ready)}]
        self.changes(second, obj, status__conditions=conditions, status__phase="Running", **paths)

    def is_deleted(self, second: float, obj: Object, reason: str = "") -> None:
        """Its deletion begins; `reason` is that of an eviction."""
        paths: dict[str, Any] = {"metadata__deletionTimestamp": "2026-11-22T20:00:30Z"}
        if reason:
            disruption = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "why"}
            paths["status__conditions"] = [{"type": "Ready", "status": "True"}, disruption]
        self.changes(second, obj, **paths)

    def goes(self, second: float, *objects: Object) -> None:
        for obj in objects:
            present = self.state.get(obj["kind"], key_of(obj))
            assert present is not None
            self._hear(second, "DELETED", present)

    def time_passes(self, second: float) -> None:
        self.judge.tick(BEGIN + timedelta(seconds=second))

    def is_interrupted(self, second: float, kind: str) -> None:
        self._hear(second, "INTERRUPTED", {"kind": kind})

    def connects(self, second: float, kind: str) -> None:
        self._hear(second, "CONNECTED", {"kind": kind})

    def we_change(
        self,
        second: float,
        change: str,
        *,
        until: float | None = None,
        captured: dict[str, Any] | None = None,
        undo: bool = False,
        **parameters: Any,
    ) -> None:
        """The run makes a change; `until` when it is done (at once, if not given)."""
        self._ids += 1
        entry = {"id": self._ids, "change": change, "parameters": parameters, "captured": captured or {}}
        started, done = ("undo-started", "change-undone") if undo else ("change-started", "change-done")
        self._note(second, started, entry)
        self._note(second if until is None else until, done, entry)

    def _note(self, second: float, event: str, entry: dict[str, Any]) -> None:
        moment = (BEGIN + timedelta(seconds=second)).isoformat(timespec="milliseconds")
        record = {"t": moment.replace("+00:00", "Z"), "event": event, **entry}
        self.journal.append(record)
        self._pending.append(record)

    def _fetch(self) -> Sequence[dict[str, Any]]:
        found, self._pending = self._pending, []
        return found

    def _hear(self, second: float, event: Any, obj: Object, *, listed: bool = False) -> None:
        arrival = Arrival(obj["kind"], BEGIN + timedelta(seconds=second), event, obj, listed=listed)
        lines: list[Line] = list(self._tracker.take(arrival))
        for line in lines:
            self.judge.hear(line, self.state)
