"""Names, labels and annotation keys, as `k8s.io/apimachinery/pkg/util/validation` judges them."""

from __future__ import annotations

import re
from typing import Any

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.errors import FieldError, invalid_value, required

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PATH_SEGMENT = re.compile(r"(?!\.{1,2}$)[^/%]+")

SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
    "for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
NO_MORE_THAN_63 = "must be no more than 63 characters"

_LABEL_NAMED = {"namespaces", "services"}
_PATH_NAMED = re.compile(r"(cluster)?roles?(bindings)?\.rbac\.authorization\.k8s\.io")

Errors = list[FieldError]


def validate_metadata(group_resource: str, metadata: Object) -> Errors:
    """Name, labels and annotations' keys."""
    errors: Errors = []
    name = metadata.get("name") or ""
    if not name:
        errors.append(required("metadata.name", "name or generateName is required"))
    elif group_resource in _LABEL_NAMED:
        errors += validate_dns_label(name, "metadata.name")
    elif _PATH_NAMED.fullmatch(group_resource):
        if not _PATH_SEGMENT.fullmatch(name):
            errors.append(
                invalid_value("metadata.name", name, "may not be '.' or '..' or contain '/' or '%'")
            )
    elif not _DNS_SUBDOMAIN.fullmatch(name):
        errors.append(invalid_value("metadata.name", name, SUBDOMAIN_RULE))
    elif len(name) > 253:
        errors.append(invalid_value("metadata.name", name, "must be no more than 253 characters"))
    errors += validate_labels(metadata.get("labels"), "metadata.labels")
    for key in metadata.get("annotations") or ():
        errors += validate_qualified_name(key.lower(), "metadata.annotations", key)
    return errors


def validate_qualified_name(name: str, field: str, shown: str | None = None) -> Errors:
    """A label's or taint's key: `name` or `prefix/name`."""
    prefix, _, part = name.rpartition("/")
    if not _NAME_PART.fullmatch(part):
        return [invalid_value(field, shown or name, KEY_RULE)]
    if len(part) > 63:
        return [invalid_value(field, shown or name, f"name part {NO_MORE_THAN_63}")]
    if "/" in name and not _DNS_SUBDOMAIN.fullmatch(prefix):
        return [invalid_value(field, shown or name, f"prefix part {SUBDOMAIN_RULE}")]
    return []


def validate_label_value(value: str, field: str) -> Errors:
    """A label's or taint's value, which may be empty."""
    if len(value) > 63:
        return [invalid_value(field, value, NO_MORE_THAN_63)]
    if value and not _NAME_PART.fullmatch(value):
        return [invalid_value(field, value, VALUE_RULE)]
    return []


def validate_dns_label(name: str, field: str) -> Errors:
    """The name of a container, a namespace, …"""
    if not _DNS_LABEL.fullmatch(name):
        return [invalid_value(field, name, LABEL_RULE)]
    return [invalid_value(field, name, NO_MORE_THAN_63)] if len(name) > 63 else []


def validate_labels(labels: Any, field: str) -> Errors:
    """Keys and values of a label map."""
    errors: Errors = []
    for key, value in (labels or {}).items():
        errors += validate_qualified_name(key, field)
        if isinstance(value, str):
            errors += validate_label_value(value, field)
        else:
            errors.append(invalid_value(field, value, "must be a string"))
    return errors
