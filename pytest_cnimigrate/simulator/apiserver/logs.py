"""`pods/log`: what a container has written."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import PODS
from pytest_cnimigrate.simulator.apiserver.calls import Call
from pytest_cnimigrate.simulator.apiserver.errors import bad_request
from pytest_cnimigrate.simulator.apiserver.requests import is_true
from pytest_cnimigrate.simulator.apiserver.subresources import container_of, log_options, waiting_reason
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.gateway import GatewayError, KubeletGateway

FOLLOW_PERIOD: Final = 0.2
"""Wall seconds between looks at a log that is followed: the gateway has no way to be told of new lines."""


async def logs(server: ApiServer, call: Call, gateway: KubeletGateway | None) -> web.StreamResponse:
    """The lines so far, and with `follow` those to come until the pod is gone."""
    pod, container = container_of(server, call)
    tail, limit, previous = log_options(call)
    reason = "" if previous else waiting_reason(pod, container)
    if reason or gateway is None:
        raise bad_request(reason or "this cluster has no nodes")
    lines = await _read(gateway, pod, container, previous=previous)
    shown = lines[-tail:] if tail else [] if tail == 0 else lines
    text = _text(shown)[:limit] if limit is not None else _text(shown)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    try:
        await response.prepare(call.request)
        await response.write(text)
        if is_true(call.query, "follow"):
            await _follow(server, call, gateway, response, container, seen=len(lines))
        await response.write_eof()
    except ConnectionResetError:
        pass  # the reader has seen enough
    return response


async def _read(gateway: KubeletGateway, pod: Object, container: str, *, previous: bool) -> list[str]:
    try:
        return await gateway.logs(pod, container, previous=previous)
    except GatewayError as error:
        raise bad_request(str(error)) from error


async def _follow(
    server: ApiServer,
    call: Call,
    gateway: KubeletGateway,
    response: web.StreamResponse,
    container: str,
    *,
    seen: int,
) -> None:
    while (entry := server.table(PODS).get(call.info.namespace, call.info.name)) is not None:
        try:
            lines = await gateway.logs(entry.obj, container)
        except GatewayError:
            return
        if len(lines) > seen:
            await response.write(_text(lines[seen:]))
            seen = len(lines)
        await asyncio.sleep(FOLLOW_PERIOD)


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
