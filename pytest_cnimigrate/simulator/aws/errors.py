"""The error that an AWS operation answers with."""

from __future__ import annotations


class AwsError(Exception):
    """A typed error: `code` as in the service's model, `status` of HTTP, `fields` beside the message."""

    def __init__(self, code: str, message: str, *, status: int = 400, **fields: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields
