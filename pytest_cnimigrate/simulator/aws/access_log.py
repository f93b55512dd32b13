"""What was asked of AWS: for tests, and for people who want to know what a tool really did."""

from __future__ import annotations

import datetime as dt
from collections import deque
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request and how it ended. Parameters are free of secrets; signatures are never kept."""

    service: str
    operation: str
    parameters: dict[str, Any]
    status: int
    error_code: str = ""
    request_id: str = ""
    user_agent: str = ""
    time: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


class AccessLog:
    """The newest calls, oldest first."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._calls: deque[Call] = deque(maxlen=capacity)

    def add(self, call: Call) -> None:
        self._calls.append(call)

    def calls(self, service: str = "", operation: str = "") -> list[Call]:
        """The calls of a service and operation; empty stands for any."""
        return [
            call
            for call in self._calls
            if service in ("", call.service) and operation in ("", call.operation)
        ]
