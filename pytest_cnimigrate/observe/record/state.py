"""The objects of a cluster as they are now, or were at some moment of a record, with indexes.

Each object is held as its JSON text: less than half of what it takes as dictionaries (10,000 pods of a real
cluster, with their indexes: 90 MB instead of 200), and parsed when somebody asks for it, in some 10 µs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from pytest_cnimigrate.model.objects import Object, name_of, namespace_of, uid_of

ANY_KIND = ""


@dataclass(frozen=True, slots=True)
class Index:
    """Finds objects by values that are computed from them."""

    name: str
    kind: str
    """`ANY_KIND`: objects of every kind."""
    values: Callable[[Object], Iterable[str]]


def _node(pod: Object) -> Iterable[str]:
    name = pod["spec"].get("nodeName")
    return (name,) if name else ()


def _owners(obj: Object) -> Iterable[str]:
    return (reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ())


def _namespace(obj: Object) -> Iterable[str]:
    namespace = namespace_of(obj)
    return (namespace,) if namespace else ()


BY_NODE = Index("node", "Pod", _node)
BY_OWNER = Index("owner", ANY_KIND, _owners)
"""By the uid of each owner, controller or not."""
BY_NAMESPACE = Index("namespace", ANY_KIND, _namespace)


@dataclass(frozen=True, slots=True)
class _Entry:
    uid: str
    version: str
    text: bytes
    """Empty for an object of which only its existence is kept."""
    places: tuple[tuple[str, str], ...]
    """(index, value) of each index that finds it."""


class State:
    """The objects by kind and key. One thread writes (`put`, `drop`), any may ask."""

    def __init__(self, indexes: Sequence[Index] = (BY_NODE, BY_OWNER, BY_NAMESPACE)) -> None:
        self._indexes = tuple(indexes)
        self._kinds: dict[str, dict[str, _Entry]] = {}
        self._places: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
        self._lock = threading.Lock()

    def get(self, kind: str, key: str) -> Object | None:
        """The object, a copy of the caller's own, or None."""
        with self._lock:
            entry = self._kinds.get(kind, {}).get(key)
        return _parsed(entry.text) if entry is not None and entry.text else None

    def all(self, kind: str) -> Iterator[Object]:
        """Every object of a kind, as they are at this moment. The cost grows with the cluster."""
        with self._lock:
            texts = [entry.text for entry in self._kinds.get(kind, {}).values()]
        return (_parsed(text) for text in texts if text)

    def lookup(self, index: Index, value: str, kind: str = ANY_KIND) -> list[Object]:
        """The objects that an index finds by a value, those of one kind if one is given.

        Raises `KeyError` for an index that this state was not made with.
        """
        if index not in self._indexes:
            raise KeyError(f"this state has no index {index.name!r}")
        with self._lock:
            found = self._places.get((index.name, value), ())
            texts = [self._kinds[one][key].text for one, key in found if kind in (ANY_KIND, one)]
        return [_parsed(text) for text in texts if text]

    def pods_on(self, node: str) -> list[Object]:
        """The pods bound to a node."""
        return self.lookup(BY_NODE, node, "Pod")

    def owned_by(self, uid: str, kind: str = ANY_KIND) -> list[Object]:
        """The objects with an owner of this uid."""
        return self.lookup(BY_OWNER, uid, kind)

    def in_namespace(self, kind: str, namespace: str) -> list[Object]:
        """The objects of a kind in a namespace."""
        return self.lookup(BY_NAMESPACE, namespace, kind)

    def count(self, kind: str) -> int:
        with self._lock:
            return len(self._kinds.get(kind, ()))

    def kinds(self) -> list[str]:
        """The kinds of which there are objects."""
        with self._lock:
            return sorted(kind for kind, entries in self._kinds.items() if entries)

    def keys(self, kind: str) -> list[str]:
        with self._lock:
            return list(self._kinds.get(kind, ()))

    def identity(self, kind: str, key: str) -> tuple[str, str] | None:
        """The object's uid and resource version, or None when there is none."""
        with self._lock:
            entry = self._kinds.get(kind, {}).get(key)
        return (entry.uid, entry.version) if entry is not None else None

    def put(self, kind: str, key: str, obj: Object, *, whole: bool = True) -> None:
        """Take an object in, or its new state. Not `whole`: keep only that it is there, and its version."""
        places = tuple(
            (index.name, value)
            for index in self._indexes
            if whole and index.kind in (ANY_KIND, kind)
            for value in index.values(obj)
        )
        metadata = obj["metadata"]
        entry = _Entry(
            metadata.get("uid") or name_of(obj),
            metadata.get("resourceVersion", ""),
            orjson.dumps(obj) if whole else b"",
            places,
        )
        with self._lock:
            entries = self._kinds.setdefault(kind, {})
            before = entries.get(key)
            entries[key] = entry
            if before is None or before.places != places:
                self._unplace(kind, key, before)
                for place in places:
                    self._places.setdefault(place, {})[kind, key] = None

    def drop(self, kind: str, key: str) -> None:
        """Forget an object; nothing happens if there is none."""
        with self._lock:
            self._unplace(kind, key, self._kinds.get(kind, {}).pop(key, None))

    def _unplace(self, kind: str, key: str, entry: _Entry | None) -> None:
        for place in entry.places if entry is not None else ():
            found = self._places[place]
            found.pop((kind, key), None)
            if not found:
                del self._places[place]


def _parsed(text: bytes) -> Object:
    obj: Object = orjson.loads(text)
    return obj


def uid_or_name(obj: Object) -> str:
    """What tells one life of an object from the next; what the cloud describes has no uid."""
    return uid_of(obj) if "uid" in obj["metadata"] else name_of(obj)
