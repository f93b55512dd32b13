"""Goldpinger's probes of targets other than its peers: names, TCP ports, URLs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.gateway import HttpRequest
from pytest_cnimigrate.simulator.network.goldpinger_settings import GoldpingerSettings
from pytest_cnimigrate.simulator.network.verdict import Verdict
from pytest_cnimigrate.simulator.nodes.programs import Context


@dataclass(frozen=True, slots=True)
class Probe:
    """How one probe went."""

    target: str
    protocol: str
    seconds: float
    error: str = ""

    def result(self, *, legacy: bool) -> Object:
        """On the wire: zeros are left out, as Go's `omitempty` does."""
        result: Object = {} if legacy else {"protocol": self.protocol}
        if int(self.seconds * 1000):
            result["response-time-ms"] = int(self.seconds * 1000)
        if self.error:
            result["error"] = self.error
        return result


async def run_probes(context: Context, settings: GoldpingerSettings) -> list[Probe]:
    """Probe every target, one after the other as goldpinger does. The time is told, not waited for."""
    probes = [_dns(context, name, settings.dns_timeout) for name in settings.dns_targets]
    probes += [_tcp(context, target, settings.tcp_timeout) for target in settings.tcp_targets]
    for url in settings.http_targets:
        probes.append(await _http(context, url, settings.http_timeout))
    return probes


def _dns(context: Context, name: str, timeout: float) -> Probe:
    verdict = context.wire.dataplane.resolve(context.sandbox, name)
    return Probe(name, "dns", _seconds(verdict, timeout), _resolve_error(verdict, name))


def _tcp(context: Context, target: str, timeout: float) -> Probe:
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        return Probe(target, "tcp", 0.0, f"dial tcp: address {target}: missing port in address")
    verdict, error = _connect(context, host, int(port))
    return Probe(target, "tcp", _seconds(verdict, timeout), error)


async def _http(context: Context, url: str, timeout: float) -> Probe:
    """Only the answer 200 counts as success."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return Probe(url, "http", 0.0, f'Get "{url}": unsupported protocol scheme "{parts.scheme}"')
    port = parts.port or (443 if parts.scheme == "https" else 80)
    verdict, error = _connect(context, parts.hostname, port)
    if error:
        return Probe(url, "http", _seconds(verdict, timeout), f'Get "{url}": {error}')
    server = verdict.target.server(verdict.port) if verdict.target is not None else None
    if server is not None:
        request = HttpRequest("GET", parts.path + (f"?{parts.query}" if parts.query else "") or "/")
        response = await server.request(verdict.port, request)
        if response.seconds > timeout:
            return Probe(url, "http", timeout, f'Get "{url}": context deadline exceeded')
        if response.status != 200:
            return Probe(url, "http", _seconds(verdict, timeout), f"bad status code: {response.status}")
    return Probe(url, "http", _seconds(verdict, timeout))


def _connect(context: Context, host: str, port: int) -> tuple[Verdict, str]:
    """Resolve and connect; what the connection came to and, if it failed, Go's words for it."""
    dataplane = context.wire.dataplane
    answer = dataplane.resolve(context.sandbox, host)
    if not answer.ok:
        return answer, f"dial tcp: {_resolve_error(answer, host)}"
    verdict = dataplane.connect(context.sandbox, answer.address, port)
    if verdict.ok:
        return verdict, ""
    where = f"{answer.address}:{port}"
    if verdict.outcome == "refused":
        return verdict, f"dial tcp {where}: connect: connection refused"
    return verdict, f"dial tcp {where}: i/o timeout"


def _resolve_error(verdict: Verdict, name: str) -> str:
    if verdict.ok:
        return ""
    return verdict.reason if verdict.outcome == "refused" else f"lookup {name}: i/o timeout"


def _seconds(verdict: Verdict, timeout: float) -> float:
    return timeout if verdict.outcome == "dropped" else verdict.latency_ms / 1000
