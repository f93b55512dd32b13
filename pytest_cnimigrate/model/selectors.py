"""Selectors: labels, fields, node affinity terms, taints and tolerations, as pure functions.

The grammar and the error texts follow `k8s.io/apimachinery/pkg/labels` and `pkg/fields`; affinity follows
`k8s.io/component-helpers/scheduling/corev1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from pytest_cnimigrate.model.objects import Object, labels_of, name_of

Labels = Mapping[str, str]


class SelectorError(ValueError):
    """A selector that cannot be understood; the text is the API server's."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector; operators are those of `LabelSelectorRequirement`, and Gt and Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        present = self.key in labels
        match self.operator:
            case "In":
                return present and labels[self.key] in self.values
            case "NotIn":
                return not present or labels[self.key] not in self.values
            case "Exists":
                return present
            case "DoesNotExist":
                return not present
            case "Gt" | "Lt":
                return present and self._compares(labels[self.key])
        raise SelectorError(f'"{self.operator}" is not a valid label selector operator')

    def _compares(self, text: str) -> bool:
        try:
            value, bound = int(text), int(self.values[0])
        except (ValueError, IndexError):
            return False  # as in Kubernetes: what is not an integer does not match
        return value > bound if self.operator == "Gt" else value < bound


Selector = tuple[Requirement, ...]

_TOKEN = re.compile(r"\s*(?:(==|!=|=|!|,|\(|\)|>|<)|([A-Za-z0-9_./\-]+))")


def _tokens(text: str) -> list[str]:
    tokens = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise SelectorError(f"unable to parse requirement: found '{text[position:].strip()}'")
        tokens.append(match.group(1) or match.group(2))
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._position = 0

    def parse(self) -> Selector:
        requirements = []
        while self._peek():
            requirements.append(self._requirement())
            if self._peek() and self._next() != ",":
                raise self._unexpected(self._tokens[self._position - 1], "',' or end of string")
        return tuple(requirements)

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._position += 1
        return token

    def _unexpected(self, found: str, expected: str) -> Exception:
        return SelectorError(f"unable to parse requirement: found '{found}', expected: {expected}")

    def _key(self) -> str:
        token = self._next()
        if not token or not (token[0].isalnum() or token[0] in "_./-"):
            raise self._unexpected(token, "identifier")
        return token

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return Requirement(self._key(), "DoesNotExist")
        key = self._key()
        operator = self._peek()
        if operator in ("", ","):
            return Requirement(key, "Exists")
        self._next()
        match operator:
            case "=" | "==":
                return Requirement(key, "In", (self._value(),))
            case "!=":
                return Requirement(key, "NotIn", (self._value(),))
            case "in":
                return Requirement(key, "In", self._value_set())
            case "notin":
                return Requirement(key, "NotIn", self._value_set())
            case ">":
                return Requirement(key, "Gt", (self._value(),))
            case "<":
                return Requirement(key, "Lt", (self._value(),))
        raise self._unexpected(operator, "in, notin, =, ==, !=, gt, lt")

    def _value(self) -> str:
        """A value may be empty: `key=` asks for the empty string."""
        return "" if self._peek() in ("", ",") else self._key()

    def _value_set(self) -> tuple[str, ...]:
        opening = self._next()
        if opening != "(":
            raise self._unexpected(opening, "'('")
        values = [""] if self._peek() in (",", ")") else [self._key()]
        while (mark := self._next()) == ",":
            values.append("" if self._peek() in (",", ")") else self._key())
        if mark != ")":
            raise self._unexpected(mark, "',', ')' or identifier")
        return tuple(values)


@lru_cache(maxsize=4096)
def parse_label_selector(text: str) -> Selector:
    """`a=b,c!=d,e in (f,g),h,!i` as requirements; raises `SelectorError` on a syntax error."""
    return _Parser(text).parse()


def matches(selector: Selector, labels: Labels) -> bool:
    """Whether every requirement holds; the empty selector matches everything."""
    return all(requirement.matches(labels) for requirement in selector)


def label_selector(selector: Object | None) -> Selector | None:
    """A `metav1.LabelSelector` as requirements; None (which matches nothing) for an absent one."""
    if selector is None:
        return None
    equal = tuple(Requirement(k, "In", (v,)) for k, v in (selector.get("matchLabels") or {}).items())
    return equal + _requirements(selector.get("matchExpressions"))


def matches_label_selector(selector: Object | None, labels: Labels) -> bool:
    """Whether a `metav1.LabelSelector` selects: an empty one selects all, an absent one none."""
    parsed = label_selector(selector)
    return parsed is not None and matches(parsed, labels)


def format_label_selector(selector: Object | None) -> str:
    """A `metav1.LabelSelector` as text, e.g. `app=web,tier in (a,b)`."""
    return ",".join(_format(requirement) for requirement in label_selector(selector) or ())


def _format(requirement: Requirement) -> str:
    key, values = requirement.key, ",".join(sorted(requirement.values))
    match requirement.operator:
        case "In" if len(requirement.values) == 1:
            return f"{key}={values}"
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "Exists":
            return key
    return f"!{key}"


def _requirements(expressions: Iterable[Object] | None) -> Selector:
    return tuple(
        Requirement(item["key"], item["operator"], tuple(item.get("values") or ()))
        for item in expressions or ()
    )


def matches_node_selector_terms(terms: Iterable[Object] | None, node: Object) -> bool:
    """Whether one of the terms (they are ORed) matches; an empty term, as no term at all, matches nothing."""
    return any(_matches_term(term, node) for term in terms or ())


def _matches_term(term: Object, node: Object) -> bool:
    expressions, fields = term.get("matchExpressions"), term.get("matchFields")
    if not expressions and not fields:
        return False
    return matches(_requirements(expressions), labels_of(node)) and matches(
        _requirements(fields), {"metadata.name": name_of(node)}
    )


def matches_node(pod_spec: Object, node: Object) -> bool:
    """Whether `nodeSelector` and required node affinity of a pod allow the node."""
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (pod_spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or matches_node_selector_terms(required.get("nodeSelectorTerms"), node)


def covers(toleration: Object, taint: Object) -> bool:
    """Whether one toleration covers one taint (an empty key with Exists covers all)."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    key = toleration.get("key", "")
    if key and key != taint["key"]:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return operator == "Equal" and bool(key) and toleration.get("value", "") == taint.get("value", "")


def tolerates(tolerations: Iterable[Object] | None, taint: Object) -> bool:
    """Whether one of the tolerations covers the taint."""
    return any(covers(toleration, taint) for toleration in tolerations or ())


def untolerated_taint(
    taints: Iterable[Object] | None, tolerations: Iterable[Object] | None, effects: Iterable[str]
) -> Object | None:
    """The first taint with one of the effects that no toleration covers."""
    tolerations = list(tolerations or ())
    for taint in taints or ():
        if taint["effect"] in effects and not tolerates(tolerations, taint):
            return taint
    return None


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """`path=value` or `path!=value`."""

    path: str
    value: str
    equal: bool


_FIELD = re.compile(r"^\s*([^=!\s]+)\s*(==|=|!=)\s*(.*?)\s*$", re.DOTALL)


@lru_cache(maxsize=4096)
def parse_field_selector(text: str) -> tuple[FieldRequirement, ...]:
    """`spec.nodeName=a,status.phase!=Running`; a comma in a value is escaped by a backslash."""
    requirements = []
    for part in re.split(r"(?<!\\),", text):
        if not part.strip():
            continue
        match = _FIELD.match(part)
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        path, operator, value = match.groups()
        value = re.sub(r"\\(.)", r"\1", value)
        requirements.append(FieldRequirement(path, value, operator != "!="))
    return tuple(requirements)
