"""A module docstring as blocks that a template can set: paragraphs, lists, literal text.

Only as much markup as runbooks use: blank lines, `-` or `1.` items, indented or `::` literals, a lead such as
`Undo:` at the start of a paragraph, backquotes and `**strong**` words. Everything stays text; nothing here
makes HTML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent
from typing import Literal

_ITEM = re.compile(r"(?:[-*•]|\d{1,2}[.)])\s+")
_LEAD = re.compile(r"([A-Z][\w' ]{1,30}:)(?:\s+|$)")
_MARKED = re.compile(r"``(?P<literal>[^`]+)``|`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line: `code` if it stood in backquotes, `strong` between double asterisks."""

    text: str
    kind: Literal["", "code", "strong"] = ""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a runbook text."""

    kind: Literal["paragraph", "list", "literal"]
    lead: str = ""
    """`Undo:` of a paragraph that starts so."""
    items: tuple[tuple[Span, ...], ...] = ()
    """The list's items; a paragraph has one."""
    ordered: bool = False
    literal: str = ""


def blocks(text: str) -> tuple[Block, ...]:
    """The blocks of a text."""
    first, _, rest = text.strip("\n").partition("\n")
    body = f"{first.strip()}\n{dedent(rest)}"  # a docstring's first line has no indent, the others may
    found: list[Block] = []
    literal_next = False
    for chunk in re.split(r"\n[ \t]*\n", body):
        if not chunk.strip():
            continue
        lines = chunk.strip("\n").split("\n")
        if literal_next or all(line.startswith("    ") for line in lines):
            found.append(Block("literal", literal=dedent("\n".join(lines)).rstrip()))
            literal_next = False
            continue
        literal_next = lines[-1].rstrip().endswith("::")
        if literal_next:
            lines[-1] = lines[-1].rstrip()[:-1]
        found.extend(_flowing([line.strip() for line in lines]))
    return tuple(found)


def _flowing(lines: list[str]) -> list[Block]:
    """Paragraph lines, then perhaps list items, each of which may run over several lines."""
    paragraph: list[str] = []
    items: list[str] = []
    ordered = False
    for line in lines:
        marker = _ITEM.match(line)
        if marker:
            ordered = ordered or line[0].isdigit()
            items.append(line[marker.end() :])
        elif items:
            items[-1] += f" {line}"
        else:
            paragraph.append(line)
    found: list[Block] = []
    if paragraph:
        text = " ".join(paragraph)
        lead = _LEAD.match(text)
        rest = text[lead.end() :] if lead else text
        found.append(Block("paragraph", lead=lead[1] if lead else "", items=(spans(rest),)))
    if items:
        found.append(Block("list", items=tuple(spans(item) for item in items), ordered=ordered))
    return found


def spans(line: str) -> tuple[Span, ...]:
    """A line's pieces, the marked ones told apart."""
    found: list[Span] = []
    end = 0
    for match in _MARKED.finditer(line):
        if match.start() > end:
            found.append(Span(line[end : match.start()]))
        strong = match["strong"]
        found.append(Span(strong, "strong") if strong else Span(match["literal"] or match["code"], "code"))
        end = match.end()
    if end < len(line):
        found.append(Span(line[end:]))
    return tuple(found)
