"""Keeping secrets out of whatever is written down: see `pytest_cnimigrate.model.redaction`."""

from __future__ import annotations

from pytest_cnimigrate.model.redaction import REDACTED, redact

__all__ = ["REDACTED", "redact"]
