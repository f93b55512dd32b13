"""A server that is slow, away, throttling or refusing: a clear error in time, and no blind repetition."""

from __future__ import annotations

import pickle
import time

import pytest

from pytest_cnimigrate.kube.errors import (
    ApiTimeout,
    ApiUnreachable,
    Attempt,
    BadRequest,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    NotServed,
    ServerError,
    TooManyRequests,
    Unauthorized,
)
from pytest_cnimigrate.kube.retrying import RetryPolicy, Timeouts
from pytest_cnimigrate.model.resources import CILIUM_NODES, NODES, PODS

QUICK = Timeouts(connect=0.2, read=0.2)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", BadRequest),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
    ],
)
def test_each_refusal_has_its_own_error_and_is_final(api, client, code, reason, kind):
    api.will(api.status(code, reason, "the server's words", details={"name": "a"}))
    with pytest.raises(kind) as caught:
        client.get(NODES, "a")
    assert type(caught.value) is kind
    assert not caught.value.retriable
    assert len(api.seen) == 1


def test_an_error_says_what_was_asked_of_whom_why_it_failed_and_what_to_do(api, client):
    api.will(api.status(403, "Forbidden", 'nodes "a" is forbidden: User "ops" cannot get resource "nodes"'))
    with pytest.raises(Forbidden) as caught:
        client.get(NODES, "a")
    assert str(caught.value) == (
        f'cannot get node a at {api.url}: nodes "a" is forbidden: User "ops" cannot get resource "nodes"'
        " (403 Forbidden)."
        " Ask for the right, or use a context whose user has it (`kubectl auth can-i` tells)."
    )


def test_no_error_carries_the_token(api, client):
    api.will(api.reset(), api.reset(), api.reset(), api.reset())
    with pytest.raises(ApiUnreachable) as caught:
        client.get(NODES, "a")
    assert "very-secret-token" not in f"{caught.value!r}{caught.value}{caught.value.__cause__!r}"


def test_a_kind_that_is_not_served_is_told_from_a_missing_object(api, client):
    api.will(api.text("404 page not found", 404))
    with pytest.raises(NotServed, match="CustomResourceDefinition"):
        client.list(CILIUM_NODES)


def test_invalid_names_the_fields(api, client):
    causes = [{"reason": "FieldValueInvalid", "field": "spec.x", "message": "must be y"}]
    api.will(api.status(422, "Invalid", "Node is invalid", details={"name": "a", "causes": causes}))
    with pytest.raises(Invalid) as caught:
        client.patch(NODES, "a", {})
    assert [(cause.field, cause.message) for cause in caught.value.causes] == [("spec.x", "must be y")]


def test_a_server_that_never_answers_is_given_up_in_time_and_asked_once(api, tmp_path):
    api.will(api.hang())
    with api.client(tmp_path, timeouts=QUICK) as client:
        started = time.monotonic()
        with pytest.raises(ApiTimeout, match="no answer within the time limit") as caught:
            client.get(NODES, "a")
    assert time.monotonic() - started < 1.0
    assert caught.value.retriable
    assert len(api.seen) == 1


def test_a_mutation_without_an_answer_is_not_repeated_and_its_fate_is_said_to_be_unknown(api, tmp_path):
    api.will(api.hang(), api.reset())
    with api.client(tmp_path, timeouts=QUICK) as client:
        for kind in (ApiTimeout, ApiUnreachable):
            with pytest.raises(kind, match="whether it was carried out is not known") as caught:
                client.patch(NODES, "a", {"metadata": {"labels": {"a": "b"}}})
            assert caught.value.sent
    assert [request.method for request in api.seen] == ["PATCH", "PATCH"]


def test_a_read_survives_a_broken_connection_and_a_moment_of_trouble(api, client):
    api.will(api.reset(), api.text("etcd leader changed", 500), api.text("", 503), api.json({"ok": 1}))
    assert client.get(NODES, "a") == {"ok": 1}
    assert len(api.seen) == 4


def test_retries_are_counted(api, client):
    api.will(*[api.text("", 503)] * 4)
    with pytest.raises(ServerError):
        client.get(NODES, "a")
    assert len(api.seen) == 4


def test_a_mutation_is_not_repeated_after_a_server_error(api, client):
    api.will(api.text("boom", 500))
    with pytest.raises(ServerError, match="boom"):
        client.delete(NODES, "a")
    assert len(api.seen) == 1


@pytest.mark.parametrize("verb", ["get", "patch"])
def test_throttling_that_says_when_to_come_back_is_waited_out(api, client, verb):
    api.will(api.status(429, "TooManyRequests", "slow down", Retry_After="0"), api.json({"metadata": {}}))
    if verb == "get":
        client.get(NODES, "a")
    else:
        client.patch(NODES, "a", {})
    assert len(api.seen) == 2


def test_a_mutation_is_not_repeated_after_throttling_without_a_date(api, client):
    api.will(api.status(429, "TooManyRequests", "slow down"))
    with pytest.raises(TooManyRequests) as caught:
        client.patch(NODES, "a", {})
    assert caught.value.retry_after is None
    assert len(api.seen) == 1


def test_the_pause_is_the_servers_if_it_names_one_and_grows_if_it_does_not():
    policy = RetryPolicy(attempts=4, base=1.0, cap=3.0, longest_retry_after=30.0)
    attempt = Attempt("get", "nodes", "here")
    throttled = TooManyRequests(attempt, "", status=429)
    throttled.retry_after = 12.0
    assert policy.pause(throttled, attempt=1, mutation=True) == 12.0
    throttled.retry_after = 31.0
    assert policy.pause(throttled, attempt=1, mutation=False) is None
    broken = ServerError(attempt, "", status=500)
    assert 0.75 <= policy.pause(broken, attempt=1, mutation=False) <= 1.25
    assert 2.25 <= policy.pause(broken, attempt=3, mutation=False) <= 3.75
    assert policy.pause(broken, attempt=4, mutation=False) is None
    assert 2.0 <= policy.backoff(5000) <= 4.0


@pytest.mark.parametrize("sent", [True, False])
def test_a_time_out_is_not_repeated_because_that_would_double_the_wait(sent):
    error = ApiTimeout(Attempt("get", "nodes", "here"), "no connection within the time limit")
    error.sent = sent
    assert RetryPolicy().pause(error, attempt=1, mutation=False) is None


def test_nobody_listening_is_safe_to_repeat_even_for_a_mutation(sleeping_api, tmp_path):
    client = sleeping_api.client(tmp_path)
    with client, pytest.raises(ApiUnreachable, match=r"no connection.*refused") as caught:
        client.evict("a", "b")
    assert not caught.value.sent
    assert sleeping_api.url in str(caught.value)
    assert "not known" not in str(caught.value)


def test_a_server_that_comes_back_gets_the_mutation_once(sleeping_api, tmp_path):
    pauses = []

    def back_again(seconds):
        pauses.append(seconds)
        sleeping_api.start()

    sleeping_api.will(sleeping_api.json({"metadata": {}}))
    with sleeping_api.client(tmp_path) as client:
        client._transport.sleep = back_again
        client.patch(NODES, "a", {})
    assert len(pauses) == 1
    assert len(sleeping_api.seen) == 1


def test_a_transient_403_after_a_restart_is_only_waited_out_when_asked(api, client):
    api.will(api.status(403, "Forbidden"), api.json({"ok": 1}))
    patient = client.with_settings(retries=RetryPolicy(base=0.001, transient_forbidden=True))
    assert patient.get(NODES, "a") == {"ok": 1}
    api.will(api.status(403, "Forbidden"))
    with pytest.raises(Forbidden):
        patient.patch(NODES, "a", {})


def test_a_pod_that_hangs_behind_the_proxy_costs_only_the_time_given_for_it(api, client):
    api.will(api.hang())
    started = time.monotonic()
    with pytest.raises(ApiTimeout):
        client.proxy_pod("p", "default", port=8080, timeouts=QUICK)
    assert time.monotonic() - started < 1.0


def test_an_answer_that_breaks_off_in_the_middle_is_no_answer(api, client):
    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"items": [')
        handler.close_connection = True

    api.will(half, api.json({"metadata": {}, "items": []}))
    assert client.list(PODS) == []
    assert len(api.seen) == 2


def test_something_else_than_an_api_server_is_said_to_be_so(api, client):
    api.will(api.text("<html>login</html>", 200))
    with pytest.raises(ApiUnreachable, match="not JSON"):
        client.get(NODES, "a")


def test_errors_can_cross_processes(api, client):
    api.will(api.status(429, "TooManyRequests", "later", Retry_After="60"))
    with pytest.raises(TooManyRequests) as caught:
        client.get(NODES, "a")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (str(again), again.retry_after) == (str(caught.value), 60.0)
