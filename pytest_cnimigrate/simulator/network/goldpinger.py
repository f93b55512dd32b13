"""Goldpinger: pings its peers over the simulated data plane and tells it on the real wire format.

Behaviour and shapes follow goldpinger 3.10 and, by the image's tag, 3.5; see the recordings. What a client
must cope with is kept: results are as old as the last ping, peers are found once an interval (Terminating
ones included), `/cluster_health` compares lists of peers and never looks at the pings, zeros and empty fields
are absent, empty lists are null.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from pytest_cnimigrate.model.objects import Object, labels_of, name_of, namespace_of
from pytest_cnimigrate.model.resources import PODS
from pytest_cnimigrate.model.selectors import matches, parse_label_selector
from pytest_cnimigrate.simulator.gateway import HttpRequest, HttpResponse
from pytest_cnimigrate.simulator.network.access import PodReader
from pytest_cnimigrate.simulator.network.goldpinger_metrics import GoldpingerMetrics
from pytest_cnimigrate.simulator.network.goldpinger_probes import run_probes
from pytest_cnimigrate.simulator.network.goldpinger_settings import GoldpingerSettings, read_settings
from pytest_cnimigrate.simulator.network.wire import WireError
from pytest_cnimigrate.simulator.nodes.programs import Context, Program

SLOTS = 5
"""Pings are spread over the interval in so many groups; every peer keeps its place."""
PROCESSOR_SHARE = 0.25
"""All instances together take at most this share of the processor; with many peers the interval grows."""
NO_ADDRESS = "Host or pod IP empty, can't make a call"


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    host_ip: str
    pod_ip: str

    def address(self, settings: GoldpingerSettings) -> str:
        return self.host_ip if settings.use_host_ip else self.pod_ip


class Goldpinger(Program):
    """One instance."""

    shutdown_seconds = 0.2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = GoldpingerSettings(legacy=False)
        self._boot_time = now()
        self._pings: dict[str, Object] = {}
        """Peer -> the last ping's PodResult."""
        self._peers: dict[str, Peer] = {}
        """Who is pinged, as of the last refresh."""
        self._metrics = GoldpingerMetrics("")
        self._listening = False
        self._pods = context.informers.of(PODS)
        self._access = PodReader(
            context.informers,
            namespace=context.namespace,
            service_account=context.pod["spec"].get("serviceAccountName") or "default",
        )

    async def run(self) -> int:
        context = self.context
        try:
            self._settings = read_settings(context.env, image=context.container["image"])
            self._selector = parse_label_selector(self._settings.label_selector)
        except ValueError as error:
            context.print(f"{error}")
            return 1
        self._metrics = GoldpingerMetrics(self._settings.instance or name_of(context.pod))
        await context.pace.sleep(0.2, jitter=0.5)
        await self._access.wait_synced()
        self._listening = True
        self._boot_time = now()
        context.set_ready(True)
        if self._settings.refresh_interval <= 0:
            await asyncio.Event().wait()
        work = 0.0
        while True:
            self._refresh()
            interval = self._settings.refresh_interval * (
                1 + context.pace.random.uniform(-self._settings.jitter, self._settings.jitter)
            )
            least = work * max(1, len(self._peers)) / PROCESSOR_SHARE
            pause = max(context.pace.wall(interval), least) / SLOTS
            spent = 0.0
            for slot in range(SLOTS):
                await asyncio.sleep(pause)
                spent += await self._ping_slot(slot)
            # Smoothed, so that one slow round (a garbage collection) does not stretch the next one.
            work = 0.8 * work + 0.2 * spent

    # Pinging

    def _select(self) -> dict[str, Peer]:
        """The peers by the API as of now, under the name they have in results."""
        settings, started = self._settings, time.monotonic()
        namespace = self.context.namespace if settings.namespace is None else settings.namespace
        if not self._access.may_list(namespace):
            account = self.context.pod["spec"].get("serviceAccountName") or "default"
            self.context.print(
                "Error getting pods for selector: pods is forbidden: User "
                f'"system:serviceaccount:{self.context.namespace}:{account}" cannot list resource "pods"'
            )
            self._metrics.error("kubernetes_api")
            return {}
        peers = {}
        for pod in self._pods.all():
            if namespace and namespace_of(pod) != namespace:
                continue
            if pod["status"].get("phase") != "Running" or not matches(self._selector, labels_of(pod)):
                continue
            name = pod["spec"]["nodeName"] if settings.display_node_name else name_of(pod)
            peers[name] = Peer(name, pod["status"].get("hostIP", ""), pod["status"].get("podIP", ""))
        self._metrics.master_time(time.monotonic() - started)
        if 0 < settings.ping_number < len(peers):
            # Rendezvous hashing: each instance pings its own stable subset.
            own = name_of(self.context.pod)
            chosen = sorted(peers, key=lambda name: zlib.crc32(f"{own} {name}".encode()))
            peers = {name: peers[name] for name in chosen[: settings.ping_number]}
        return peers

    def _refresh(self) -> None:
        """Find the peers again; results of those that are gone are dropped, new ones wait for their place."""
        self._peers = self._select()
        for name in self._pings.keys() - self._peers.keys():
            del self._pings[name]

    async def _ping_slot(self, slot: int) -> float:
        """Ping the peers whose place this is; returns the processor time that it took, in seconds."""
        started = time.thread_time()
        waiting = []
        for peer in list(self._peers.values()):
            if zlib.crc32(peer.name.encode()) % SLOTS == slot and not self._ping(peer):
                waiting.append(peer)
        work = time.thread_time() - started
        if waiting:
            pinged = now()
            await self.context.pace.sleep(self._settings.ping_timeout)
            for peer in waiting:
                self._timed_out(peer, pinged)
        self._rate()
        return work

    def _ping(self, peer: Peer) -> bool:
        """Ping a peer that answers, in either way, at once; False for one that does not answer."""
        self._metrics.count("made", "ping")
        pinged, address, port = now(), peer.address(self._settings), self._settings.client_port
        if not peer.host_ip or not peer.pod_ip:
            self._failed(peer, pinged, NO_ADDRESS, status=500)
            return True
        verdict = self.context.wire.dataplane.connect(self.context.sandbox, address, port)
        if verdict.outcome == "dropped":
            return False
        server = verdict.target.server(verdict.port) if verdict.target is not None else None
        if not isinstance(server, Goldpinger):
            error = (
                f'Get "http://{address}:{port}/ping": dial tcp {address}:{port}: connect: connection refused'
            )
            self._failed(peer, pinged, error, status=504)
            return True
        self._metrics.peer_time("ping", peer.host_ip, peer.pod_ip, verdict.latency_ms / 1000)
        result: Object = {
            "HostIP": peer.host_ip,
            "OK": True,
            "PingTime": pinged,
            "PodIP": peer.pod_ip,
            "response": server.ping(),
            "status-code": 200,
        }
        if int(verdict.latency_ms):
            result["response-time-ms"] = int(verdict.latency_ms)
        self._pings[peer.name] = result
        return True

    def ping(self) -> Object:
        """PingResults, as `/ping` answers them."""
        self._metrics.count("received", "ping")
        return {"boot_time": self._boot_time}

    def _timed_out(self, peer: Peer, pinged: str) -> None:
        if peer.name not in self._peers:
            return
        url = f"http://{peer.address(self._settings)}:{self._settings.client_port}/ping"
        timeout = self._settings.ping_timeout
        self._metrics.peer_time("ping", peer.host_ip, peer.pod_ip, timeout)
        self._failed(peer, pinged, f'Get "{url}": context deadline exceeded', status=504, seconds=timeout)

    def _failed(self, peer: Peer, pinged: str, error: str, *, status: int, seconds: float = 0.0) -> None:
        self._metrics.error("ping")
        result: Object = {"OK": False, "PingTime": pinged, "error": error, "status-code": status}
        # Empty addresses are left out like all that is empty.
        result |= {"HostIP": peer.host_ip} if peer.host_ip else {}
        result |= {"PodIP": peer.pod_ip} if peer.pod_ip else {}
        if int(seconds * 1000):
            result["response-time-ms"] = int(seconds * 1000)
        self._pings[peer.name] = result

    def _rate(self) -> None:
        healthy = sum(result["OK"] for result in self._pings.values())
        self._metrics.healthy, self._metrics.unhealthy = healthy, len(self._pings) - healthy
        self._metrics.all_pass = healthy == len(self._pings)

    # Answering

    def listens(self, port: int, protocol: str = "tcp") -> bool:
        return self._listening and port == self._settings.port and protocol == "tcp"

    async def request(self, port: int, request: HttpRequest) -> HttpResponse:
        """Answer as goldpinger's server does; raises `ConnectionResetError` where it would panic."""
        path = request.path.partition("?")[0]
        if request.method not in ("GET", "HEAD"):
            return _json({"code": 405, "message": f"method {request.method} is not allowed"}, status=405)
        match path:
            case "/ping":
                return _json(self.ping())
            case "/check":
                self._metrics.count("received", "check")
                body, seconds = await self.check()
                return _json(body, seconds=seconds)
            case "/check_all":
                self._metrics.count("received", "check_all")
                return _json(await self._check_all(self._select()))
            case "/cluster_health":
                self._metrics.count("received", "cluster_health")
                health = await self._cluster_health()
                return _json(health, status=200 if health["OK"] else 418)
            case "/healthz":
                self._metrics.count("received", "healthz")
                return _json({"OK": True, "duration-ns": 421, "generated-at": now()})
            case "/metrics":
                return HttpResponse(200, self._metrics.text().encode(), {"Content-Type": METRICS_TYPE})
            case "/":
                return HttpResponse(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})
        return _json({"code": 404, "message": f"path {path} was not found"}, status=404)

    async def check(self) -> tuple[Object, float]:
        """CheckResults: the last pings, and probes of the targets made now; and how long these took."""
        body: Object = {}
        if self._pings:
            body["podResults"] = dict(self._pings)
        probes = await run_probes(self.context, self._settings)
        for probe in probes:
            result = probe.result(legacy=self._settings.legacy)
            if self._settings.legacy:
                body.setdefault("dnsResults", {})[probe.target] = result
            else:
                body.setdefault("probeResults", {}).setdefault(probe.target, []).append(result)
            if probe.error:
                self._metrics.probe_error(probe.protocol, probe.target)
        return body, sum(probe.seconds for probe in probes)

    async def _check_all(self, peers: Mapping[str, Peer]) -> Object:
        """CheckAllResults: every peer's `/check`, asked from here."""
        answers = await asyncio.gather(*(self._check_peer(peer) for peer in peers.values()))
        hosts = [{"hostIP": p.host_ip, "podIP": p.pod_ip, "podName": p.name} for p in peers.values()]
        self.context.pace.random.shuffle(hosts)
        results: Object = {"hosts": hosts or None}
        if peers:
            results["responses"] = dict(zip(peers, answers, strict=True))
        key = "dnsResults" if self._settings.legacy else "probeResults"
        for name, answer in zip(peers, answers, strict=True):
            for host, probed in answer.get("response", {}).get(key, {}).items():
                results.setdefault(key, {}).setdefault(host, {})[name] = probed
        return results

    async def _check_peer(self, peer: Peer) -> Object:
        """CheckAllPodResult of one peer."""
        self._metrics.count("made", "check")
        result: Object = {"OK": False}
        result |= {"HostIP": peer.host_ip} if peer.host_ip else {}
        result |= {"PodIP": peer.pod_ip} if peer.pod_ip else {}
        if not peer.host_ip or not peer.pod_ip:
            return result | {"error": NO_ADDRESS}
        settings, address = self._settings, peer.address(self._settings)
        started = time.monotonic()
        try:
            response = await self.context.wire.request(
                self.context.sandbox,
                address,
                settings.client_port,
                HttpRequest("GET", "/check"),
                timeout=min(settings.check_timeout, settings.check_all_timeout),
            )
            body = orjson.loads(response.body)
        except (WireError, ValueError) as error:
            self._metrics.error("check")
            return result | {"error": f'Get "http://{address}:{settings.client_port}/check": {error}'}
        self._metrics.peer_time("check", peer.host_ip, peer.pod_ip, time.monotonic() - started)
        return result | {"OK": True, "response": body}

    async def _cluster_health(self) -> Object:
        """ClusterHealthResults: who answers, and whether all know the same peers; pings are not looked at."""
        started, generated = time.perf_counter_ns(), now()
        peers = self._select()
        answers = (await self._check_all(peers)).get("responses", {})
        expected = sorted(peer.host_ip for peer in peers.values())
        healthy: list[str] = []
        unhealthy: list[str] = []
        ok = True
        for answer in answers.values():
            (healthy if answer["OK"] else unhealthy).append(answer.get("HostIP", ""))
            observed = sorted(
                result.get("HostIP", "")
                for result in answer.get("response", {}).get("podResults", {}).values()
            )
            if len(observed) > len(expected) and observed[: len(expected)] == expected:
                # Upstream indexes past the end of the shorter list here and its handler panics (<= 3.10.2).
                raise ConnectionResetError("runtime error: index out of range")
            ok = ok and answer["OK"] and observed == expected
        self.context.pace.random.shuffle(healthy)
        results: Object = {
            "OK": ok,
            "duration-ns": time.perf_counter_ns() - started,
            "generated-at": generated,
            "nodesHealthy": healthy or None,
            "nodesUnhealthy": unhealthy or None,
        }
        if peers:
            results["nodesTotal"] = len(peers)
        return results


METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
PAGE = b"<!DOCTYPE html><html><head><title>Goldpinger</title></head><body>Goldpinger</body></html>\n"


def now() -> str:
    """`strfmt.DateTime`: RFC 3339 with milliseconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(body: Object, *, status: int = 200, seconds: float = 0.0) -> HttpResponse:
    """Go writes maps in the order of their keys, and a line feed at the end."""
    data = orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    return HttpResponse(status, data, {"Content-Type": "application/json"}, seconds)
