"""How long a request may take and how often it is tried."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pytest_cnimigrate.kube.errors import (
    ApiTimeout,
    ApiUnreachable,
    Forbidden,
    KubeError,
    NoAnswer,
    ServerError,
    TooManyRequests,
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds until we give up; the client has no limits of its own (kubernetes-client/python#1961)."""

    connect: float = 5.0
    read: float = 30.0
    """The longest silence in an answer, not the whole answer's time."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Which failed requests are repeated, how often, and after which pause.

    A read is repeated after 429, 5xx and a broken connection, not after a time-out: waiting as long again is
    the caller's decision. A mutation is repeated only if the server cannot have carried it out: after a 429
    that says when to come back, and when no connection came about. An eviction that a budget refused is
    an answer, not a hiccup, and never repeated here.
    """

    attempts: int = 4
    base: float = 0.2
    """Seconds before the second attempt; doubled for each further one, with jitter."""
    cap: float = 5.0
    longest_retry_after: float = 30.0
    """A Retry-After beyond this is passed on to the caller instead of being waited for."""
    transient_forbidden: bool = False
    """Repeat reads after 403 as well: the first answers of a control plane that has just restarted may be
    403 while its authorizer still loads (seen in our recordings)."""

    def pause(self, error: KubeError, *, attempt: int, mutation: bool) -> float | None:
        """Seconds to wait before trying again after `attempt` attempts; None: give up."""
        if attempt >= self.attempts or not self._may_repeat(error, mutation=mutation):
            return None
        if isinstance(error, TooManyRequests) and error.retry_after is not None:
            return error.retry_after if error.retry_after <= self.longest_retry_after else None
        return self.backoff(attempt)

    def backoff(self, attempt: int) -> float:
        """Seconds to wait after `attempt` failures in a row: doubling, capped, with jitter."""
        return min(self.cap, self.base * 2.0 ** min(attempt - 1, 16)) * random.uniform(0.75, 1.25)

    def _may_repeat(self, error: KubeError, *, mutation: bool) -> bool:
        if isinstance(error, ApiTimeout):
            return False
        if isinstance(error, TooManyRequests):
            return error.cause is None and (not mutation or error.retry_after is not None)
        if isinstance(error, NoAnswer) and not error.sent:
            return True
        if mutation:
            return False
        if isinstance(error, Forbidden):
            return self.transient_forbidden
        return isinstance(error, (ServerError, ApiUnreachable))
