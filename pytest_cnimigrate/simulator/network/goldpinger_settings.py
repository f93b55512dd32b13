"""Goldpinger's settings from its environment, for the two wire formats."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GoldpingerSettings:
    """Durations are in simulated seconds."""

    legacy: bool
    """Whether this is a 3.5: DNS results only, under `dnsResults`, and timeouts only as `*_MS`."""
    port: int = 8080
    client_port: int = 8080
    refresh_interval: float = 30.0
    jitter: float = 0.05
    label_selector: str = "app=goldpinger"
    namespace: str | None = None
    """None: the pod's own; "": all."""
    instance: str = ""
    display_node_name: bool = False
    use_host_ip: bool = False
    ping_number: int = 0
    dns_targets: tuple[str, ...] = ()
    tcp_targets: tuple[str, ...] = ()
    http_targets: tuple[str, ...] = ()
    ping_timeout: float = 0.3
    check_timeout: float = 1.0
    check_all_timeout: float = 5.0
    dns_timeout: float = 0.5
    tcp_timeout: float = 0.5
    http_timeout: float = 0.5


def is_legacy(image: str) -> bool:
    """Whether the image is a 3.5, by its tag; all others are taken for 3.10."""
    return re.search(r":v?3\.5(\.|$|-)", image) is not None


def read_settings(env: Mapping[str, str], *, image: str) -> GoldpingerSettings:
    """The settings; raises `ValueError` with the variable's name for what goldpinger could not parse."""
    legacy = is_legacy(image)

    def timeout(name: str, default: float) -> float:
        if not legacy and env.get(name):
            return _duration(name, env[name])
        if env.get(f"{name}_MS"):
            return float(_number(f"{name}_MS", env[f"{name}_MS"])) / 1000
        return default

    port = int(_number("PORT", env.get("PORT") or "8080"))
    return GoldpingerSettings(
        legacy=legacy,
        port=port,
        client_port=int(_number("CLIENT_PORT_OVERRIDE", env.get("CLIENT_PORT_OVERRIDE") or str(port))),
        refresh_interval=_number("REFRESH_INTERVAL", env.get("REFRESH_INTERVAL") or "30"),
        jitter=_number("JITTER_FACTOR", env.get("JITTER_FACTOR") or "0.05"),
        label_selector=env.get("LABEL_SELECTOR") or "app=goldpinger",
        namespace=env.get("NAMESPACE"),
        instance=env.get("HOSTNAME", ""),
        display_node_name=env.get("DISPLAY_NODENAME", "").lower() in ("1", "true"),
        use_host_ip=env.get("USE_HOST_IP", "").lower() in ("1", "true"),
        ping_number=int(_number("PING_NUMBER", env.get("PING_NUMBER") or "0")),
        dns_targets=tuple(env.get("HOSTS_TO_RESOLVE", "").split()),
        tcp_targets=() if legacy else tuple(env.get("TCP_TARGETS", "").split()),
        http_targets=() if legacy else tuple(env.get("HTTP_TARGETS", "").split()),
        ping_timeout=timeout("PING_TIMEOUT", 0.3),
        check_timeout=timeout("CHECK_TIMEOUT", 1.0),
        check_all_timeout=timeout("CHECK_ALL_TIMEOUT", 5.0),
        dns_timeout=timeout("DNS_TARGETS_TIMEOUT", 0.5),
        tcp_timeout=timeout("TCP_TARGETS_TIMEOUT", 0.5),
        http_timeout=timeout("HTTP_TARGETS_TIMEOUT", 0.5),
    )


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a number") from None


def _duration(name: str, text: str) -> float:
    """Go's `300ms`, `1s`, `1m30s`."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6}
    parts = re.findall(r"([\d.]+)(ms|us|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{name}: {text!r} is not a duration")
    return sum(float(number) * units[unit] for number, unit in parts)
