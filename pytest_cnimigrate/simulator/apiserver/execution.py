"""`pods/exec` over WebSocket: `v5.channel.k8s.io` and `v4.channel.k8s.io`, one byte of channel a message."""

from __future__ import annotations

from typing import Final

import orjson
from aiohttp import WSMsgType, web

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.calls import Call
from pytest_cnimigrate.simulator.apiserver.errors import bad_request, status_of
from pytest_cnimigrate.simulator.apiserver.requests import is_true
from pytest_cnimigrate.simulator.apiserver.subresources import container_of
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.gateway import ExecResult, GatewayError, KubeletGateway

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDOUT, STDERR, ERROR = 1, 2, 3


async def execute(server: ApiServer, call: Call, gateway: KubeletGateway | None) -> web.StreamResponse:
    """Run a command and send what it wrote and how it ended.

    The command gets no input: `-i` is accepted, so that scripts which always pass it work, and what arrives
    is read and dropped. A client that insists on SPDY (kubectl before 1.29) gets a clear 400.
    """
    pod, container = container_of(server, call)
    command = call.request.query.getall("command", [])
    if not command:
        raise bad_request("you must specify at least 1 command for the container")
    socket = web.WebSocketResponse(protocols=PROTOCOLS)
    if not socket.can_prepare(call.request).ok:
        raise bad_request("exec in the embedded cluster needs a WebSocket (kubectl 1.29 or newer)")
    if gateway is None:
        raise ApiError(500, "InternalError", "error dialing backend: this cluster has no nodes")
    await socket.prepare(call.request)
    try:
        result = await gateway.execute(pod, container, command)
    except GatewayError as error:
        # As the kubelet does: the upgrade succeeds, and the error's own channel tells what went wrong.
        await socket.send_bytes(bytes([ERROR]) + orjson.dumps(_internal_error(str(error))))
    else:
        await _send(socket, call, result)
    await socket.close()
    async for message in socket:
        if message.type in (WSMsgType.CLOSE, WSMsgType.ERROR):
            break
    return socket


async def _send(socket: web.WebSocketResponse, call: Call, result: ExecResult) -> None:
    for channel, flag, text in ((STDOUT, "stdout", result.stdout), (STDERR, "stderr", result.stderr)):
        if text and is_true(call.query, flag):
            await socket.send_bytes(bytes([channel]) + text.encode())
    await socket.send_bytes(bytes([ERROR]) + orjson.dumps(_status(result)))


def _internal_error(text: str) -> Object:
    error = ApiError(500, "InternalError", f"Internal error occurred: {text}")
    error.details["causes"] = [{"message": text}]
    return status_of(error)


def _status(result: ExecResult) -> Object:
    if result.exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    cause = {"reason": "ExitCode", "message": str(result.exit_code)}
    return {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: "
        f"command terminated with exit code {result.exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [cause]},
    }
