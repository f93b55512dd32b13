"""Ids and filters of EC2's Describe operations."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.operations import page_of

Item = TypeVar("Item")
Values = Callable[[Item], Iterable[str]]


@dataclass(frozen=True)
class Collection(Generic[Item]):
    """One kind of resource: how to select among its items."""

    id_of: Callable[[Item], str]
    not_found: tuple[str, str]
    """Error code and message for an unknown id; `{}` is where the id goes."""
    filters: Mapping[str, Values[Item]]
    """Filter name -> the values that an item has for it."""
    tags_of: Callable[[Item], Mapping[str, str]] | None = None

    def select(
        self, items: Iterable[Item], *, ids: Sequence[str] = (), filters: Sequence[Mapping[str, Any]] = ()
    ) -> list[Item]:
        """The items with these ids (each must exist) that pass all filters.

        A filter's values are alternatives and may hold `*` and `?`, as in EC2.
        """
        known = {self.id_of(item): item for item in items}
        for wanted in ids:
            if wanted not in known:
                raise AwsError(self.not_found[0], self.not_found[1].format(wanted))
        chosen = [known[wanted] for wanted in ids] if ids else list(known.values())
        for condition in filters:
            name, patterns = condition.get("Name", ""), condition.get("Values", [])
            values = self._values(name)
            chosen = [item for item in chosen if _any_matches(values(item), patterns)]
        return chosen

    def _values(self, name: str) -> Values[Item]:
        if name in self.filters:
            return self.filters[name]
        tags_of = self.tags_of
        if tags_of is not None:
            if name.startswith("tag:"):
                key = name.removeprefix("tag:")
                return lambda item: [tags_of(item)[key]] if key in tags_of(item) else []
            if name == "tag-key":
                return lambda item: tags_of(item).keys()
        raise AwsError(
            "InvalidParameterValue",
            f"The filter '{name}' is invalid (the simulator has: {', '.join(sorted(self.filters))}"
            f"{', tag:<key>, tag-key' if tags_of else ''})",
        )


def _any_matches(values: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(value, _literal_brackets(text)) for value in values for text in patterns)


def _literal_brackets(pattern: str) -> str:
    # EC2 has only `*` and `?`; fnmatch would also read `[…]`.
    return pattern.replace("[", "[[]")


def page(given: Mapping[str, Any], items: Sequence[Item]) -> tuple[list[Item], str | None]:
    """One page of a Describe operation."""
    return page_of(
        items, token=given.get("NextToken"), size=given.get("MaxResults"), error_code="InvalidNextToken"
    )
