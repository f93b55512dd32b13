"""Requests and answers as bytes, over the official client's connection pool and authentication.

Raw REST on purpose: the client's typed models cost seconds at 10,000 pods and refuse objects that lack a
field. urllib3's retries multiply time-outs and hide them, so they are off; ours are counted and logged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from pytest_cnimigrate.kube.errors import (
    ApiTimeout,
    ApiUnreachable,
    Attempt,
    KubeError,
    MutationRefusedError,
    NoAnswer,
    ServerEnded,
    Untrusted,
    from_status,
)
from pytest_cnimigrate.kube.retrying import RetryPolicy, Timeouts
from pytest_cnimigrate.model.objects import Object

log = logging.getLogger("cnimigrate.kube")

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the API."""

    verb: str
    """As RBAC calls it; with `target` it opens every error message."""
    target: str
    path: str
    """Already percent-encoded, beginning with `/`."""
    method: str = "GET"
    query: Query = ()
    body: Any = None
    content_type: str = "application/json"
    raw: bool = False
    """The answer is somebody else's (a proxied pod's), so its status is no error of the API server's."""

    @property
    def is_mutation(self) -> bool:
        return self.method != "GET" and not (self.method == "POST" and self.path in REVIEWS)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


REVIEWS = frozenset(
    {
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    }
)
"""POSTs that store nothing: they ask the server a question, so readers may send them and repeat them."""


class Transport:
    """Sends requests; may be shared by threads. `read_only` copies refuse whatever could change something.

    `ended` is asked when there was no answer: why there never will be one again, or "".
    """

    def __init__(
        self,
        api_client: ApiClient,
        *,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy | None = None,
        read_only: bool = False,
        sleep: Callable[[float], object] = time.sleep,
        ended: Callable[[], str] | None = None,
        authentication: threading.Lock | None = None,
    ) -> None:
        self.api_client = api_client
        self.timeouts = timeouts or Timeouts()
        self.retries = retries or RetryPolicy()
        self.read_only = read_only
        self.sleep = sleep
        self._ended = ended
        # The client refreshes tokens while it builds a request, and is not careful about threads there.
        self._authentication = authentication or threading.Lock()

    @property
    def server(self) -> str:
        return str(self.api_client.configuration.host)

    def derive(
        self,
        *,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy | None = None,
        read_only: bool = False,
    ) -> Transport:
        """A transport over the same connections with other settings; what is read-only stays so."""
        return Transport(
            self.api_client,
            timeouts=timeouts or self.timeouts,
            retries=retries or self.retries,
            read_only=read_only or self.read_only,
            sleep=self.sleep,
            ended=self._ended,
            authentication=self._authentication,
        )

    def send(self, request: Request, *, timeouts: Timeouts | None = None) -> Answer:
        """The server's answer to the request, tried again as the retry policy says.

        Raises `KubeError`, or `MutationRefusedError` on a read-only transport.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._send_once(request, timeouts or self.timeouts)
            except KubeError as error:
                pause = self.retries.pause(error, attempt=attempt, mutation=request.is_mutation)
                if pause is None:
                    raise
                log.info("attempt %d failed, next in %.1f s: %s", attempt, pause, error)
                self.sleep(pause)

    def fetch(self, request: Request) -> Object:
        """As `send`, for an answer that is a JSON object."""
        answer = self.send(request)
        try:
            found: Object = orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            message = f"the answer is not JSON but {answer.body[:60]!r}: is this an API server?"
            raise ApiUnreachable(self.attempt_of(request), message, status=answer.status) from error
        return found

    def _send_once(self, request: Request, timeouts: Timeouts) -> Answer:
        with self.open(request, timeouts=timeouts) as response:
            return Answer(response.status, response.data, response.headers)

    @contextmanager
    def open(
        self, request: Request, *, timeouts: Timeouts | None = None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer with its body still to be read (for watches); one attempt, errors translated.

        Errors of urllib3 that are raised within the `with` block are translated as well.
        """
        timeouts = timeouts or self.timeouts
        method, url, headers, body, _ = self.prepare(request)
        response: urllib3.BaseHTTPResponse | None = None
        clean = False
        try:
            with _translated(self.attempt_of(request), mutation=request.is_mutation):
                response = self.api_client.call_api(
                    method, url, headers, body, _request_timeout=(timeouts.connect, timeouts.read)
                ).response
                if not request.raw and response.status >= 300:
                    raise self._failure(request, Answer(response.status, response.data, response.headers))
                yield response
                clean = True
        except NoAnswer as error:
            why = self._ended() if self._ended else ""
            if why:
                raise ServerEnded(error.attempt, why) from error
            raise
        finally:
            if response is not None:
                # A connection with an unread rest cannot be used again.
                response.release_conn() if clean else response.close()

    def prepare(self, request: Request) -> tuple[str, str, dict[str, str], Any, Any]:
        """Method, URL, headers with authentication, and body, as the official client makes them."""
        if self.read_only and request.is_mutation:
            raise MutationRefusedError(
                f"a reader may not {request.verb} {request.target}: only a Change may, through a KubeClient"
            )
        headers = {"Accept": "application/json"}
        if request.method != "GET":
            headers["Content-Type"] = request.content_type
        with self._authentication:
            prepared: tuple[str, str, dict[str, str], Any, Any] = self.api_client.param_serialize(
                method=request.method,
                resource_path=request.path,
                query_params=list(request.query),
                header_params=headers,
                body=request.body,
                auth_settings=["BearerToken"],
            )
        return prepared

    def attempt_of(self, request: Request) -> Attempt:
        return Attempt(request.verb, request.target, self.server)

    def _failure(self, request: Request, answer: Answer) -> KubeError:
        return from_status(
            self.attempt_of(request),
            answer.status,
            status_of(answer) or {"message": answer.body[:300].decode("utf-8", "replace").strip()},
            retry_after=parse_retry_after(answer.headers),
        )

    def close(self) -> None:
        self.api_client.close()  # type: ignore[no-untyped-call]  # the client is half typed


def status_of(answer: Answer) -> Object | None:
    """The `metav1.Status` in the answer, if it holds one: then the API server itself is speaking."""
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(body, dict) and body.get("kind") == "Status" and body.get("apiVersion") == "v1":
        return body
    return None


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds in a Retry-After header; Kubernetes sends no dates there, so those count as absent."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


@contextmanager
def _translated(attempt: Attempt, *, mutation: bool) -> Iterator[None]:
    """Turn what urllib3 and the client raise into our own errors."""
    try:
        yield
    except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.NameResolutionError) as error:
        raise _no_answer(ApiUnreachable, attempt, f"no connection: {_words(error)}", sent=False) from error
    except urllib3.exceptions.ConnectTimeoutError as error:
        raise _no_answer(ApiTimeout, attempt, "no connection within the time limit", sent=False) from error
    except urllib3.exceptions.ReadTimeoutError as error:
        message = f"no answer within the time limit{_UNCERTAIN if mutation else ''}"
        raise _no_answer(ApiTimeout, attempt, message) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        message = f"the connection broke: {_words(error)}{_UNCERTAIN if mutation else ''}"
        raise _no_answer(ApiUnreachable, attempt, message) from error
    except ApiException as error:
        # The client raises this by itself for TLS failures alone (rest.py); then nothing was sent.
        message = " ".join(str(error.reason).split())
        if "CERTIFICATE_VERIFY_FAILED" in message or "doesn't match" in message:
            raise Untrusted(attempt, f"its certificate is not trusted: {message}") from error
        raise _no_answer(ApiUnreachable, attempt, f"no TLS connection: {message}", sent=False) from error
    except orjson.JSONDecodeError as error:
        # In a watch: a line that the server, going down, did not finish.
        raise _no_answer(ApiUnreachable, attempt, f"the answer is not JSON: {error}") from error


_UNCERTAIN = "; whether it was carried out is not known: read the object before trying again"


def _no_answer(kind: type[NoAnswer], attempt: Attempt, message: str, *, sent: bool = True) -> NoAnswer:
    error = kind(attempt, message)
    error.sent = sent
    return error


def _words(error: BaseException) -> str:
    """What happened, without urllib3's `<HTTPConnection object at 0x…>`."""
    inner = error.__cause__ or error.__context__ or error
    text = " ".join(str(inner).split())
    return text.rsplit("> ", 1)[-1].rsplit(">: ", 1)[-1] or type(inner).__name__
