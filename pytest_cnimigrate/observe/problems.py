"""What is wrong with a reachability matrix, in the operator's words, the worst first and coalesced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING

from pytest_cnimigrate.observe.rows import PodRow, State, TargetResult

if TYPE_CHECKING:
    from pytest_cnimigrate.observe.matrix import Matrix, PairResult

SEARCHED = 10_000
"""More failing pairs than this are counted, but not searched for what they have in common."""
NAMED = 3
"""As many nodes are named; the others are counted."""


def of(matrix: Matrix) -> list[str]:
    """All problems; empty if the matrix is complete and everything in it succeeded."""
    if not matrix.pods:
        return ["there is no goldpinger pod: nothing was measured", *missing(matrix)]
    return [
        *_failed_pairs(matrix),
        *_failed_probes(matrix),
        *missing(matrix),
        *_silent_pods(matrix),
        *_gaps(matrix, State.ABSENT, "without a result so far"),
        *_gaps(matrix, State.STALE, "with an old result only"),
    ]


def of_targets(matrix: Matrix, protocols: Collection[str]) -> list[str]:
    """What is wrong with the probes of targets: each pod must answer, with a target of every protocol.

    A pod that does not answer, or has nothing to probe, has not shown that its targets can be reached.
    """
    if not matrix.pods:
        return of(matrix)
    aimed: dict[str, set[str]] = {pod.name: set() for pod in matrix.pods}
    for pod, result in matrix.probes():
        aimed[pod.name].add(result.protocol)
    silent = {pod.name for pod, _ in matrix.silent()}
    lines = [*_failed_probes(matrix), *missing(matrix), *_silent_pods(matrix)]
    for protocol in sorted(protocols):
        without = [pod for pod in matrix.pods if pod.name not in silent and protocol not in aimed[pod.name]]
        if without:
            lines.append(
                f"{_many(len(without), 'goldpinger pod')} without a {protocol} target, e.g. {without[0]}: "
                "nothing was measured; set HOSTS_TO_RESOLVE, TCP_TARGETS and HTTP_TARGETS in goldpinger's "
                "manifests (goldpinger before 3.6.0 knows only names)"
            )
    return lines


def missing(matrix: Matrix) -> list[str]:
    """Pods and nodes that are expected and not there."""
    lines = []
    expected = matrix.expected
    if expected.pods is not None and expected.pods != len(matrix.pods):
        lines.append(f"{_many(len(matrix.pods), 'goldpinger pod')} instead of {expected.pods}")
    without = sorted(expected.nodes - {pod.node for pod in matrix.pods})
    if without:
        named = [
            f"{node} ({matrix.classes[node]})" if node in matrix.classes else node for node in without[:NAMED]
        ]
        more = f" and {len(without) - NAMED} more" if len(without) > NAMED else ""
        lines.append(f"no goldpinger pod on {_many(len(without), 'node')}: {', '.join(named)}{more}")
    return lines


def _failed_pairs(matrix: Matrix) -> list[str]:
    failing = [(key, counts) for key, counts in matrix.counts.items() if counts.failed]
    failing.sort(key=lambda item: (-item[1].failed / item[1].pairs, -item[1].failed))
    lines = []
    for (one, other), counts in failing:
        pairs = matrix.pairs_between(one, other, State.FAILED)
        first = list(islice(pairs, 2))
        # A pod that does not even reach itself says less about the network than any other pair.
        example = next((pair for pair in first if pair.prober != pair.target), first[0])
        common = ""
        if 1 < counts.failed <= SEARCHED and counts.failed < counts.pairs:
            common = _common([*first, *pairs])
        verb = "fails" if counts.failed == 1 else "fail"
        lines.append(
            f"{one}→{other}: {counts.failed} of {_many(counts.pairs, 'pair')} {verb}{common}, "
            f"e.g. {_short(str(example))}"
        )
    return lines


def _common(pairs: list[PairResult]) -> str:
    """What all these pairs share, if anything: the one pod or node that they lead to or come from."""
    probers, targets = {pair.prober for pair in pairs}, {pair.target for pair in pairs}
    for pods, word in ((targets, "to"), (probers, "from")):
        if len(pods) == 1:
            return f", all {word} {next(iter(pods))}"
    for pods, word in ((targets, "to"), (probers, "from")):
        nodes = {pod.node for pod in pods}
        if len(nodes) == 1:
            return f", all {word} node {next(iter(nodes))}"
    return ""


def _failed_probes(matrix: Matrix) -> list[str]:
    asked = Counter[tuple[str, str, str]]()
    failed: dict[tuple[str, str, str], list[tuple[PodRow, TargetResult]]] = {}
    for pod, result in matrix.probes():
        key = (pod.node_class, result.protocol, result.host)
        asked[key] += 1
        if not result.ok:
            failed.setdefault(key, []).append((pod, result))
    lines = []
    for key, results in sorted(failed.items(), key=lambda item: -len(item[1]) / asked[item[0]]):
        node_class, protocol, host = key
        pod, result = results[0]
        lines.append(
            f"{node_class}: {protocol} {host} fails from {len(results)} of {_many(asked[key], 'pod')}, "
            f"e.g. {_short(f'{pod}: {result.reason}')}"
        )
    return lines


def _silent_pods(matrix: Matrix) -> list[str]:
    silent = matrix.silent()
    if not silent:
        return []
    pod, reason = silent[0]
    example = _short(f"{pod}: {reason}")
    return [f"no answer from {len(silent)} of {_many(len(matrix.pods), 'goldpinger pod')}, e.g. {example}"]


def _gaps(matrix: Matrix, state: State, words: str) -> list[str]:
    lines = []
    for (one, other), counts in matrix.counts.items():
        number = getattr(counts, state.word)
        if number:
            example = _short(str(next(matrix.pairs_between(one, other, state))))
            lines.append(f"{one}→{other}: {number} of {_many(counts.pairs, 'pair')} {words}, e.g. {example}")
    return lines


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _short(text: str, limit: int = 240) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
