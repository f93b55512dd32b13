"""YAML documents that remember where each value stood, so that an error can name file, line and field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

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
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DocumentError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: cannot be read: {error}") from None
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise DocumentError(f"{path}: is empty")
        lines: dict[Location, int] = {}
        _note_lines(root, (), lines, path)
        value = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DocumentError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise DocumentError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()
    return Document(path, value, lines)


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
    first = problems[0]
    if first["type"] == "extra_forbidden":
        text = "is not a key that is known here"
    elif first["type"] == "missing":
        text = "is missing"
    else:
        text = first["msg"].removeprefix("Value error, ")
        text = text[0].lower() + text[1:]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise document.error(first["loc"], text + more)
