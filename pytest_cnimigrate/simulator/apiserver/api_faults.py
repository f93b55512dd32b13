"""Faults of the API server itself, as clients of a real one meet them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.faults import register

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.apiserver.requests import RequestInfo
    from pytest_cnimigrate.simulator.faults import Faults

API_UNAVAILABLE: Final = register(
    "api-unavailable",
    "Every request is answered with 503, and running watches end.",
    "the control plane is being replaced, as during an EKS version update",
)
API_THROTTLED: Final = register(
    "api-throttled",
    "Every third request is answered with 429 and Retry-After: 1, as priority and fairness does under load.",
    "https://kubernetes.io/docs/concepts/cluster-administration/flow-control/",
)
WATCHES_EXPIRE: Final = register(
    "api-watches-expire",
    "Every watch that starts from a resource version ends at once with 410 Expired.",
    "etcd compaction; the client library retries once and then raises (ApiException 410)",
)
TRANSIENTLY_FORBIDDEN: Final = register(
    "api-transiently-forbidden",
    "Every second request of a client is answered with 403, though its rights are in order.",
    "real cluster: the first call after a restart of the control plane got a transient 403 Forbidden",
)


class FaultyFront:
    """Decides, before anything else, whether a request is met by a fault."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._counts: dict[str, int] = {}

    def check(self, info: RequestInfo, user: str) -> None:
        """Raise what the fault answers."""
        if self._faults.active(API_UNAVAILABLE):
            text = "the server is currently unable to handle the request"
            raise ApiError(503, "ServiceUnavailable", text, retry_after=1)
        if self._every(API_THROTTLED, 3):
            text = "the server has received too many requests and has asked us to try again later"
            raise ApiError(429, "TooManyRequests", text, retry_after=1)
        if info.is_resource and self._every(TRANSIENTLY_FORBIDDEN, 2):
            text = f'{info.plural} is forbidden: User "{user}" cannot {info.verb} resource "{info.resource}" '
            text += f'in API group "{info.group}": RBAC: clusterroles have not been synchronized yet'
            raise ApiError(403, "Forbidden", text, details={"kind": info.plural, "group": info.group})

    def _every(self, fault: str, period: int) -> bool:
        """Whether this is the first, or again the `period`-th, request that the fault sees."""
        if not self._faults.active(fault):
            self._counts.pop(fault, None)
            return False
        count = self._counts.get(fault, 0)
        self._counts[fault] = count + 1
        return count % period == 0
