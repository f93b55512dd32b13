"""Putting objects back as they were."""

from __future__ import annotations

from pytest_cnimigrate.model.objects import Object

_WRITTEN_METADATA = ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences")


def as_manifest(obj: Object) -> Object:
    """The object as somebody would write it: without what the server filled in for this one life of it."""
    metadata = {key: obj["metadata"][key] for key in _WRITTEN_METADATA if obj["metadata"].get(key)}
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}} | {
        "metadata": metadata
    }


def put_back(present: Object, manifest: Object) -> Object:
    """The object that replaces `present` so that it says again what `manifest` says.

    It keeps the identity and the resource version of `present`, so that a change by somebody else in between
    makes the replacement fail, and its status, which is not ours.
    """
    metadata = {key: value for key, value in present["metadata"].items() if key not in _WRITTEN_METADATA}
    status = {"status": present["status"]} if "status" in present else {}
    return {**manifest, **status, "metadata": {**metadata, **manifest["metadata"]}}
