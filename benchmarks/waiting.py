"""How long after a change on the API server does a gate open, and how many requests does that cost?

    python benchmarks/waiting.py [--nodes N] [--rounds N]

Waits for a node to become Ready, on loopback, in one run: by the record, by a bare watch, by `kubectl wait`,
by a poll every second, and by kr8s if it is installed. The delay is from the moment at which the server has
stored the change until the gate is open (for kubectl: until the process has ended).
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rig import Server, api_server

from pytest_cnimigrate.kube.client import KubeClient
from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.model.objects import Object, condition
from pytest_cnimigrate.model.resources import NODES
from pytest_cnimigrate.observe.record import Recorder, State, wait_on_record
from pytest_cnimigrate.observe.waiting import NotYet, Ready, wait_for

NODE = "node-0"
LIMIT = 30.0

Gate = Callable[[], None]
"""Returns once the node is Ready."""


def is_ready(node: Object | None) -> Ready[None] | NotYet:
    ready = condition(node, "Ready") if node is not None else None
    return Ready(None) if ready is not None and ready["status"] == "True" else NotYet("not Ready")


@contextmanager
def on_record(kube: KubeClient, server: Server) -> Iterator[Gate]:
    """Ours: woken by the record, confirmed by one read."""

    def look(state: State) -> Ready[None] | NotYet:
        return is_ready(state.get("Node", NODE))

    with tempfile.TemporaryDirectory() as folder, Recorder(kube.read_only(), Path(folder)) as recorder:
        if not recorder.wait_synced(LIMIT):
            raise SystemExit(f"the record is not complete: {recorder.blind()}")
        yield lambda: wait_on_record(
            recorder,
            look,
            lambda: is_ready(kube.get(NODES, NODE)),
            kinds=["Node"],
            what="the node",
            timeout=LIMIT,
        )


@contextmanager
def bare_watch(kube: KubeClient, server: Server) -> Iterator[Gate]:
    """A watch of that one node, without a confirmation: what is possible at best."""

    def gate() -> None:
        with kube.watch(NODES, field_selector=f"metadata.name={NODE}") as watch:
            for event in watch:
                if event.object and isinstance(is_ready(event.object), Ready):
                    return

    yield gate


@contextmanager
def kubectl(kube: KubeClient, server: Server) -> Iterator[Gate]:
    """`kubectl wait`."""
    program = shutil.which("kubectl")
    if program is None:
        raise LookupError("kubectl is not installed")
    command = [
        program,
        f"--kubeconfig={server.kubeconfig}",
        "wait",
        "--for=condition=Ready",
        f"node/{NODE}",
        f"--timeout={LIMIT:.0f}s",
    ]

    def gate() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # kubectl, found above

    yield gate


@contextmanager
def poll(kube: KubeClient, server: Server) -> Iterator[Gate]:
    """A read every second, as scripts do."""
    yield lambda: wait_for(
        lambda: is_ready(kube.get(NODES, NODE)), what="the node", timeout=LIMIT, interval=1.0
    )


@contextmanager
def kr8s(kube: KubeClient, server: Server) -> Iterator[Gate]:
    """kr8s' `wait`."""
    if importlib.util.find_spec("kr8s") is None:
        raise LookupError("kr8s is not installed")
    import kr8s as library  # type: ignore[import-not-found]  # optional

    api = library.api(kubeconfig=str(server.kubeconfig))
    yield lambda: library.objects.Node.get(NODE, api=api).wait("condition=Ready", timeout=LIMIT)


GATES = {
    "the record": (on_record, False),
    "a bare watch": (bare_watch, True),
    "kubectl wait": (kubectl, True),
    "kr8s": (kr8s, True),
    "poll, 1 s": (poll, False),
}
"""Each with whether it opens a watch of its own, which must be open before the change is made."""


def measure(server: Server, gate: Gate, *, watches: bool, rounds: int) -> tuple[list[float], float]:
    """Milliseconds from change to gate, a round each, and requests a wait."""
    delays, requests = [], []
    for _ in range(rounds):
        before = server.ask(do="ready", node=NODE, ready=False)
        opened: list[float] = []
        failed: list[BaseException] = []

        def wait(opened: list[float] = opened, failed: list[BaseException] = failed) -> None:
            try:
                gate()
                opened.append(time.monotonic())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        deadline = time.monotonic() + LIMIT
        while watches and server.ask(do="count")["watches"] <= before["watches"]:
            if failed or time.monotonic() > deadline:
                raise SystemExit(f"the gate does not watch: {failed}")
            time.sleep(0.005)
        # Somewhere in a poll's second, and long enough for the first look.
        time.sleep(random.uniform(0.1, 1.1))
        changed = server.ask(do="ready", node=NODE, ready=True)["at"]
        thread.join()
        if failed:
            raise failed[0]
        delays.append((opened[0] - changed) * 1000)
        settled = server.ask(do="count")
        while watches and settled["watches"] > before["watches"]:
            time.sleep(0.005)
            settled = server.ask(do="count")
        requests.append(settled["requests"] - before["requests"])
    return delays, statistics.mean(requests)


def main() -> None:
    """Measure all, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(api_server(folder))
        kube = stack.enter_context(connect(server.kubeconfig))
        server.ask(do="fill", nodes=arguments.nodes, pods=0)
        print(f"{arguments.nodes} nodes, {arguments.rounds} rounds, milliseconds from change to open gate")
        print(f"{'':14} {'median':>8} {'worst':>8} {'requests':>9}")
        for name, (make, watches) in GATES.items():
            try:
                with make(kube, server) as gate:
                    delays, requests = measure(server, gate, watches=watches, rounds=arguments.rounds)
            except LookupError as error:
                print(f"{name:14} {error}")
                continue
            print(f"{name:14} {statistics.median(delays):8.1f} {max(delays):8.1f} {requests:9.1f}")


if __name__ == "__main__":
    main()
