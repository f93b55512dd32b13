"""GET from a pod's port through the API server's proxy, and telling the two apart when it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_cnimigrate.kube import paths
from pytest_cnimigrate.kube.errors import PodUnreachable, from_status
from pytest_cnimigrate.kube.retrying import Timeouts
from pytest_cnimigrate.kube.transport import Answer, Request, Transport, parse_retry_after, status_of
from pytest_cnimigrate.model.resources import Resource


@dataclass(frozen=True, slots=True)
class ProxyAnswer:
    """What a pod answered through the API server's proxy; any status is an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def proxy_get(
    transport: Transport,
    resource: Resource,
    name: str,
    namespace: str,
    *,
    port: int | str,
    path: str,
    timeouts: Timeouts | None = None,
) -> ProxyAnswer:
    """GET `path` from a port of a pod or service."""
    if not path.startswith("/"):
        raise ValueError(f"the path {path!r} should begin with /")
    base = paths.single(resource, f"{name}:{port}", namespace, subresource="proxy")
    target = paths.spoken(resource, f"{name}:{port}{path}", namespace)
    request = Request("proxy", target, base + path, raw=True)
    answer = transport.send(request, timeouts=timeouts)
    if answer.status >= 400:
        _raise_if_own(transport, request, answer)
    return ProxyAnswer(answer.status, answer.headers, answer.body)


def _raise_if_own(transport: Transport, request: Request, answer: Answer) -> None:
    """Raise when it is the API server itself that speaks, and not the pod behind it."""
    status = status_of(answer)
    if status is None and answer.body.lower().startswith(b"error trying to reach service"):
        # The proxy's own round tripper answers some dial errors in plain text.
        status = {"message": answer.body[:300].decode("utf-8", "replace").strip()}
    if status is None:
        return
    attempt = transport.attempt_of(request)
    if answer.status in (502, 503, 504):
        raise PodUnreachable(
            attempt,
            status.get("message") or "no reason given",
            status=answer.status,
            reason=status.get("reason") or "",
        )
    raise from_status(attempt, answer.status, status, retry_after=parse_retry_after(answer.headers))
