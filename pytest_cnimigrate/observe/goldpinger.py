"""Goldpinger's matrix, read from the pods themselves.

Every goldpinger pod's own `/check` is read through the API server's pod proxy. `/check_all` of one pod would
lose the rows of all pods that this one cannot reach, and a Service may lead to a dead endpoint for 40 s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pytest_cnimigrate.kube.errors import Forbidden, KubeError, Unauthorized
from pytest_cnimigrate.kube.reader import KubeReader
from pytest_cnimigrate.kube.retrying import Timeouts
from pytest_cnimigrate.model.resources import PODS
from pytest_cnimigrate.observe.matrix import Counts, Expectation, FreshnessBarrier, Matrix, PairResult
from pytest_cnimigrate.observe.rows import (
    PodRow,
    Roster,
    Row,
    State,
    TargetResult,
    parse_check,
    pod_rows,
    silent_row,
)


@dataclass(frozen=True, slots=True)
class Goldpinger:
    """A goldpinger installation: where its pods are and how to ask them."""

    reader: KubeReader
    namespace: str
    selector: str
    """Label selector of all its pods, DaemonSet's and Deployment's."""
    port: int = 8080
    at_once: int = 16
    """Pods asked at the same time."""
    timeouts: Timeouts = field(default_factory=lambda: Timeouts(connect=5.0, read=10.0))
    """`/check` answers from memory, but probes its DNS, TCP and HTTP targets while we wait."""

    def read(
        self,
        classes: Mapping[str, str],
        *,
        expected: Expectation | None = None,
        among: Collection[str] | None = None,
    ) -> Matrix:
        """Ask every pod. `classes` says for each node whether it is `old` or `new`.

        With `among` (names of nodes) only pods on these nodes count, as probers and as targets; those that
        are not bound to a node yet do not.

        A pod that does not answer makes its row unknown, not failed. Pods that are being deleted, or were
        while we asked, do not count; pods that came up meanwhile do, as unknown.

        Raises `KubeError` when the pods cannot be listed or we have no right to ask them.
        """
        asked = Roster(self._pods(classes, among))
        rows = self._ask(asked)
        return Matrix.joined(asked, rows, self._pods(classes, among), classes=classes, expected=expected)

    def _pods(self, classes: Mapping[str, str], among: Collection[str] | None) -> list[PodRow]:
        rows = pod_rows(self.reader.list(PODS, self.namespace, label_selector=self.selector), classes)
        return rows if among is None else [row for row in rows if row.node in among]

    def _ask(self, roster: Roster) -> dict[str, Row]:
        if not roster.pods:
            return {}
        pool = ThreadPoolExecutor(min(self.at_once, len(roster)), thread_name_prefix="goldpinger")
        try:
            rows = pool.map(lambda pod: self._ask_one(pod, roster), roster.pods)
            return {pod.name: row for pod, row in zip(roster.pods, rows, strict=True)}
        finally:
            # On Ctrl-C too: whatever has not been sent yet need not be.
            pool.shutdown(cancel_futures=True)

    def _ask_one(self, pod: PodRow, roster: Roster) -> Row:
        if pod.silent:
            return silent_row(roster, pod.silent)
        try:
            answer = self.reader.proxy_pod(
                pod.name, self.namespace, port=self.port, path="/check", timeouts=self.timeouts
            )
        except (Forbidden, Unauthorized):
            raise
        except KubeError as error:
            return silent_row(roster, error.message)
        if answer.status != 200:
            # 503 is a passive pod's answer (ACTIVE_NODE_PERCENTAGE below 100).
            return silent_row(roster, f"/check answered {answer.status}")
        return parse_check(answer.body, pod, roster)


__all__ = [
    "Counts",
    "Expectation",
    "FreshnessBarrier",
    "Goldpinger",
    "Matrix",
    "PairResult",
    "PodRow",
    "State",
    "TargetResult",
]
