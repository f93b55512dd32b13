"""What changed between two states of an object, path by path, and putting it back in.

Paths are JSON pointers (RFC 6901). Lists are compared entry by entry where they have the same length or one
only goes on where the other ends; otherwise the list is one changed value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from pytest_cnimigrate.model.objects import Object, copy


class Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "absent"

    def __str__(self) -> str:
        return "absent"


ABSENT: Final = Absent.ABSENT
"""Nothing stands at a path; None is a null that stands there."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One path at which two states differ."""

    path: str
    old: Any
    new: Any

    def as_json(self) -> Object:
        """As it stands in a record: a side that is absent has no key."""
        line: Object = {"path": self.path}
        if self.old is not ABSENT:
            line["old"] = self.old
        if self.new is not ABSENT:
            line["new"] = self.new
        return line

    @classmethod
    def from_json(cls, line: Object) -> FieldChange:
        return cls(line["path"], line.get("old", ABSENT), line.get("new", ABSENT))


def differences(old: Object, new: Object) -> tuple[FieldChange, ...]:
    """The changes that make `new` of `old`; their values are shared with both."""
    return tuple(_differences(old, new, ""))


def _differences(old: Any, new: Any, path: str) -> Iterator[FieldChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            below = f"{path}/{_escape(key)}"
            if key in new:
                if value != new[key]:
                    yield from _differences(value, new[key], below)
            else:
                yield FieldChange(below, value, ABSENT)
        for key, value in new.items():
            if key not in old:
                yield FieldChange(f"{path}/{_escape(key)}", ABSENT, value)
    elif isinstance(old, list) and isinstance(new, list) and _is_comparable(old, new):
        for index in range(max(len(old), len(new))):
            below = f"{path}/{index}"
            if index >= len(old):
                yield FieldChange(below, ABSENT, new[index])
            elif index >= len(new):
                yield FieldChange(below, old[index], ABSENT)
            elif old[index] != new[index]:
                yield from _differences(old[index], new[index], below)
    elif old != new:
        yield FieldChange(path, old, new)


def _is_comparable(old: Sequence[Any], new: Sequence[Any]) -> bool:
    """Whether comparing entry by entry says less than repeating both lists."""
    if not old or not new:
        return False
    if len(old) == len(new):
        return True
    shorter = min(len(old), len(new))
    return bool(old[:shorter] == new[:shorter])


def patched(old: Object, changes: Iterable[FieldChange]) -> Object:
    """A copy of `old` with the changes made. Raises `LookupError` if they are of another object."""
    result = copy(old)
    removed: list[str] = []
    for change in changes:
        if change.new is ABSENT:
            removed.append(change.path)
        else:
            _put(result, change.path, change.new)
    # From the end, so that an entry of a list is still where the path says.
    for path in reversed(removed):
        parent, key = _parent(result, path)
        del parent[key]
    return result


def _put(obj: Object, path: str, value: Any) -> None:
    parent, key = _parent(obj, path)
    if isinstance(parent, list) and key == len(parent):
        parent.append(value)
    else:
        parent[key] = value


def _parent(obj: Object, path: str) -> tuple[Any, Any]:
    place: Any = obj
    *parts, last = [_unescape(part) for part in path.split("/")[1:]]
    for part in parts:
        place = place[int(part)] if isinstance(place, list) else place[part]
    return place, int(last) if isinstance(place, list) else last


def in_words(changes: Iterable[FieldChange], obj: Object | None, *, most: int = 4) -> str:
    """The changes for people: `status.conditions[Ready].status: "True" → "False"`.

    `obj` is a state in which the paths can be found; entries of lists are then named by their type, name or
    key. What is behind `most` changes is counted only.
    """
    changes = list(changes)
    texts = [
        f"{_spoken(change.path, obj)}: {_short(change.old)} → {_short(change.new)}"
        for change in changes[:most]
    ]
    if len(changes) > most:
        texts.append(f"and {len(changes) - most} more")
    return "; ".join(texts)


def _spoken(path: str, obj: Object | None) -> str:
    place: Any = obj
    text = ""
    for part in (_unescape(part) for part in path.split("/")[1:]):
        if isinstance(place, list):
            index = int(part)
            place = place[index] if index < len(place) else None
            text += f"[{_name(place) or part}]"
        else:
            place = place.get(part) if isinstance(place, dict) else None
            text += f"[{part}]" if "." in part or "/" in part else f".{part}" if text else part
    return text


def _name(entry: Any) -> str:
    if not isinstance(entry, dict):
        return ""
    return next((str(entry[key]) for key in ("type", "name", "key") if key in entry), "")


def _short(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1") if "~" in part or "/" in part else part


def _unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~") if "~" in part else part
