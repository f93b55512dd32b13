"""Field selectors: which fields of which kind can be selected by (others are a 400, as in Kubernetes)."""

from __future__ import annotations

from collections.abc import Callable

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import Resource
from pytest_cnimigrate.model.selectors import (
    SelectorError,
    matches,
    parse_field_selector,
    parse_label_selector,
)
from pytest_cnimigrate.simulator.apiserver.errors import bad_request
from pytest_cnimigrate.simulator.apiserver.store import Scope

FieldReader = Callable[[Object], str]


def _reader(path: str) -> FieldReader:
    steps = path.split(".")

    def read(obj: Object) -> str:
        value: object = obj
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    return read


def _false_when_absent(path: str) -> FieldReader:
    read = _reader(path)
    return lambda obj: read(obj) or "false"


def _event_source(obj: Object) -> str:
    """`source` is the component, or the reporting controller of newer events."""
    source = (obj.get("source") or {}).get("component") or obj.get("reportingComponent")
    return str(source or "")


_READERS = {path: _reader(path) for path in ("metadata.name", "metadata.namespace")}

_OWN: dict[str, dict[str, FieldReader]] = {
    "pods": {
        path: _reader(path)
        for path in (
            "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
            "status.phase", "status.podIP", "status.nominatedNodeName",
        )
    } | {"spec.hostNetwork": _false_when_absent("spec.hostNetwork")},
    "nodes": {"spec.unschedulable": _false_when_absent("spec.unschedulable")},
    "namespaces": {"status.phase": _reader("status.phase")},
    "events": {
        path: _reader(path)
        for path in (
            "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
            "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
            "reason", "reportingComponent", "type",
        )
    } | {"source": _event_source},
    "secrets": {"type": _reader("type")},
    "services": {path: _reader(path) for path in ("spec.clusterIP", "spec.type")},
    "replicasets.apps": {"status.replicas": _reader("status.replicas")},
    "jobs.batch": {"status.successful": _reader("status.succeeded")},
}  # fmt: skip

INDEXED = {"pods": "spec.nodeName"}
"""What the store looks lists and watches up by, one field a kind."""


def index_function(group_resource: str) -> Callable[[Object], str]:
    """How the store reads the indexed field."""
    return _OWN[group_resource][INDEXED[group_resource]]


def scope_of(resource: Resource, namespace: str, *, labels: str = "", fields: str = "") -> Scope:
    """Selectors as the store wants them; raises `ApiError` 400 on bad syntax or an unknown field."""
    try:
        label_terms = parse_label_selector(labels) if labels else ()
        parsed = parse_field_selector(fields) if fields else ()
    except SelectorError as error:
        raise bad_request(str(error)) from error
    field_terms = []
    indexed = None
    for term in parsed:
        own = _OWN.get(resource.group_resource, {})
        reader = _READERS.get(term.path) or own.get(term.path)
        if reader is None:
            problem = (
                f"field label not supported: {term.path}"
                if own
                else f'"{term.path}" is not a known field selector: '
                'only "metadata.name", "metadata.namespace"'
            )
            raise bad_request(
                f'Unable to find "{resource.group}/{resource.version}, Resource={resource.plural}" '
                f'that match label selector "{labels}", field selector "{fields}": {problem}'
            )
        if term.path == INDEXED.get(resource.group_resource) and term.equal:
            indexed = term.value
        field_terms.append((reader, term.value, term.equal))
    if not label_terms and not field_terms:
        return Scope(namespace)

    def predicate(obj: Object) -> bool:
        for reader, value, equal in field_terms:
            if (reader(obj) == value) != equal:
                return False
        return not label_terms or matches(label_terms, obj["metadata"].get("labels") or {})

    return Scope(namespace, predicate, indexed)
