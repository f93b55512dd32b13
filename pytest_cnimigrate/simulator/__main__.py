"""`python -m pytest_cnimigrate.simulator`: an embedded cluster of its own.

`up` is for people: it starts a cluster, prints how to reach it and stays until Ctrl-C. `serve` is for
programs:
settings come as one line of JSON on standard input, the address goes out as one line, and the cluster lives
until standard input is closed (or, after a line `keep`, until it is ended or its time is over).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pytest_cnimigrate.simulator.cluster import EmbeddedCluster
from pytest_cnimigrate.simulator.faults import KNOWN, Faults, UnknownFaultError
from pytest_cnimigrate.simulator.listening import PortInUseError
from pytest_cnimigrate.simulator.process import write_kubeconfig
from pytest_cnimigrate.simulator.registry import Registration
from pytest_cnimigrate.simulator.settings import ClusterSettings, GroupSettings


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_cnimigrate.simulator",
        description="An embedded Kubernetes cluster on loopback.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a cluster for practising by hand and stay until Ctrl-C")
    up.add_argument("--name", default="embedded")
    up.add_argument("--nodes", type=int, default=3, help="nodes of the group ng-1 (default: 3)")
    up.add_argument("--port", type=int, default=0, help="port of the API server (default: a free one)")
    up.add_argument("--speed", type=float, default=20.0, help="simulated seconds in a second (default: 20)")
    commands.add_parser("faults", help="list the faults that can be switched on")
    serve = commands.add_parser("serve", help="for programs: settings in, address out")
    serve.add_argument("--keep-hours", type=float, default=8.0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if arguments.command == "faults":
        for fault in sorted(KNOWN.values(), key=lambda known: known.name):
            print(f"{fault.name}\n    {fault.effect} ({fault.source})")
        return 0
    if arguments.command == "serve":
        return asyncio.run(_serve(arguments.keep_hours))
    group = GroupSettings("ng-1", desired=arguments.nodes, maximum=max(1, arguments.nodes))
    settings = ClusterSettings(
        name=arguments.name, groups=(group,), speed=arguments.speed, port=arguments.port
    )
    return asyncio.run(_up(settings))


async def _serve(keep_hours: float) -> int:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    lines = await _lines(sys.stdin.fileno())
    settings = ClusterSettings.from_json(json.loads(await lines.readline()))
    try:
        faults = Faults(settings.faults)
        cluster = EmbeddedCluster(replace(settings, faults=()))
        await cluster.start()
    except (PortInUseError, UnknownFaultError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    registration = _register(cluster)
    following = asyncio.create_task(_follow(lines, ended, registration, keep_hours))
    settling = asyncio.create_task(cluster.settled())
    stopping = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({settling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if settling.done():
            settling.result()
            # Only now: some of them would keep the cluster itself from coming up.
            for name in faults.names():
                cluster.faults.activate(name)
            answer = {"server": cluster.server, "cloud": cluster.cloud, "kubeconfig": cluster.kubeconfig}
            print(json.dumps({"pid": os.getpid(), **answer}), flush=True)
            await stopping
    finally:
        for task in (following, settling, stopping):
            task.cancel()
        await asyncio.gather(following, settling, stopping, return_exceptions=True)
        await cluster.stop()
        registration.close()
    return 0


async def _lines(descriptor: int) -> asyncio.StreamReader:
    """Standard input as a stream, so that its end is noticed at once."""
    reader = asyncio.StreamReader(limit=2**20)
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = os.fdopen(os.dup(descriptor), "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader


async def _follow(
    lines: asyncio.StreamReader, ended: asyncio.Event, registration: Registration, keep_hours: float
) -> None:
    """End when the parent does, unless it has said `keep`."""
    while line := await lines.readline():
        if line.strip() == b"keep":
            registration.keep()
            print("kept", flush=True)
            await asyncio.sleep(keep_hours * 3600)
            break
    ended.set()


async def _up(settings: ClusterSettings) -> int:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    cluster = EmbeddedCluster(settings)
    try:
        await cluster.start()
    except PortInUseError as error:
        print(error, file=sys.stderr)
        return 1
    registration = _register(cluster)
    try:
        with tempfile.TemporaryDirectory(prefix="cnimigrate-") as folder:
            kubeconfig = Path(folder) / "kubeconfig"
            write_kubeconfig(cluster.kubeconfig, kubeconfig)
            print(f"{settings.name}: starting {sum(group.desired for group in settings.groups)} nodes …")
            waiting = {asyncio.create_task(cluster.settled()), asyncio.create_task(ended.wait())}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not ended.is_set():
                print(f"  export KUBECONFIG={kubeconfig}")
                print(f"  export AWS_ENDPOINT_URL={cluster.cloud} AWS_REGION={settings.region}")
                print("ready; Ctrl-C ends it", flush=True)
                await ended.wait()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        await cluster.stop()
        registration.close()
    return 0


def _register(cluster: EmbeddedCluster) -> Registration:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return Registration(cluster=cluster.settings.name, server=cluster.server, started=started)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())
