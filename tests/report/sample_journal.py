"""Journals as a run writes them, made up line by line with a clock of their own.

`migration()` is a whole migration; its arguments say where and how it goes wrong. The pieces it is made of
are methods of `SampleJournal`, for tests that need something odd.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sample_phases import CORDON, DRAIN, PHASES, Change, SamplePhase

START = datetime(2026, 11, 22, 21, 30, 0, tzinfo=UTC)
HELM_MESSAGE = (
    "could not install Helm release kube-system/cilium 1.18.3: 1 of 3 agents is not ready after 10 min: "
    "cilium-7xk2p on node ip-10-0-22-9 restarts again and again (CrashLoopBackOff, 6 restarts)"
)
HELM_DETAILS = f"""\
    def test_install(migrate, scenario):
>       migrate(InstallRelease.of(scenario.cilium))

scenarios/second-node-group/test_50_cilium.py:14:
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _

E   ChangeError: {HELM_MESSAGE}
E     last seen: level=fatal msg="failed to start: unable to allocate IP: subnet <none> exhausted" & more

pytest_cnimigrate/run/change.py:171: ChangeError
"""
PAIRS_MESSAGE = (
    "old→new: 9 of 24 pairs fail, e.g. goldpinger-x on ip-10-0-11-17 → goldpinger-y on ip-10-0-22-9: "
    "context deadline exceeded"
)


class SampleJournal:
    """Appends records as a run would; `records` can be summarised, `write` makes the files."""

    def __init__(
        self, scenario: str = "second-node-group", *, provider: str = "sim", speed: float = 1.0
    ) -> None:
        self.scenario = scenario
        self.provider = provider
        self.records: list[dict[str, Any]] = []
        self.evidence: dict[str, bytes] = {}
        self.now = START
        self.next_change = 1

    def add(self, event: str, **fields: Any) -> None:
        stamp = self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.records.append({"t": stamp, "event": event, **fields})

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def start(self, phases: tuple[SamplePhase, ...] = PHASES, **fields: Any) -> None:
        head = {
            "scenario": self.scenario,
            "title": "Replace the VPC CNI by Cilium with a second node group",
            "run_id": "20261122-213000-ab12",
            "provider": self.provider,
            "cluster": {"name": "dc-migrate", "region": "us-west-1"},
            "argv": ["pytest", "scenarios/second-node-group", "--cni-cluster", self.provider],
            "versions": {"pytest-cnimigrate": "0.1.0", "pytest": "9.2.0", "kubernetes": "37.0.3"},
            "python": "3.11.7",
            "platform": "Linux-6.12-x86_64",
            "user": "mira",
            "host": "bastion-1",
            "overrides": ["new_nodes.size=3"],
            "phases": [{"name": phase.name, "title": phase.title, "text": phase.text} for phase in phases],
        }
        self.add("run-started", **{**head, **fields})
        items = [
            {"nodeid": nodeid(phase, title), "phase": phase.name, "kind": kind, "title": title}
            for phase in phases
            for kind, title in steps_of(phase)
        ]
        self.add("collected", items=items)
        self.add("owner", worker="gw0", pid=4711)

    def phase_started(self, phase: SamplePhase) -> None:
        self.wait(0.4)
        self.add("phase-started", phase=phase.name, title=phase.title, text=phase.text)

    def phase_finished(self, phase: SamplePhase, outcome: str = "passed") -> None:
        self.add("phase-finished", phase=phase.name, outcome=outcome)

    @contextmanager
    def step(
        self, phase: SamplePhase, kind: str, title: str, outcome: str = "passed", **fields: Any
    ) -> Iterator[None]:
        identity = {"nodeid": nodeid(phase, title), "phase": phase.name, "kind": kind, "title": title}
        self.add("test-started", **identity)
        begun = self.now
        yield
        self.wait(0.12)
        seconds = round((self.now - begun).total_seconds(), 3)
        self.add(
            "test-finished",
            **identity,
            outcome=outcome,
            seconds=seconds,
            **{"message": "", "details": "", "when": "call", **fields},
        )

    def change(
        self,
        entry: Change,
        end: str = "done",
        seconds: float = 1.0,
        **fields: Any,
    ) -> None:
        kind, description, parameters, captured = entry
        head = {"id": self.next_change, "change": kind, "description": description, "parameters": parameters}
        self.next_change += 1
        if end not in ("held", "refused"):
            self.add("change-started", **head, captured=captured)
        self.wait(seconds)
        if end != "open":
            self.add(
                f"change-{'failed' if end == 'refused' else end}", **head, seconds=round(seconds, 3), **fields
            )

    def not_run(self, phase: SamplePhase, kind: str, title: str, message: str) -> None:
        identity = {"nodeid": nodeid(phase, title), "phase": phase.name, "kind": kind, "title": title}
        self.add(
            "test-finished",
            **identity,
            outcome="not-run",
            seconds=0.0,
            message=message,
            details="",
            when="setup",
        )

    def leave_evidence(self, phase: SamplePhase, title: str, name: str, content: bytes) -> None:
        path = f"evidence/{phase.name}-{name}"
        self.evidence[path] = content
        self.add(
            "evidence",
            name=name,
            path=path,
            sha256=hashlib.sha256(content).hexdigest(),
            nodeid=nodeid(phase, title),
        )

    def matrix(self, phase: SamplePhase, old: int, new: int, *, blocked: int = 0) -> None:
        classes = {}
        for name, pairs in (
            ("old→old", old * old),
            ("old→new", old * new),
            ("new→old", new * old),
            ("new→new", new * new),
        ):
            lost = min(blocked, pairs) if name == "old→new" else 0
            classes[name] = {"pairs": pairs, "ok": pairs - lost, "unknown": 0}
        pairs = sum(entry["pairs"] for entry in classes.values())
        ok = sum(entry["ok"] for entry in classes.values())
        self.add("matrix", phase=phase.name, pods=old + new, pairs=pairs, ok=ok, classes=classes)

    def finish(self, outcome: str, exit_status: int) -> None:
        self.wait(0.5)
        self.add(
            "run-finished",
            outcome=outcome,
            seconds=round((self.now - START).total_seconds(), 3),
            exit_status=exit_status,
        )

    def text(self) -> str:
        return "".join(json.dumps(record) + "\n" for record in self.records)

    def write(self, out: Path, *, torn: str = "") -> Path:
        """The journal and its evidence in `out/<scenario>`; `torn` is appended without an end of line."""
        folder = out / self.scenario
        (folder / "evidence").mkdir(parents=True, exist_ok=True)
        for path, content in self.evidence.items():
            (folder / path).write_bytes(content)
        journal = folder / "journal.jsonl"
        journal.write_text(self.text() + torn, encoding="utf-8")
        return journal


def nodeid(phase: SamplePhase, title: str) -> str:
    number = 10 * (1 + PHASES.index(phase)) if phase in PHASES else 99
    name = "".join(letter if letter.isalnum() else "_" for letter in title.lower())
    return f"scenarios/second-node-group/test_{number:02}_{phase.name.replace('-', '_')}.py::test_{name}"


def steps_of(phase: SamplePhase) -> list[tuple[str, str]]:
    """Kind and title of each step."""
    return [
        *([("action", phase.action)] if phase.action else []),
        *(("check", title) for title in phase.checks),
    ]


_SIDES = {
    "probe": (8, 0),
    "fence": (8, 0),
    "cilium": (8, 3),
    "restart-probe": (3, 8),
    "drain": (3, 8),
    "remove-old-cni": (3, 8),
    "remove-old-nodes": (0, 8),
}
"""How many probes are on each side at the end of a phase."""


class _StopError(Exception):
    """Leaves every block that is open without its last lines, as an interrupt or a kill does."""


def migration(
    scenario: str = "second-node-group",
    *,
    provider: str = "sim",
    failed_action: str = "",
    failed_checks: str = "",
    interrupted: str = "",
    killed: str = "",
) -> SampleJournal:
    """A run of all phases; each argument names the phase in which that happens to it."""
    journal = SampleJournal(scenario, provider=provider)
    journal.start()
    left = list(PHASES)
    outcome = "passed"
    try:
        while left and outcome == "passed":
            phase = left.pop(0)
            journal.phase_started(phase)
            ends = {failed_action: "failed", interrupted: "interrupted", killed: "open"}
            outcome = _act(journal, phase, ends.get(phase.name, "done"))
            outcome = outcome or _check(journal, phase, fails=phase.name == failed_checks)
            journal.phase_finished(phase, outcome)
    except _StopError:
        if killed:
            return journal
        journal.add("interrupted", signal="SIGTERM")
        outcome = "interrupted"
    if outcome == "failed":
        for phase in left:
            for kind, title in steps_of(phase):
                journal.not_run(phase, kind, title, "not run: stopped after a failure")
    if outcome == "passed":
        _measure(journal)
    journal.finish(outcome, {"passed": 0, "failed": 1, "interrupted": 2}[outcome])
    return journal


def _act(journal: SampleJournal, phase: SamplePhase, end: str) -> str:
    """The phase's action; `end` is what becomes of its last change. `failed` if the action failed."""
    if not phase.action:
        return ""
    failed = (
        {"outcome": "failed", "message": HELM_MESSAGE, "details": HELM_DETAILS} if end == "failed" else {}
    )
    with journal.step(phase, "action", phase.action, **failed):
        seconds = phase.action_seconds / len(phase.changes)
        for change in phase.changes[:-1]:
            held = phase is CORDON and change is phase.changes[0]
            journal.change(change, "held" if held else "done", 0.02 if held else seconds)
            if phase is DRAIN:
                journal.add("note", text=f"{change[2]['node']}: 11 pods evicted, 0 refused by budgets")
        if end == "interrupted":
            journal.change(phase.changes[-1], "failed", seconds, error="KeyboardInterrupt")
            raise _StopError
        journal.change(phase.changes[-1], end, seconds, **({"error": HELM_MESSAGE} if failed else {}))
        if end == "open":
            raise _StopError
    if not failed:
        return ""
    journal.add("gate-closed", phase=phase.name, nodeid=nodeid(phase, phase.action), reason=HELM_MESSAGE)
    for title in phase.checks:
        journal.not_run(phase, "check", title, "not run: stopped after a failure")
    return "failed"


def _check(journal: SampleJournal, phase: SamplePhase, *, fails: bool) -> str:
    """The phase's checks; with `fails` the last of them fails."""
    for title in phase.checks:
        end: dict[str, Any] = {}
        if fails and title == phase.checks[-1]:
            end = {
                "outcome": "failed",
                "message": PAIRS_MESSAGE,
                "details": f"E   AssertionError: {PAIRS_MESSAGE}",
            }
        if title.startswith("CoreDNS"):
            end = {"outcome": "skipped", "message": "the scenario says that CoreDNS is not part of it"}
        with journal.step(phase, "check", title, **end):
            journal.wait(0.3)
            if phase.name in _SIDES and title == phase.checks[-1]:
                if phase is DRAIN:
                    journal.matrix(phase, *_SIDES[phase.name], blocked=3)
                    journal.wait(2)
                journal.matrix(phase, *_SIDES[phase.name], blocked=9 if fails else 0)
                journal.leave_evidence(phase, title, "matrix.json", f'{{"phase": "{phase.name}"}}'.encode())
    if not fails:
        return "passed"
    last = nodeid(phase, phase.checks[-1])
    journal.add("gate-closed", phase=phase.name, nodeid=last, reason=PAIRS_MESSAGE)
    return "failed"


def _measure(journal: SampleJournal) -> None:
    for name in ("old→old", "old→new", "new→old", "new→new"):
        lost = 6.5 if name == "old→new" else 0
        journal.add(
            "measurement", name="reachability lost", value=lost, unit="pair-seconds", **{"class": name}
        )
    journal.add("measurement", name="pods moved", value=33, unit="pods", phase="drain")
    journal.add("measurement", name="longest eviction", value=31.24, unit="s", phase="drain")
