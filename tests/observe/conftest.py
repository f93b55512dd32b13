"""Goldpinger's answers, recorded and made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_cnimigrate.observe.matrix import Expectation, Matrix
from pytest_cnimigrate.observe.rows import PodRow, Roster, Row, parse_check, pod_rows, silent_row

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings" / "goldpinger"


@dataclass(frozen=True)
class Recording:
    """What a real cluster's goldpinger and API answered at one moment."""

    pods: list[dict[str, Any]]
    check: bytes
    check_all: dict[str, Any]
    asked: str


@pytest.fixture
def recording() -> Callable[[str], Recording]:
    def load(name: str) -> Recording:
        folder = RECORDINGS / name
        return Recording(
            json.loads((folder / "pods.json").read_text())["items"],
            (folder / "check.body").read_bytes(),
            json.loads((folder / "check_all.body").read_text()),
            (folder / "source.txt").read_text().split()[0],
        )

    return load


@pytest.fixture
def poll() -> Callable[[str], list[dict[str, Any]]]:
    """The bodies of a recorded poll of `/check_all`."""

    def load(name: str) -> list[dict[str, Any]]:
        lines = (RECORDINGS / f"{name}.jsonl").read_text().splitlines()
        return [json.loads(line)["body"] for line in lines]

    return load


def rows_of(check_all: dict[str, Any], roster: Roster) -> dict[str, Row]:
    """The rows in a `/check_all` answer: each pod's own `/check` is in there as it was given."""
    return {
        pod.name: (
            parse_check(answer["response"], pod, roster)
            if "response" in answer
            else silent_row(roster, answer["error"])
        )
        for pod in roster.pods
        if (answer := check_all["responses"].get(pod.name))
    }


@pytest.fixture
def matrix_of() -> Callable[..., Matrix]:
    """The matrix of a recorded `/check_all`, joined with recorded pods (without any, with its `hosts`)."""

    def build(
        check_all: dict[str, Any],
        classes: dict[str, str],
        pods: list[dict[str, Any]] | None = None,
        expected: Expectation | None = None,
    ) -> Matrix:
        if pods is None:
            present = [
                PodRow(
                    host["podName"],
                    f"uid-{host['podName']}",
                    host["hostIP"],
                    classes[host["hostIP"]],
                    (host["podIP"],),
                )
                for host in check_all["hosts"]
            ]
        else:
            present = pod_rows(pods, classes)
        roster = Roster(present)
        return Matrix(roster, rows_of(check_all, roster), classes=classes, expected=expected)

    return build
