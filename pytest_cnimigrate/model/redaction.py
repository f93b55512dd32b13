"""Keeping secrets out of whatever is written down.

Applied to every line of the journal and of the record, and by the report to whatever it shows. It works by
name (a key that says it holds a secret) and by shape (bearer tokens, AWS keys, private keys in the middle of
a text).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"

# Compared without case, dashes and underscores, at the end of the key: `AWS_SECRET_ACCESS_KEY` and
# `client-key-data` are secret, `secretName` and `tokenExpirationSeconds` are not.
_SECRET_KEY_ENDINGS = (
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "secretkey",
    "secretaccesskey",
    "apikey",
    "privatekey",
    "keydata",
    "certificateauthoritydata",
    "authorization",
    "credential",
    "credentials",
)

_NAMES = (
    r"(?:[\w-]*token|[\w-]*password|passwd|passphrase|client[_-]?key[_-]?data|certificate[_-]?authority[_-]?data"
    r"|(?:aws[_-]?)?secret[_-]?access[_-]?key|client[_-]?secret|api[_-]?key|private[_-]?key)"
)

_SHAPES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), lambda match: f"{match[1]} {REDACTED}"),
    # The token of `aws eks get-token`: a pre-signed URL in base64.
    (re.compile(r"\bk8s-aws-v1\.[A-Za-z0-9_=-]+"), REDACTED),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), REDACTED),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
    (
        re.compile(r"(?i)\b(X-Amz-(?:Signature|Credential|Security-Token))=[^&\s\"']+"),
        lambda match: f"{match[1]}={REDACTED}",
    ),
    (re.compile(r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"), REDACTED),
    # At least six characters without a blank, so that "token: is gone" stays readable.
    (
        re.compile(rf"(?i)(?<![\w-])({_NAMES})([\"']?\s*[:=]\s*[\"']?)([^\s\"',;}}\[]{{6,}})"),
        lambda match: f"{match[1]}{match[2]}{REDACTED}",
    ),
)


def redact(value: Any) -> Any:
    """The same text or JSON value without its secrets.

    Whatever stands under a key that names a secret is replaced, as are the values of a Kubernetes Secret,
    of `{"name": "…PASSWORD", "value": …}` pairs (a container's environment), and texts that look like
    credentials. Numbers, booleans and None are never secret here.
    """
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, dict):
        return _redact_mapping(value)
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


# Texts that were found clean: 10,000 pods say much the same things. Never one that holds a secret.
_clean: set[str] = set()
_CLEAN_TEXTS = 50_000
_CLEAN_LENGTH = 256


def _redact_text(text: str) -> str:
    if text in _clean:
        return text
    redacted = text
    for pattern, replacement in _SHAPES:
        redacted = pattern.sub(replacement, redacted)
    if redacted == text and len(text) <= _CLEAN_LENGTH:
        if len(_clean) >= _CLEAN_TEXTS:
            _clean.clear()
        _clean.add(text)
    return redacted


def _redact_mapping(mapping: dict[Any, Any]) -> dict[Any, Any]:
    is_secret = mapping.get("kind") == "Secret"
    name = mapping.get("name")
    names_secret = isinstance(name, str) and _is_secret_key(name)
    result: dict[Any, Any] = {}
    for key, value in mapping.items():
        if (
            (is_secret and key in ("data", "stringData"))
            or (names_secret and key == "value" and isinstance(value, str))
            or (isinstance(key, str) and _is_secret_key(key))
        ):
            result[key] = _blank(value)
        else:
            result[key] = redact(value)
    return result


@lru_cache(maxsize=8192)
def _is_secret_key(key: str) -> bool:
    return key.lower().replace("-", "").replace("_", "").endswith(_SECRET_KEY_ENDINGS)


def _blank(value: Any) -> Any:
    """The same shape with every text in it replaced."""
    if isinstance(value, str):
        return REDACTED if value else value
    if isinstance(value, dict):
        return {key: _blank(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_blank(item) for item in value]
    return value
