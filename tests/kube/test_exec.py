"""Commands in a container, over real websockets."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from aiohttp import WSMsgType, web

from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.kube.errors import ApiTimeout, ApiUnreachable, BadRequest, NotFound, ServerError

SUCCESS = json.dumps({"status": "Success", "metadata": {}}).encode()


def failure(reason, code, *, message="", causes=()):
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return json.dumps(status | {"message": message, "details": {"causes": list(causes)}}).encode()


class Container:
    """An exec endpoint that plays what a test puts into `play`."""

    def __init__(self):
        self.url = ""
        self.requests = []
        self.play = None
        self.protocols = ("v5.channel.k8s.io", "v4.channel.k8s.io")

    async def serve(self, request):
        self.requests.append(request)
        if isinstance(self.play, web.Response):
            return self.play
        socket = web.WebSocketResponse(protocols=self.protocols)
        await socket.prepare(request)
        await self.play(socket, request)
        return socket


@pytest.fixture
def container():
    container = Container()
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/{path:.*}", container.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start():
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        container.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield container
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def client(container, tmp_path, write_kubeconfig):
    with connect(write_kubeconfig(tmp_path, container.url)) as client:
        yield client


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
def test_output_and_exit_code_come_back(container, client, protocol):
    async def play(socket, _):
        await socket.send_bytes(b"\x01")  # what kubelets open each channel with
        await socket.send_bytes(b"\x01out")
        await socket.send_bytes(b"\x02err \xff")
        await socket.send_bytes(b"\x01put\n")
        await socket.send_bytes(b"\xff\x01")  # v5: channel 1 is closed
        await socket.send_bytes(b"\x03" + SUCCESS)

    container.play, container.protocols = play, (protocol,)
    result = client.read_only().exec("p", "default", ["sh", "-c", "a & b='c d'"], container="agent")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "output\n", "err \ufffd")
    (request,) = container.requests
    assert request.query.getall("command") == ["sh", "-c", "a & b='c d'"]
    assert request.query["container"] == "agent"
    assert request.headers["Authorization"] == "Bearer very-secret-token"


def test_a_command_that_fails_is_a_result(container, client):
    async def play(socket, _):
        causes = [{"reason": "ExitCode", "message": "3"}]
        await socket.send_bytes(b"\x03" + failure("NonZeroExitCode", 0, causes=causes))

    container.play = play
    assert client.exec("p", "default", ["false"]).exit_code == 3


def test_a_command_that_cannot_be_started_is_an_error(container, client):
    async def play(socket, _):
        await socket.send_bytes(b"\x03" + failure("InternalError", 500, message="no such file: x"))

    container.play = play
    with pytest.raises(ServerError, match=r"cannot exec in pod default/p.*no such file: x"):
        client.exec("p", "default", ["x"])


def test_a_pod_that_is_not_there_or_has_no_such_container(container, client):
    gone = failure("NotFound", 404, message='pods "p" not found')
    container.play = web.Response(status=404, body=gone.replace(b'{"causes": []}', b'{"name": "p"}'))
    with pytest.raises(NotFound, match='pods "p" not found'):
        client.exec("p", "default", ["x"])
    container.play = web.Response(status=400, text="container x is not valid for pod p")
    with pytest.raises(BadRequest, match="container x is not valid"):
        client.exec("p", "default", ["x"])


def test_a_command_that_does_not_end_is_given_up_in_time(container, client):
    async def play(socket, _):
        async for message in socket:
            assert message.type is not WSMsgType.ERROR

    container.play = play
    started = time.monotonic()
    with pytest.raises(ApiTimeout, match=r"did not end within 0\.2 s"):
        client.exec("p", "default", ["sleep", "9"], timeout=0.2)
    assert time.monotonic() - started < 1.0


def test_a_command_that_keeps_talking_is_given_up_in_time_too(container, client):
    async def play(socket, _):
        while not socket.closed:
            await socket.send_bytes(b"\x01tick")
            await asyncio.sleep(0.02)

    container.play = play
    with pytest.raises(ApiTimeout):
        client.exec("p", "default", ["yes"], timeout=0.2)


def test_a_connection_that_breaks_before_the_end_is_no_success(container, client):
    async def play(_, request):
        request.transport.abort()

    container.play = play
    with pytest.raises(ApiUnreachable, match=r"before the command ended|connection broke"):
        client.exec("p", "default", ["x"])


def test_a_cluster_on_this_machine_is_not_reached_through_the_environments_proxy(
    container, tmp_path, write_kubeconfig, monkeypatch
):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def play(socket, _):
        await socket.send_bytes(b"\x03" + SUCCESS)

    container.play = play
    with connect(write_kubeconfig(tmp_path, container.url)) as client:
        assert client.exec("p", "default", ["true"]).exit_code == 0
