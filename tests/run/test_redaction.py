"""No secret is written down, and nothing else is taken away."""

from __future__ import annotations

import pytest

from pytest_cnimigrate.run.redaction import REDACTED, redact


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "bearerToken",
        "AWS_SESSION_TOKEN",
        "password",
        "aws_secret_access_key",
        "SecretAccessKey",
        "client-key-data",
        "certificate-authority-data",
        "Authorization",
        "clientSecret",
    ],
)
def test_what_a_key_calls_secret_is_redacted(key: str) -> None:
    assert redact({"outer": [{key: "s3cr3t-value"}]}) == {"outer": [{key: REDACTED}]}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdef0123456789",
        "key AKIAIOSFODNN7EXAMPLE is used",
        "token k8s-aws-v1.aHR0cHM6Ly9zdHM",
        "jwt eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "https://sts/?X-Amz-Credential=AKIA%2F2026&X-Amz-Signature=deadbeef0123",
        "fetch https://user:pa55word@registry.example/v2",
        'aws_secret_access_key = "wJalrXUtnFEMIK7MDENG"',
        "password: correct-horse",
        '{"token": "0123456789abcdef"}',
    ],
)
def test_what_looks_like_a_credential_is_redacted_in_texts(text: str) -> None:
    cleaned = redact(text)
    assert REDACTED in cleaned
    secrets = [
        "abcdef0123456789",
        "AKIA",
        "aHR0cHM6",
        "eyJzdWIi",
        "MIIE",
        "deadbeef",
        "pa55",
        "wJalr",
        "horse",
    ]
    for secret in [*secrets, "0123456789abcdef"]:
        assert secret not in cleaned


def test_the_values_of_a_kubernetes_secret_are_redacted_and_its_name_is_not() -> None:
    secret = {
        "kind": "Secret",
        "metadata": {"name": "db"},
        "data": {"user": "eA=="},
        "stringData": {"a": "b"},
    }
    assert redact(secret) == {
        "kind": "Secret",
        "metadata": {"name": "db"},
        "data": {"user": REDACTED},
        "stringData": {"a": REDACTED},
    }


def test_secrets_in_a_containers_environment_are_redacted() -> None:
    environment = [{"name": "AWS_SECRET_ACCESS_KEY", "value": "wJalr"}, {"name": "LEVEL", "value": "debug"}]
    assert redact(environment) == [
        {"name": "AWS_SECRET_ACCESS_KEY", "value": REDACTED},
        {"name": "LEVEL", "value": "debug"},
    ]


@pytest.mark.parametrize(
    "value",
    [
        "label node ip-10-0-1-12.ec2.internal with cni=aws-cni",
        "secret: not found",
        "token: is gone",
        "i-0123456789abcdef0",
        "kube-system/aws-node: affinity",
        {"secretName": "tls", "tokenExpirationSeconds": 3600, "automountServiceAccountToken": False},
        {"key": "cni", "operator": "In", "values": ["aws-cni"], "count": 3, "none": None},
    ],
)
def test_ordinary_values_stay_as_they_are(value: object) -> None:
    assert redact(value) == value


def test_what_is_redacted_stays_redacted() -> None:
    once = redact({"token": "abc", "text": "password=abcdefgh, Bearer abcdefghij"})
    assert redact(once) == once
