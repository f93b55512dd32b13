"""YAML documents that remember where each value stood, so that an error can name file, line and field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pytest_cnimigrate.model.objects import Object

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


class DocumentError(Exception):
    """A file that cannot be used; the text is one line that names file, line and field."""


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document and the line (from 1) of every key and list entry in it."""

    path: Path
    value: Any
    lines: dict[Location, int]
    origins: dict[Location, str] = field(default_factory=dict)
    """Where values that are not in the file came from, e.g. `--cni-set new_nodes.size=5`."""

    def where(self, location: Sequence[str | int]) -> str:
        """`file:line` of the value at `location` or of its nearest parent; its origin if it has one."""
        parts = tuple(location)
        for depth in range(len(parts), 0, -1):
            origin = self.origins.get(parts[:depth])
            if origin:
                return origin
        if parts not in self.lines:
            for place, origin in self.origins.items():
                if place[: len(parts)] == parts:
                    return origin  # of something that is not in the file at all
        while parts and parts not in self.lines:
            parts = parts[:-1]
        return f"{self.path}:{self.lines.get(parts, 1)}"

    def error(self, location: Sequence[str | int], text: str) -> DocumentError:
        """The error to raise for the value at `location`."""
        return DocumentError(f"{self.where(location)}: {dotted(location)}: {text}")


def load(path: Path) -> Document:
    """Read a file with one YAML document.

    Raises `DocumentError` when the file is missing, unreadable, empty or not YAML, or repeats a key.
    """
    text = _read(path)
    lines: dict[Location, int] = {}
    with _yaml_errors(path, text):
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                raise DocumentError(f"{path}:1: is empty")
            _note_lines(root, (), lines, path)
            value = loader.construct_document(root)
        finally:
            loader.dispose()
    return Document(path, value, lines)


def load_mapping(path: Path) -> Document:
    """As `load`, for a file that must hold keys and values, such as Helm values."""
    document = load(path)
    if not isinstance(document.value, Mapping):
        raise DocumentError(f"{path}:1: should be a mapping of keys to values")
    return document


def load_manifests(path: Path) -> list[Object]:
    """The Kubernetes objects of a file, one a YAML document.

    Raises `DocumentError` as `load` does, and when a document lacks apiVersion, kind or metadata.name.
    """
    text = _read(path)
    with _yaml_errors(path, text):
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    for number, one in enumerate(documents, start=1):
        for keys in (("apiVersion",), ("kind",), ("metadata", "name")):
            value: Any = one
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            if not isinstance(value, str) or not value:
                raise DocumentError(
                    f"{path}: document {number} of {len(documents)}: {dotted(keys)}: is missing"
                )
    if not documents:
        raise DocumentError(f"{path}:1: is empty")
    return documents


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DocumentError(f"{path}: no such file") from None
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DocumentError(f"{path}:{line}: cannot be read: it is not UTF-8") from None


@contextmanager
def _yaml_errors(path: Path, text: str) -> Iterator[None]:
    """Turn whatever PyYAML raises into one line."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(f"{path}:{line}: not valid YAML: {problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(f"{path}:{line}: not valid YAML: {error.reason}") from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: what looks like a date and is none, e.g. 2026-13-45.
        raise DocumentError(f"{path}:1: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise DocumentError(
            f"{path}:1: not valid YAML: it contains itself, or is nested too deeply"
        ) from None


def _note_lines(node: yaml.Node, location: Location, lines: dict[Location, int], path: Path) -> None:
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = str(key.value)
            place = (*location, name)
            # PyYAML lets the last of two equal keys win in silence; an operator would never know.
            if place in lines and name != "<<":
                raise DocumentError(f"{path}:{key.start_mark.line + 1}: {dotted(place)}: given twice")
            lines[place] = key.start_mark.line + 1
            _note_lines(value, place, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*location, index), lines, path)


def dotted(location: Sequence[str | int]) -> str:
    """`phases.2`, `cluster.name`."""
    return ".".join(str(part) for part in location)


def validate(document: Document, model: type[Model]) -> Model:
    """The document as a model. Raises `DocumentError` with the first thing that is wrong."""
    if not isinstance(document.value, Mapping):
        raise DocumentError(f"{document.path}:1: should be a mapping of keys to values")
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
    # A key that is misspelt is missing too; the line where it stands tells more.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    if first["type"] == "extra_forbidden":
        text = "is not a key that is known here"
    elif first["type"] == "missing":
        text = "is missing"
    else:
        text = _in_words(first)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise document.error(first["loc"], text + more)


# Pydantic speaks Python where an operator reads YAML.
_YAML_TERMS = {
    "model_type": "should be a mapping of keys to values",
    "dict_type": "should be a mapping of keys to values",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
}


def _in_words(problem: ErrorDetails) -> str:
    """Pydantic's message, with the value that it is about."""
    kind, value = problem["type"], problem["input"]
    message = re.sub(r"^(Value error, |\w+ (?=should ))", "", problem["msg"])
    text = _YAML_TERMS.get(kind, message)
    if kind == "value_error" or not isinstance(value, str | int | float | None):
        return text
    spoken = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    # YAML takes 1.30 for a number and no for false, and an account would lose its leading zero.
    quotes = ": put it in quotes" if kind == "string_type" and value is not None else ""
    return f"{text}, not {spoken}{quotes}"
