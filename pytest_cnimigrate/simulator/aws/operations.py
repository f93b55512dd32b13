"""How a service says which operations it simulates, and which of their parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pytest_cnimigrate.simulator.aws.errors import AwsError

Parameters = Mapping[str, Any]
Result = dict[str, Any]
Handler = Callable[[Parameters], Awaitable[Result]]
Method = TypeVar("Method", bound=Callable[..., Awaitable[Result]])
Item = TypeVar("Item")

_MARK = "__aws_operation__"


@dataclass(frozen=True, slots=True)
class Operation:
    handler: Handler
    accepts: frozenset[str]
    """Names of the parameters that have an effect (or need none); any other one is an error."""


def operation(name: str, *parameters: str) -> Callable[[Method], Method]:
    """Mark a method as the operation `name` that honours `parameters`.

    What the real operation takes beyond them is refused by name: a rehearsal must not silently ignore
    what the real thing would act upon.
    """

    def mark(method: Method) -> Method:
        setattr(method, _MARK, (name, frozenset(parameters)))
        return method

    return mark


def operations_of(backend: object) -> dict[str, Operation]:
    """The operations of an object, by name."""
    found: dict[str, Operation] = {}
    for attribute in dir(type(backend)):
        marked = getattr(getattr(type(backend), attribute), _MARK, None)
        if marked is not None:
            name, accepts = marked
            found[name] = Operation(getattr(backend, attribute), accepts)
    return found


def page_of(
    items: Sequence[Item], *, token: str | None, size: int | None, error_code: str
) -> tuple[list[Item], str | None]:
    """One page, and the token of the next one. Tokens are offsets: lists here are small and ordered."""
    try:
        start = int(token) if token else 0
    except ValueError:
        raise AwsError(error_code, f"the page token {token!r} is not one that was given out") from None
    end = start + (size or len(items) or 1)
    return list(items[start:end]), str(end) if end < len(items) else None
