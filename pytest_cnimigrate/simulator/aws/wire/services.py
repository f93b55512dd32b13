"""The services that are served, by the name in a request's credential scope."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal, cast

from botocore.model import OperationModel, ServiceModel
from botocore.session import Session

from pytest_cnimigrate.simulator.aws.detached import detached_session

Protocol = Literal["rest-json", "query", "ec2"]

_MODELS = {
    "eks": "eks",
    "ec2": "ec2",
    "autoscaling": "autoscaling",
    "sts": "sts",
    "elasticloadbalancing": "elbv2",
}
"""Signing name -> botocore's name of the service."""


@dataclass(frozen=True, slots=True)
class Route:
    """Which operation of a rest-json service a method and a path mean."""

    method: str
    path: re.Pattern[str]
    operation: OperationModel


@dataclass(frozen=True)
class Service:
    name: str
    """botocore's name: `eks`, `ec2`, `autoscaling`, `sts`, `elbv2`."""
    model: ServiceModel

    @functools.cached_property
    def protocol(self) -> Protocol:
        return cast(Protocol, self.model.metadata["protocol"])

    @functools.cached_property
    def routes(self) -> list[Route]:
        """Of a rest-json service; fixed paths before those with placeholders."""
        routes = []
        for name in self.model.operation_names:
            operation = self.model.operation_model(name)
            template = operation.http["requestUri"].partition("?")[0]
            routes.append(Route(operation.http["method"], _path_pattern(template), operation))
        return sorted(routes, key=lambda route: route.path.groups)


def _path_pattern(template: str) -> re.Pattern[str]:
    # Labels are percent-encoded, so a placeholder never spans a slash.
    parts = re.split(r"\{(\w+)\+?\}", template)
    pattern = "".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>[^/]+)" for i, part in enumerate(parts))
    return re.compile(pattern + "/?")


@functools.cache
def service_for(signing_name: str) -> Service | None:
    """The service, its model loaded at the first use (EC2's is large)."""
    name = _MODELS.get(signing_name)
    if name is None:
        return None
    return Service(name, _session().get_service_model(name))


@functools.cache
def _session() -> Session:
    return detached_session()
