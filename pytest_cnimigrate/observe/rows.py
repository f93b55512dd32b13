"""One goldpinger pod's answer to `/check`, read into a compact row of the matrix.

A mesh of 1,000 pods has a million pairs, so a row keeps arrays instead of an object a pair.
"""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from pytest_cnimigrate.model.objects import Object, is_terminating, name_of, uid_of

OTHER = "other"
"""The class of nodes that nobody has classified."""

NEVER = float("-inf")
"""The time of a ping that has none (goldpinger writes year 1 before the first)."""


class State(enum.IntEnum):
    """What is known of one ordered pair of pods; the number is its code in a row."""

    NONE = 0
    """Not expected: goldpinger left out its own pod."""
    OK = 1
    FAILED = 2
    STALE = 3
    """There is a result, but an old one: before the barrier, or for an address that the target had before."""
    UNKNOWN = 4
    """The prober could not be asked."""
    ABSENT = 5
    """The prober has answered, without a result for this target (it has not pinged it yet)."""

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class PodRow:
    """A goldpinger pod as the API knows it: a prober and a target."""

    name: str
    uid: str
    node: str
    node_class: str
    pod_ips: tuple[str, ...] = ()
    host_ip: str = ""
    silent: str = ""
    """Why it cannot answer (not running yet), or "" if it should."""

    def __str__(self) -> str:
        return f"{self.name} on node {self.node}" if self.node else f"{self.name} (not scheduled)"


@dataclass(frozen=True, slots=True)
class TargetResult:
    """A pod's probe of something other than its peers: a name to resolve, a TCP or HTTP target."""

    host: str
    protocol: str
    """`dns`, `tcp` or `http`."""
    ok: bool
    reason: str = ""
    latency_ms: int = 0


@dataclass(slots=True)
class Row:
    """What one prober says of all targets, in the roster's order."""

    codes: bytes
    times: array[float] = field(default_factory=lambda: array("d"))
    """When the prober pinged, by its own clock, in seconds; `NEVER` where it has not."""
    latencies: array[int] = field(default_factory=lambda: array("i"))
    """Milliseconds."""
    reasons: dict[int, str] = field(default_factory=dict)
    """By target: why it failed, or why it is stale."""
    newest: float = NEVER
    """The newest ping of all, also of targets that are no longer there."""
    probes: tuple[TargetResult, ...] = ()
    silent: str = ""
    """Why the prober could not be asked; its pairs are then unknown."""


class Roster:
    """The pods that count, and where each stands in a row: sorted by class, so that classes are slices."""

    def __init__(self, pods: Iterable[PodRow]) -> None:
        self.pods: tuple[PodRow, ...] = tuple(
            sorted(pods, key=lambda pod: (pod.node_class, pod.node, pod.name))
        )
        self.index: dict[str, int] = {pod.name: place for place, pod in enumerate(self.pods)}
        self.nodes: frozenset[str] = frozenset(pod.node for pod in self.pods)

    def __len__(self) -> int:
        return len(self.pods)

    def classes(self) -> dict[str, tuple[int, int]]:
        """Each class's slice."""
        slices: dict[str, tuple[int, int]] = {}
        for place, pod in enumerate(self.pods):
            start, _ = slices.get(pod.node_class, (place, place))
            slices[pod.node_class] = (start, place + 1)
        return slices


def pod_rows(pods: Iterable[Object], classes: Mapping[str, str]) -> list[PodRow]:
    """The pods that count: not those that are being deleted or have ended.

    Goldpinger itself still pings terminating pods (goldpinger#87), and evicted ones stay listed as Failed.
    """
    rows = []
    for pod in pods:
        status = pod.get("status") or {}
        phase = status.get("phase", "Pending")
        if is_terminating(pod) or phase in ("Succeeded", "Failed"):
            continue
        node = pod["spec"].get("nodeName", "")
        addresses = [entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip")]
        if not addresses and status.get("podIP"):
            addresses = [status["podIP"]]
        rows.append(
            PodRow(
                name=name_of(pod),
                uid=uid_of(pod),
                node=node,
                node_class=classes.get(node, OTHER),
                pod_ips=tuple(addresses),
                host_ip=status.get("hostIP", ""),
                silent="" if phase == "Running" else f"the pod is {phase}",
            )
        )
    return rows


def silent_row(roster: Roster, reason: str) -> Row:
    """The row of a prober that could not be asked."""
    return Row(codes=bytes([State.UNKNOWN]) * len(roster), silent=reason)


def parse_check(body: bytes | Object, prober: PodRow, roster: Roster) -> Row:
    """Read a `/check` body: `podResults`, and `probeResults` (goldpinger 3.6 and newer) or `dnsResults`."""
    if isinstance(body, bytes):
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError:
            return silent_row(roster, "its answer is not JSON")
    if not isinstance(body, dict):
        return silent_row(roster, "its answer is no JSON object")
    results = body.get("podResults") or {}
    if results and not roster.index.keys() & results.keys() and roster.nodes & results.keys():
        # Pods of a DaemonSet and a Deployment on one node then overwrite each other's results.
        return silent_row(roster, "goldpinger runs with DISPLAY_NODENAME=true, which hides pods: unset it")
    row = _pair_results(results, roster)
    own = roster.index.get(prober.name)
    if own is not None and row.codes[own] == State.ABSENT:
        codes = bytearray(row.codes)
        codes[own] = State.NONE
        row.codes = bytes(codes)
    row.probes = tuple(_probe_results(body))
    return row


def _pair_results(results: Mapping[str, Any], roster: Roster) -> Row:
    # The hot loop: a million turns for 1,000 pods.
    size = len(roster)
    codes = bytearray([State.ABSENT]) * size
    times = array("d", [NEVER]) * size
    latencies = array("i", [0]) * size
    reasons: dict[int, str] = {}
    newest = NEVER
    place_of = roster.index.get
    pods = roster.pods
    ok, failed, stale = int(State.OK), int(State.FAILED), int(State.STALE)
    for name, result in results.items():
        text = result.get("PingTime")
        pinged = _moment(text) if text else NEVER
        if pinged > newest:
            newest = pinged
        place = place_of(name)
        if place is None:
            continue  # deleted, or on its way out
        times[place] = pinged
        latencies[place] = result.get("response-time-ms") or 0
        address = result.get("PodIP", "")
        addresses = pods[place].pod_ips
        if result.get("OK"):
            codes[place] = ok
        else:
            codes[place] = failed
            reasons[place] = result.get("error") or "no reason given"
        if addresses and address not in addresses and not _same_address(address, addresses):
            codes[place] = stale
            reasons[place] = f"pinged at {address or 'no address'}, the pod has {addresses[0]} now"
    return Row(bytes(codes), times, latencies, reasons, newest)


def _moment(text: str) -> float:
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return NEVER


def _same_address(address: str, addresses: Sequence[str]) -> bool:
    """Whether it is one of them in another spelling (IPv6)."""
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(wanted == ipaddress.ip_address(other) for other in addresses)


def _probe_results(body: Object) -> Iterable[TargetResult]:
    for host, results in (body.get("probeResults") or {}).items():
        for result in results or ():
            yield _probe_result(host, result.get("protocol") or "dns", result)
    for host, result in (body.get("dnsResults") or {}).items():
        yield _probe_result(host, "dns", result)


def _probe_result(host: str, protocol: str, result: Object) -> TargetResult:
    reason = result.get("error") or ""
    return TargetResult(host, protocol, not reason, reason, result.get("response-time-ms") or 0)


def remap(row: Row, old: Roster, new: Roster) -> Row:
    """The row in another roster's order; targets that the old one did not have are absent."""
    if row.silent:
        return silent_row(new, row.silent)
    places = [
        place if place is not None and old.pods[place].uid == pod.uid else None
        for pod, place in ((pod, old.index.get(pod.name)) for pod in new.pods)
    ]
    return Row(
        codes=bytes(State.ABSENT if place is None else row.codes[place] for place in places),
        times=array("d", (NEVER if place is None else row.times[place] for place in places)),
        latencies=array("i", (0 if place is None else row.latencies[place] for place in places)),
        reasons={
            here: row.reasons[place]
            for here, place in enumerate(places)
            if place is not None and place in row.reasons
        },
        newest=row.newest,
        probes=row.probes,
    )
