"""Histories of templates (ControllerRevisions) and the hashes that name them."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from pytest_cnimigrate.model.objects import (
    Object,
    controller_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from pytest_cnimigrate.model.resources import CONTROLLER_REVISIONS
from pytest_cnimigrate.simulator.client.api import Api, ApiError
from pytest_cnimigrate.simulator.client.informer import Informer, Informers
from pytest_cnimigrate.simulator.controllers.pods import BY_OWNER, ORPHANS, claim

HASH_LABEL = "controller-revision-hash"
TEMPLATE_HASH_LABEL = "pod-template-hash"

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Letters and digits that make no words (apimachinery's `rand.SafeEncodeString`)."""


def safe_encode(text: str) -> str:
    """Kubernetes' spelling of hashes, e.g. `86554cbc84`."""
    return "".join(_ALPHABET[ord(letter) % len(_ALPHABET)] for letter in text)


def template_hash(template: Any, collision_count: int = 0) -> str:
    """A short name for a template: the same template has the same one, `collision_count` makes it another.

    The spelling is Kubernetes' (a 32-bit number, safely encoded); the number is not: theirs is FNV over Go's
    own print of the structure.
    """
    data = orjson.dumps(template, option=orjson.OPT_SORT_KEYS)
    if collision_count:
        data += str(collision_count).encode()
    return safe_encode(str(int.from_bytes(hashlib.sha256(data).digest()[:4], "big")))


def collision_count(obj: Object) -> int:
    count: int = (obj.get("status") or {}).get("collisionCount") or 0
    return count


def revision_informer(informers: Informers) -> Informer:
    informer = informers.of(CONTROLLER_REVISIONS)
    informer.add_index(BY_OWNER, lambda o: [c["uid"]] if (c := controller_of(o)) else [])
    informer.add_index(ORPHANS, lambda o: [] if controller_of(o) else [namespace_of(o)])
    return informer


class History:
    """The ControllerRevisions of DaemonSets or StatefulSets: the current one, and enough to roll back."""

    def __init__(self, api: Api, revisions: Informer) -> None:
        self._api = api
        self._revisions = revisions

    def of(self, owner: Object) -> list[Object]:
        """Revisions, oldest first."""
        return sorted(
            self._revisions.indexed(BY_OWNER, uid_of(owner)), key=lambda r: (r["revision"], name_of(r))
        )

    async def current(self, owner: Object) -> Object:
        """The revision of the owner's template as it is now: found, raised to the newest, or created."""
        template = {**owner["spec"]["template"], "$patch": "replace"}
        data = {"spec": {"template": template}}
        await claim(self._api, CONTROLLER_REVISIONS, self._revisions, owner, owner["spec"]["selector"])
        existing = self.of(owner)
        newest = existing[-1]["revision"] if existing else 0
        same = [revision for revision in existing if revision["data"] == data]
        if not same:
            return await self._create(owner, data, newest + 1)
        revision = same[-1]
        if revision["revision"] == newest:
            return revision
        # A roll-back: the old template is the newest revision again.
        raised = await self._api.update(CONTROLLER_REVISIONS, {**revision, "revision": newest + 1})
        return await self._seen(raised)

    async def _create(self, owner: Object, data: Object, number: int) -> Object:
        collisions = collision_count(owner)
        while True:
            digest = template_hash(data, collisions)
            revision: Object = {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": f"{name_of(owner)}-{digest}",
                    "namespace": namespace_of(owner),
                    "labels": {
                        **((owner["spec"]["template"].get("metadata") or {}).get("labels") or {}),
                        HASH_LABEL: digest,
                    },
                    "ownerReferences": [owner_reference(owner)],
                },
                "data": data,
                "revision": number,
            }
            try:
                created = await self._api.create(CONTROLLER_REVISIONS, revision, namespace_of(owner))
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                # Of another owner of the same name that is not gone yet, or a collision of the hash.
                collisions += 1
                continue
            return await self._seen(created)

    async def _seen(self, revision: Object) -> Object:
        await self._revisions.wait_until(lambda: self._revisions.has_seen(revision))
        return revision

    async def clean_up(self, owner: Object, in_use: set[str], limit: int) -> None:
        """Delete the oldest revisions beyond `limit`, except the current one and those in use (by hash)."""
        old = [r for r in self.of(owner)[:-1] if revision_hash(r) not in in_use]
        for revision in old[: max(0, len(old) - limit)]:
            await self._api.delete(CONTROLLER_REVISIONS, name_of(revision), namespace_of(revision))


def revision_hash(revision: Object) -> str:
    return labels_of(revision).get(HASH_LABEL, "")
