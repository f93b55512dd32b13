"""The patch types of the API, as pure functions on JSON.

Merge patch is RFC 7386, JSON patch RFC 6902 (by `jsonpatch`), and strategic merge patch is Kubernetes' own:
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
Server-side apply is in `apply.py`.
"""

from __future__ import annotations

from typing import Any

import jsonpatch

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.apiserver.errors import bad_request
from pytest_cnimigrate.simulator.apiserver.schema import Schema
from pytest_cnimigrate.simulator.client.api import ApiError

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
ELEMENT_ORDER = "$setElementOrder/"
DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386; the result shares unchanged parts with `target`."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: Object, operations: Any) -> Object:
    """RFC 6902; raises `ApiError` 422 when an operation (or a `test`) fails, 400 when it makes no sense."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    try:
        result: Object = jsonpatch.apply_patch(target, operations)
    except jsonpatch.JsonPatchTestFailed as failed:
        raise ApiError(422, "Invalid", f"the server rejected our request: test failed: {failed}") from failed
    except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPointerException) as failed:
        raise ApiError(
            422,
            "Invalid",
            f"the server rejected our request due to an error in our request: {failed}",
        ) from failed
    except (jsonpatch.InvalidJsonPatch, TypeError, KeyError) as error:
        raise bad_request(f"json patch cannot be decoded: {error}") from error
    return result


def strategic_merge_patch(target: Any, patch: Any, schema: Schema) -> Any:
    """Kubernetes' strategic merge: lists with a merge key are merged item by item."""
    if not isinstance(patch, dict):
        return patch
    directive = patch.get(DIRECTIVE)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch type found in {DIRECTIVE}: {directive}")
    result = dict(target) if isinstance(target, dict) else {}
    if RETAIN_KEYS in patch:
        kept = set(patch[RETAIN_KEYS])
        result = {key: value for key, value in result.items() if key in kept}
    orders: dict[str, list[Any]] = {}
    for key, value in patch.items():
        if key in (DIRECTIVE, RETAIN_KEYS):
            continue
        if key.startswith(ELEMENT_ORDER):
            orders[key.removeprefix(ELEMENT_ORDER)] = value
        elif key.startswith(DELETE_PRIMITIVE):
            name = key.removeprefix(DELETE_PRIMITIVE)
            if name in result:
                result[name] = [item for item in result[name] if item not in value]
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, list):
            result[key] = _merge_list(result.get(key), value, schema.field(key), key)
        else:
            result[key] = strategic_merge_patch(result.get(key), value, schema.field(key))
    for key, order in orders.items():
        if key in result:
            result[key] = _ordered(result[key], order, schema.field(key).merge_key)
    return result


def _merge_list(current: Any, patch: list[Any], schema: Schema, field: str) -> list[Any]:
    existing: list[Any] = current if isinstance(current, list) else []
    key = schema.merge_key
    if key is None:
        if schema.merges_primitives:
            return existing + [item for item in patch if item not in existing]
        return [_without_directives(item) for item in patch]
    result = list(existing)
    if any(isinstance(item, dict) and item.get(DIRECTIVE) == "replace" for item in patch):
        result = []
        patch = [item for item in patch if item.get(DIRECTIVE) != "replace"]
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(
                f"map: {item} does not contain declared merge key: {key} (in the list {field!r})"
            )
        position = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
        if item.get(DIRECTIVE) == "delete":
            result = [old for old in result if old.get(key) != item[key]]
        elif position is None:
            result.append(strategic_merge_patch({}, item, schema.items))
        else:
            result[position] = strategic_merge_patch(result[position], item, schema.items)
    return result


def _without_directives(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return {key: value for key, value in item.items() if not key.startswith("$")}


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Items the patch orders take that order; the server's own items keep their place among them."""

    def identity(item: Any) -> Any:
        return item.get(key) if key is not None and isinstance(item, dict) else item

    ranks = {identity(item): rank for rank, item in enumerate(order)}
    ordered = iter(sorted((i for i in items if identity(i) in ranks), key=lambda i: ranks[identity(i)]))
    return [next(ordered) if identity(item) in ranks else item for item in items]
