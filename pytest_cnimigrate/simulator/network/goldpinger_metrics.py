"""Goldpinger's Prometheus metrics, in the text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


class GoldpingerMetrics:
    """Counts what one instance does."""

    def __init__(self, instance: str) -> None:
        self._instance = ("goldpinger_instance", instance)
        self._stats: Counter[Labels] = Counter()
        self._errors: Counter[Labels] = Counter()
        self._probe_errors: Counter[tuple[str, Labels]] = Counter()
        self._peers: dict[Labels, Histogram] = {}
        self._master = Histogram()
        self.healthy = 0
        self.unhealthy = 0
        self.all_pass = False

    def count(self, group: str, action: str) -> None:
        """A call `made` or `received`."""
        self._stats[(("action", action), self._instance, ("group", group))] += 1

    def error(self, kind: str) -> None:
        """`ping`, `check`, `kubernetes_api`, …"""
        self._errors[(self._instance, ("type", kind))] += 1

    def probe_error(self, protocol: str, host: str) -> None:
        self._probe_errors[(protocol, (self._instance, ("host", host)))] += 1

    def peer_time(self, call: str, host_ip: str, pod_ip: str, seconds: float) -> None:
        labels = (("call_type", call), self._instance, ("host_ip", host_ip), ("pod_ip", pod_ip))
        self._peers.setdefault(labels, Histogram()).observe(seconds)

    def master_time(self, seconds: float) -> None:
        self._master.observe(seconds)

    def text(self) -> str:
        """Everything, as `/metrics` shows it."""
        lines: list[str] = []

        def family(name: str, kind: str, text: str, samples: list[tuple[Labels, float]]) -> None:
            if samples:
                lines.extend((f"# HELP {name} {text}", f"# TYPE {name} {kind}"))
                lines.extend(f"{name}{_braces(labels)} {_number(value)}" for labels, value in samples)

        family(
            "goldpinger_cluster_health_total",
            "gauge",
            "1 if all check pass, 0 otherwise",
            [((self._instance,), float(self.all_pass))],
        )
        for protocol in ("dns", "tcp", "http"):
            family(
                f"goldpinger_{protocol}_errors_total",
                "counter",
                f"Statistics of {protocol.upper()} errors per instance",
                [(labels, n) for (kind, labels), n in sorted(self._probe_errors.items()) if kind == protocol],
            )
        family(
            "goldpinger_errors_total",
            "counter",
            "Statistics of errors per instance",
            [(labels, n) for labels, n in sorted(self._errors.items())],
        )
        lines += _histogram(
            "goldpinger_kube_master_response_time_s",
            "Histogram of response times from kubernetes API server, when listing other instances",
            {(self._instance,): self._master},
        )
        family(
            "goldpinger_nodes_health_total",
            "gauge",
            "Number of nodes seen as healthy/unhealthy from this instance's POV",
            [
                ((self._instance, ("status", "healthy")), self.healthy),
                ((self._instance, ("status", "unhealthy")), self.unhealthy),
            ],
        )
        lines += _histogram(
            "goldpinger_peers_response_time_s",
            "Histogram of response times from other hosts, when making peer calls",
            dict(sorted(self._peers.items())),
        )
        family(
            "goldpinger_stats_total",
            "counter",
            "Statistics of calls made in goldpinger instances",
            [(labels, n) for labels, n in sorted(self._stats.items())],
        )
        return "\n".join(lines) + "\n"


def _histogram(name: str, text: str, series: dict[Labels, Histogram]) -> list[str]:
    if not series:
        return []
    lines = [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
    for labels, histogram in series.items():
        running = 0
        for bound, count in zip([*map(_number, BUCKETS), "+Inf"], histogram.counts, strict=True):
            running += count
            lines.append(f"{name}_bucket{_braces((*labels, ('le', bound)))} {running}")
        lines.append(f"{name}_sum{_braces(labels)} {_number(histogram.total)}")
        lines.append(f"{name}_count{_braces(labels)} {running}")
    return lines


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
