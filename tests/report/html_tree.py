"""Enough of an HTML reader to ask questions about a page, and to refuse one that is not well-formed."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Element:
    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element | str] = []

    def all(self, *tags: str) -> Iterator[Element]:
        """Every element below, in order; of these tags if any are given."""
        for child in self.children:
            if isinstance(child, Element):
                if not tags or child.tag in tags:
                    yield child
                yield from child.all(*tags)

    def of_class(self, name: str) -> list[Element]:
        return [found for found in self.all() if name in found.attributes.get("class", "").split()]

    def by_id(self, identity: str) -> Element:
        (found,) = [found for found in self.all() if found.attributes.get("id") == identity]
        return found

    @property
    def text(self) -> str:
        """What can be read in it, blanks run together; style sheets are not text."""
        if self.tag == "style":
            return ""
        parts = [child.text if isinstance(child, Element) else child for child in self.children]
        return " ".join(" ".join(parts).split())

    @property
    def exact_text(self) -> str:
        return "".join(child.exact_text if isinstance(child, Element) else child for child in self.children)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def finished(self) -> Element:
        self.close()
        assert self._open == [self.root], f"<{self._open[-1].tag}> is not closed"
        return self.root


def parse(html: str) -> Element:
    """The page; an AssertionError if its elements are not properly nested."""
    reader = _Reader()
    reader.feed(html)
    return reader.finished()
