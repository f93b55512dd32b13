"""Update objects: how EKS reports what becomes of a change (DescribeUpdate, ListUpdates)."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.operations import Parameters, Result, operation, page_of


@dataclass(slots=True)
class Update:
    type: Literal["ConfigUpdate", "AddonUpdate"]
    cluster: str
    node_group: str = ""
    add_on: str = ""
    params: dict[str, str] = field(default_factory=dict)
    """Parameter type (`LabelsToAdd`, …) -> its value as text."""
    token: str = ""
    """The request's `clientRequestToken`: a repeated request finds the update it started."""
    status: Literal["InProgress", "Successful", "Failed"] = "InProgress"
    errors: list[dict[str, Any]] = field(default_factory=list)
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    update_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def fail(self, code: str, message: str, *resource_ids: str) -> None:
        self.status = "Failed"
        self.errors.append({"errorCode": code, "errorMessage": message, "resourceIds": [*resource_ids]})

    def describe(self) -> Result:
        return {
            "id": self.update_id,
            "status": self.status,
            "type": self.type,
            "params": [{"type": kind, "value": value} for kind, value in self.params.items()],
            "createdAt": self.created,
            "errors": self.errors,
        }


def update_params(**values: Any) -> dict[str, str]:
    """Parameters of an update, in EKS's spelling: numbers as digits, everything else as JSON."""
    return {
        kind: value if isinstance(value, str) else json.dumps(value)
        for kind, value in values.items()
        if value not in (None, [], {})
    }


class Updates:
    """All updates of the account, and the operations that read them."""

    def __init__(self) -> None:
        self._updates: dict[str, Update] = {}

    def add(self, update: Update) -> Update:
        self._updates[update.update_id] = update
        return update

    def of_request(self, token: str) -> Update | None:
        """The update that a request with this token has already started."""
        return next((one for one in self._updates.values() if token and one.token == token), None)

    @operation("DescribeUpdate", "name", "updateId", "nodegroupName", "addonName")
    async def describe_update(self, given: Parameters) -> Result:
        update = self._updates.get(given["updateId"])
        if update is None or not _concerns(update, given):
            raise AwsError(
                "ResourceNotFoundException", f"No update found for ID: {given['updateId']}", status=404
            )
        return {"update": update.describe()}

    @operation("ListUpdates", "name", "nodegroupName", "addonName", "maxResults", "nextToken")
    async def list_updates(self, given: Parameters) -> Result:
        ids = [update.update_id for update in self._updates.values() if _concerns(update, given)]
        page, token = page_of(
            ids,
            token=given.get("nextToken"),
            size=given.get("maxResults"),
            error_code="InvalidParameterException",
        )
        return {"updateIds": page, "nextToken": token}


def _concerns(update: Update, given: Mapping[str, Any]) -> bool:
    wanted = (given["name"], given.get("nodegroupName", ""), given.get("addonName", ""))
    return (update.cluster, update.node_group, update.add_on) == wanted
