"""Helm releases as every provider offers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

Values = dict[str, Any]


class HelmError(Exception):
    """Helm or the chart refused; the text is what they said."""


@dataclass(frozen=True, slots=True)
class Release:
    """An installed release, at its newest revision."""

    name: str
    namespace: str
    revision: int
    status: str
    """`deployed`, `failed`, `superseded`, `uninstalled`."""
    chart: str
    version: str
    values: Values = field(default_factory=dict)


class HelmReader(Protocol):
    def find(self, release: str, namespace: str) -> Release | None:
        """The newest revision, or None when there is no such release."""


class Helm(HelmReader, Protocol):
    """Changing releases. Every method raises `HelmError`."""

    def upgrade(self, release: str, namespace: str, *, chart: str, version: str, values: Values) -> Release:
        """Install the release or upgrade it (`helm upgrade --install`); does not wait for its pods."""

    def rollback(self, release: str, namespace: str, revision: int) -> Release: ...

    def uninstall(self, release: str, namespace: str) -> None: ...
