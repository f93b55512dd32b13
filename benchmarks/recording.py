"""What does it take to record and judge a large cluster?

    python benchmarks/recording.py [--nodes N] [--pods N] [--rounds N]

Fills an API server (in a process of its own), lists it, then changes every pod once a round. Shown are the
time until the record has caught up and this process' memory, after each step.
"""

from __future__ import annotations

import argparse
import gc
import resource
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rig import api_server

from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.observe.invariants import BUILT_IN, Context, Judge, Ledger, instances
from pytest_cnimigrate.observe.record import Recorder, read_record

CONTEXT = Context(
    old_nodes="pool=old",
    new_nodes="pool=new",
    fence_key="cni",
    fence_value="aws-cni",
    old_cni="kube-system/aws-node",
    old_cni_pods="k8s-app=aws-node",
)
LIMIT = 600.0


def megabytes() -> float:
    """The memory of this process at present."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def wait_for_change(recorder: Recorder, pod: str, message: str) -> None:
    """Wait until the record knows that a pod's status says this."""
    deadline = time.monotonic() + LIMIT
    while (recorder.state.get("Pod", pod) or {})["status"].get("message") != message:
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting for the record of {pod}")
        time.sleep(0.01)


def main() -> None:
    """Measure, and print a line a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(api_server(folder))
        kube = stack.enter_context(connect(server.kubeconfig))
        server.ask(do="fill", nodes=arguments.nodes, pods=arguments.pods)
        gc.collect()
        before = megabytes()
        judge = Judge(instances(CONTEXT, Ledger(), BUILT_IN))

        def report(step: str, begun: float) -> None:
            size = sum(path.stat().st_size for path in (folder / "record").iterdir()) / 1e6
            print(
                f"{step:24} {time.monotonic() - begun:6.2f} s  "
                f"memory +{megabytes() - before:5.0f} MB  disk {size:6.1f} MB"
            )

        print(f"{arguments.nodes} nodes, {arguments.pods} pods")
        begun = time.monotonic()
        recorder = Recorder(kube.read_only(), folder / "record")
        recorder.subscribe(judge.hear, ticker=judge.tick)
        with recorder:
            if not recorder.wait_synced(LIMIT):
                raise SystemExit(f"not synced: {recorder.blind()}")
            report("listed", begun)
            for number in range(1, arguments.rounds + 1):
                begun = time.monotonic()
                server.ask(do="churn", pods=arguments.pods, round=number)
                stored = time.monotonic() - begun
                last = f"load/pod-{arguments.pods - 1}"
                wait_for_change(recorder, last, f"round {number}")
                report(f"{arguments.pods} changes ({stored:.1f} s to store)", begun)
            begun = time.monotonic()
        report("stopped", begun)
        begun = time.monotonic()
        lines = sum(1 for _ in read_record(folder / "record"))
        report(f"{lines} lines read again", begun)
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"violations {len(judge.violations)}, failure {recorder.failure or 'none'}")
        print(f"highest memory of this process {highest:.0f} MB")


if __name__ == "__main__":
    main()
