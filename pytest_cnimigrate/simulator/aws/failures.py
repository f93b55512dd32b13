"""Failures of the API itself: throttling, expired credentials, and operations made to fail on demand."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.faults import Faults, register

THROTTLING = register(
    "aws-throttling",
    "AWS throttles every other call of each operation; clients that retry get through.",
    "seen wherever several tools share an account; https://docs.aws.amazon.com/general/latest/gr/api-retries.html",
)
CREDENTIALS_EXPIRED = register(
    "aws-credentials-expired",
    "AWS refuses every call because the session token has expired.",
    "long change windows outlive one-hour role sessions",
)

_THROTTLED = {
    "eks": ("ThrottlingException", "Rate exceeded", 429),
    "ec2": ("RequestLimitExceeded", "Request limit exceeded.", 503),
    "": ("Throttling", "Rate exceeded", 400),
}
"""Service -> code, message and HTTP status; `""` for the others."""
_EXPIRED = {
    "eks": ("ExpiredTokenException", "The security token included in the request is expired", 403),
    "ec2": ("RequestExpired", "Request has expired.", 400),
    "": ("ExpiredToken", "The security token included in the request is expired", 403),
}


@dataclass(slots=True)
class _Injected:
    error: AwsError
    remaining: int


class ApiFailures:
    """Decides, before an operation runs, whether its request fails."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._calls: Counter[tuple[str, str]] = Counter()
        self._injected: dict[tuple[str, str], _Injected] = {}

    def inject(self, service: str, operation: str, error: AwsError, *, count: int = 1) -> None:
        """Let the next `count` calls of an operation (`eks`, `UpdateNodegroupConfig`) fail with `error`."""
        self._injected[service, operation] = _Injected(error, count)

    def check(self, service: str, operation: str) -> None:
        """Raise the error that this request shall meet, if any."""
        if self._faults.active(CREDENTIALS_EXPIRED):
            raise _error(_EXPIRED, service)
        if self._faults.active(THROTTLING):
            self._calls[service, operation] += 1
            if self._calls[service, operation] % 2:
                raise _error(_THROTTLED, service)
        injected = self._injected.get((service, operation))
        if injected is not None and injected.remaining:
            injected.remaining -= 1
            raise injected.error


def _error(table: dict[str, tuple[str, str, int]], service: str) -> AwsError:
    code, message, status = table.get(service, table[""])
    return AwsError(code, message, status=status)
