"""Rights that a run needs in the cluster, asked for before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_cnimigrate.kube.client import KubeReader
from pytest_cnimigrate.model.resources import (
    CILIUM_ENDPOINTS,
    CILIUM_NODES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    JOBS,
    NETWORK_POLICIES,
    NODES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource, e.g. `patch` on `nodes`, in all namespaces."""

    verb: str
    resource: Resource
    subresource: str = ""

    def __str__(self) -> str:
        subresource = f"/{self.subresource}" if self.subresource else ""
        return f"{self.verb} {self.resource.group_resource}{subresource}"


def _on(verbs: str, *resources: Resource) -> tuple[Right, ...]:
    return tuple(Right(verb, resource) for resource in resources for verb in verbs.split())


NODE_POOL = (
    *_on("get list patch", NODES, DAEMON_SETS, DEPLOYMENTS),
    *_on("get list", PODS, STATEFUL_SETS, JOBS, DISRUPTION_BUDGETS),
    *_on("get list create delete", NETWORK_POLICIES),
    # What goldpinger's and Cilium's objects are made with; whoever grants rights must have them.
    *_on(
        "get create patch delete",
        SERVICE_ACCOUNTS,
        ROLES,
        ROLE_BINDINGS,
        CLUSTER_ROLES,
        CLUSTER_ROLE_BINDINGS,
        SERVICES,
        CONFIG_MAPS,
        DAEMON_SETS,
        DEPLOYMENTS,
    ),
    # Helm keeps its releases in Secrets.
    *_on("get list create update delete", SECRETS),
    *_on("get list", CUSTOM_RESOURCE_DEFINITIONS),
    *_on("list", CILIUM_NODES, CILIUM_ENDPOINTS),
    Right("create", PODS, "eviction"),
    Right("get", PODS, "proxy"),
    # A command is run over a WebSocket, which begins with a GET; newer API servers ask for `create` as well:
    # https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
    Right("get", PODS, "exec"),
    Right("create", PODS, "exec"),
)
"""What the node-pool scenario asks of the API server."""


def missing(kube: KubeReader, rights: Iterable[Right]) -> list[str]:
    """Problems: rights that the API server says we do not have (SelfSubjectAccessReview)."""
    return [
        f"no right to {right}; ask for it, or use a user who has it"
        for right in dict.fromkeys(rights)
        if not kube.can_i(right.verb, right.resource, subresource=right.subresource)
    ]
