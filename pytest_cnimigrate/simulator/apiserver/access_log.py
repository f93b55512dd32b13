"""Who asked what: read by tests ("a check never mutates") and by people who wonder what a tool does."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from pytest_cnimigrate.model.objects import Object

LIMIT: Final = 50_000


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One answered request. Neither its query nor its body is kept: they may hold secrets."""

    time: str
    verb: str
    """Kubernetes' verb: `list`, `watch`, `patch`, …"""
    method: str
    path: str
    resource: str
    """`pods`, `pods/eviction`, `deployments.apps`, …; empty for other paths."""
    namespace: str
    name: str
    user: str
    user_agent: str
    code: int
    dry_run: bool = False

    def as_json(self) -> Object:
        return {
            "time": self.time,
            "verb": self.verb,
            "method": self.method,
            "path": self.path,
            "resource": self.resource,
            "namespace": self.namespace,
            "name": self.name,
            "user": self.user,
            "userAgent": self.user_agent,
            "code": self.code,
            "dryRun": self.dry_run,
        }


class AccessLog:
    """The last requests, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[AccessEntry] = deque(maxlen=LIMIT)
        self.count = 0
        """How many there have been in all."""

    def add(self, entry: AccessEntry) -> None:
        self._entries.append(entry)
        self.count += 1

    def after(self, count: int) -> list[AccessEntry]:
        """The entries since `count` requests had been answered."""
        kept = list(self._entries)
        return kept[max(0, len(kept) - (self.count - count)) :] if self.count > count else []
