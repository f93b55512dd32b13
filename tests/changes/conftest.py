"""Changes are tried out on a real API server over HTTP, journalled as in a run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from embedded_rig import cluster, eventually  # noqa: F401  # the first is a fixture

from pytest_cnimigrate.model.objects import name_of
from pytest_cnimigrate.model.resources import NAMESPACES, NODES
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.run.change import Migration
from pytest_cnimigrate.run.journal import Journal, read_journal

_numbers = itertools.count(1)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


@pytest.fixture
def migrate(cluster: Cluster, journal: Journal) -> Migration:  # noqa: F811
    return Migration(cluster, journal)


@pytest.fixture
def told(journal: Journal) -> Callable[[], list[str]]:
    """The events of changes in the journal so far."""
    return lambda: [
        record["event"]
        for record in read_journal(journal.path)
        if record["event"].startswith(("change-", "undo-"))
    ]


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:  # noqa: F811
    """A namespace that no other test uses; it and its pods are gone when the test is over."""
    name = f"test-{next(_numbers)}"
    cluster.kube.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    cluster.kube.delete(NAMESPACES, name)
    eventually(lambda: cluster.kube.find(NAMESPACES, name), lambda found: found is None)


@pytest.fixture
def node(cluster: Cluster) -> Iterator[str]:  # noqa: F811
    """A node that is put back as it was, as far as labels and cordon go."""
    before = cluster.kube.list(NODES)[0]
    yield name_of(before)
    present = cluster.kube.get(NODES, name_of(before))
    labels: dict[str, Any] = dict.fromkeys(present["metadata"]["labels"]) | before["metadata"]["labels"]
    cluster.kube.patch(
        NODES, name_of(before), {"metadata": {"labels": labels}, "spec": {"unschedulable": None}}
    )
