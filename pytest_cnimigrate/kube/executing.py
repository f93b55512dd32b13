"""Commands in a container, over the exec subresource's websocket (`v5.channel.k8s.io` or `v4`).

An own loop rather than `kubernetes.stream`: that one patches a method of the shared client while it runs,
has no time limit for the handshake, and turns every failure into one exception with status 0.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
import orjson
import websocket
from websocket import ABNF

from pytest_cnimigrate.kube.errors import (
    ApiTimeout,
    ApiUnreachable,
    Attempt,
    KubeError,
    Untrusted,
    from_status,
)

PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
_STDOUT, _STDERR, _ERROR = 1, 2, 3


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command in a container ended."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""


def execute(
    configuration: Any, url: str, headers: dict[str, str], *, attempt: Attempt, timeout: float
) -> ExecResult:
    """Run the command that `url` describes and wait for its end, at most `timeout` seconds.

    A non-zero exit code is a result, not an error. Raises `KubeError`: `ApiTimeout` when the command did
    not end in time (it may go on running in the container).
    """
    deadline = time.monotonic() + timeout
    socket = websocket.WebSocket(sslopt=_tls_options(configuration), skip_utf8_validation=True)
    try:
        socket.connect(  # type: ignore[no-untyped-call]  # websocket-client is half typed
            "ws" + url.removeprefix("http"),
            header=[f"{key}: {value}" for key, value in headers.items() if key.lower() in _PASSED_ON],
            subprotocols=PROTOCOLS,
            timeout=timeout,
            suppress_origin=True,
            redirect_limit=0,
            **_proxy_options(configuration),
        )
        return _collect(socket, attempt, deadline, timeout)
    except websocket.WebSocketBadStatusException as error:
        raise _refused(attempt, error) from error
    except (websocket.WebSocketTimeoutException, TimeoutError) as error:
        raise ApiTimeout(attempt, f"the command did not end within {timeout:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(attempt, f"its certificate is not trusted: {error}") from error
    except (websocket.WebSocketException, OSError) as error:
        raise ApiUnreachable(attempt, f"the connection broke: {error}") from error
    finally:
        socket.shutdown()  # type: ignore[no-untyped-call]


_PASSED_ON = frozenset({"authorization", "user-agent"})


def _collect(socket: websocket.WebSocket, attempt: Attempt, deadline: float, timeout: float) -> ExecResult:
    """Read channel by channel until the error channel says how it ended."""
    channels: dict[int, list[bytes]] = {_STDOUT: [], _STDERR: [], _ERROR: []}
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise ApiTimeout(attempt, f"the command did not end within {timeout:g} s")
        socket.settimeout(remaining)
        try:
            code, frame = socket.recv_data_frame(True)
        except websocket.WebSocketConnectionClosedException:
            break  # without a close frame; whether that was too early shows in the error channel
        if code in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) and frame.data:
            # v5's channel 255 announces that a channel was closed: nothing to collect.
            if frame.data[0] in channels:
                channels[frame.data[0]].append(frame.data[1:])
        elif code == ABNF.OPCODE_CLOSE:
            break
    stdout, stderr, ended = (b"".join(channels[number]) for number in (_STDOUT, _STDERR, _ERROR))
    return ExecResult(
        _exit_code(attempt, ended), stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace")
    )


def _exit_code(attempt: Attempt, ended: bytes) -> int:
    """The exit code in the Status that the error channel carries."""
    if not ended:
        raise ApiUnreachable(attempt, "the connection closed before the command ended")
    status = orjson.loads(ended)
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    # The runtime could not start it at all: no such container, no such program, ….
    raise from_status(attempt, int(status.get("code") or 500), status)


def _refused(attempt: Attempt, error: websocket.WebSocketBadStatusException) -> KubeError:
    body = error.resp_body or b""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = {"message": bytes(body[:300]).decode("utf-8", "replace").strip() or str(error)}
    return from_status(attempt, error.status_code, status)


def _tls_options(configuration: Any) -> dict[str, Any]:
    if not configuration.verify_ssl:
        options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    else:
        options = {
            "cert_reqs": ssl.CERT_REQUIRED,
            "ca_certs": configuration.ssl_ca_cert or certifi.where(),
        }
    if configuration.cert_file:
        options["certfile"] = configuration.cert_file
    if configuration.key_file:
        options["keyfile"] = configuration.key_file
    if configuration.tls_server_name:
        options["server_hostname"] = configuration.tls_server_name
    return options


def _proxy_options(configuration: Any) -> dict[str, Any]:
    """The proxy that the configuration names; without one none at all, whatever the environment says."""
    if not configuration.proxy:
        # websocket-client looks into the environment unless a proxy is named: name one, use it for nothing.
        return {"http_proxy_host": "none", "http_proxy_port": 1, "http_no_proxy": ["*"]}
    parsed = urlsplit(configuration.proxy)
    options: dict[str, Any] = {
        "http_proxy_host": parsed.hostname,
        "http_proxy_port": parsed.port or 80,
        "http_no_proxy": [entry.strip() for entry in (configuration.no_proxy or "").split(",") if entry],
        "proxy_type": parsed.scheme if parsed.scheme.startswith("socks") else "http",
    }
    if parsed.username:
        options["http_proxy_auth"] = (unquote(parsed.username), unquote(parsed.password or ""))
    return options
