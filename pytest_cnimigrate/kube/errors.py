"""What can go wrong between us and a Kubernetes API server, in words for an operator.

Every message is one line: which verb on which object at which server failed, why, and what to do. The raw
exceptions of urllib3 and of the client never leave this package, so that callers can tell "it is not there"
from "nobody answered" without knowing how requests travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_cnimigrate.model.objects import Object


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was asked of whom: the first half of every error message."""

    verb: str
    """`get`, `list`, `patch`, …: as RBAC and kubectl call it."""
    target: str
    """The object, e.g. `daemonset kube-system/aws-node`, or `nodes` for a list."""
    server: str
    """The API server's address."""

    def __str__(self) -> str:
        return f"{self.verb} {self.target} at {self.server}"


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of a Status' `details.causes`."""

    reason: str = ""
    """E.g. `DisruptionBudget`, `FieldValueInvalid`, `FieldManagerConflict`."""
    message: str = ""
    field: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class KubeConfigError(Exception):
    """A kubeconfig that cannot be used; the text is one line for the operator."""


class MutationRefusedError(RuntimeError):
    """A `KubeReader` was asked to change something. A mistake in our own code, never in the cluster."""


class KubeError(Exception):
    """A request to the API server that did not succeed."""

    advice: ClassVar[str] = ""
    """What the operator can do about it."""
    retriable: ClassVar[bool] = False
    """Whether the same read may well succeed a little later, with nobody doing anything."""

    def __init__(
        self,
        attempt: Attempt,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        details: Object | None = None,
        causes: tuple[Cause, ...] = (),
    ) -> None:
        self.attempt = attempt
        self.message = message
        """What the server said, or what became of the connection."""
        self.status = status
        """The HTTP status, or 0 when there was no answer."""
        self.reason = reason
        """The Status' machine-readable reason, such as `NotFound`."""
        self.details: Object = details or {}
        self.causes = causes
        super().__init__(attempt, message)

    def __str__(self) -> str:
        code = " ".join(part for part in (str(self.status or ""), self.reason) if part)
        text = f"cannot {self.attempt}: {self.message.rstrip('.') or 'no reason given'}"
        if code:
            text += f" ({code})"
        return f"{text}. {self.advice}" if self.advice else text

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders (xdist); keyword-only arguments need a hand for that.
        return _rebuild, (type(self), self.__dict__)


def _rebuild(kind: type[KubeError], state: dict[str, Any]) -> KubeError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (error.attempt, error.message)
    return error


class BadRequest(KubeError):
    """400: the server does not understand the request (an unknown field selector, a malformed patch, …)."""


class Unauthorized(KubeError):
    """401: the server does not know who is asking."""

    advice = "Log in again or renew the credentials that the kubeconfig names."


class Forbidden(KubeError):
    """403: the user has no right to do this, or an admission rule forbids it."""

    advice = "Ask for the right, or use a context whose user has it (`kubectl auth can-i` tells)."


class NotFound(KubeError):
    """404: there is no such object."""

    advice = "Check name and namespace."


class NotServed(NotFound):
    """404 for the resource itself: the server does not know this kind (a CRD may be missing)."""

    advice = "Check that the CustomResourceDefinition is installed and that the API version is served."


class Conflict(KubeError):
    """409: somebody else has changed the object meanwhile, or owns the field."""

    advice = "Read the object again, look who changed it, and repeat."


class AlreadyExists(Conflict):
    """409 on a create: an object of this name is there already."""

    advice = "Look at the existing object; delete it only if it is ours."


class Gone(KubeError):
    """410: the resource version or the continue token is too old; list again."""


class Invalid(KubeError):
    """422: the object breaks a rule; `causes` names fields and rules."""

    advice = "Correct the fields named above."


class TooManyRequests(KubeError):
    """429: the server is throttling, or a disruption budget forbids an eviction."""

    retriable = True
    advice = "Try again later."
    retry_after: float | None = None
    """Seconds that the server asks to wait, if it says so."""

    @property
    def cause(self) -> Cause | None:
        """The DisruptionBudget cause of a refused eviction, if that is what this is."""
        return next((cause for cause in self.causes if cause.reason == "DisruptionBudget"), None)

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} Budget: {self.cause.message}" if self.cause else text


class ServerError(KubeError):
    """5xx: the server, or something between it and us, is in trouble."""

    retriable = True
    advice = "Look at the control plane's health; try again when it has recovered."


class NoAnswer(KubeError):
    """There was no (whole) answer; after a mutation it is not known whether it was carried out."""

    retriable = True
    sent = True
    """Whether the request may have reached the server. False: it certainly has not."""


class ApiTimeout(NoAnswer):
    """The server accepted the connection but did not answer in time."""

    advice = "Check the server's load and the network; raise the timeout if it is just slow."


class ApiUnreachable(NoAnswer):
    """The server could not be reached, or the connection broke."""

    advice = "Check that the API server runs and that this machine can reach its address."


class ServerEnded(KubeError):
    """The server has ended for good, by the word of whoever started it: nobody need wait for it."""


class Untrusted(KubeError):
    """The server's certificate does not fit: another server answers there, or the kubeconfig is outdated."""

    advice = "Fetch the kubeconfig again; if that does not help, find out who answers at this address."


class PodUnreachable(KubeError):
    """The API server is well but could not reach the pod that a proxied request was meant for."""

    retriable = True
    advice = "Check that the pod runs, listens on that port, and that the control plane can route to it."


_BY_STATUS: dict[int, type[KubeError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def from_status(
    attempt: Attempt, code: int, status: Object, *, retry_after: float | None = None
) -> KubeError:
    """The error for a `metav1.Status` (or for an answer without one: then `status` holds only a message)."""
    details = status.get("details") or {}
    reason = str(status.get("reason") or "")
    kind = _BY_STATUS.get(code, ServerError if code >= 500 else KubeError)
    if reason == "AlreadyExists":
        kind = AlreadyExists
    elif reason == "Expired":
        kind = Gone
    elif code == 404 and not details.get("name"):
        # "the server could not find the requested resource" carries no name; a missing object does.
        kind = NotServed
    error = kind(
        attempt,
        str(status.get("message") or reason),
        status=code,
        reason=reason,
        details=details,
        causes=tuple(
            Cause(cause.get("reason", ""), cause.get("message", ""), cause.get("field", ""))
            for cause in details.get("causes") or ()
        ),
    )
    if isinstance(error, TooManyRequests):
        seconds = retry_after if retry_after is not None else details.get("retryAfterSeconds")
        error.retry_after = float(seconds) if seconds is not None else None
    return error
