"""What a cluster has from its first moment."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from pytest_cnimigrate.model import resources as known
from pytest_cnimigrate.model.objects import Object

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")

_EVERYTHING = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]
_OPEN_PATHS = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY_PATHS = [*_OPEN_PATHS, "/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"]
_SELF_REVIEWS = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
_READ = ["get", "list", "watch"]

CLUSTER_ROLES: dict[str, list[Object]] = {
    "cluster-admin": _EVERYTHING,
    "system:basic-user": [
        {"apiGroups": ["authorization.k8s.io"], "resources": _SELF_REVIEWS, "verbs": ["create"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
    ],
    "system:discovery": [{"nonResourceURLs": _DISCOVERY_PATHS, "verbs": ["get"]}],
    "system:public-info-viewer": [{"nonResourceURLs": _OPEN_PATHS, "verbs": ["get"]}],
    "view": [
        {
            "apiGroups": [""],
            "resources": ["pods", "pods/log", "services", "endpoints", "configmaps", "events", "namespaces"],
            "verbs": _READ,
        },
        {
            "apiGroups": ["apps", "batch", "policy", "networking.k8s.io", "discovery.k8s.io"],
            "resources": ["*"],
            "verbs": _READ,
        },
    ],
}

CLUSTER_ROLE_BINDINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cluster-admin": ("cluster-admin", ("system:masters",)),
    "system:basic-user": ("system:basic-user", ("system:authenticated",)),
    "system:discovery": ("system:discovery", ("system:authenticated",)),
    "system:public-info-viewer": (
        "system:public-info-viewer",
        ("system:authenticated", "system:unauthenticated"),
    ),
}

PRIORITY_CLASSES = {
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if "
        "necessary.",
    ),
}


def populate(server: ApiServer, service_cidr: str) -> None:
    """Create the namespaces, priority classes, roles, and the service `kubernetes`."""
    for namespace in NAMESPACES:
        server.create(known.NAMESPACES, {"metadata": {"name": namespace}})
        server.create(known.SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, namespace)
    for name, (value, description) in PRIORITY_CLASSES.items():
        server.create(
            known.PRIORITY_CLASSES, {"metadata": {"name": name}, "value": value, "description": description}
        )
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    for name, rules in CLUSTER_ROLES.items():
        server.create(known.CLUSTER_ROLES, {"metadata": {"name": name, "labels": labels}, "rules": rules})
    for name, (role, groups) in CLUSTER_ROLE_BINDINGS.items():
        subjects = [{"kind": "Group", "name": group} for group in groups]
        reference = {"kind": "ClusterRole", "name": role}
        server.create(
            known.CLUSTER_ROLE_BINDINGS,
            {"metadata": {"name": name, "labels": labels}, "roleRef": reference, "subjects": subjects},
        )
    _kubernetes_service(server, str(ipaddress.IPv4Network(service_cidr)[1]))


def _kubernetes_service(server: ApiServer, address: str) -> None:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = {"name": "https", "port": 443, "targetPort": 443, "protocol": "TCP"}
    server.create(
        known.SERVICES,
        {
            "metadata": {"name": "kubernetes", "labels": labels},
            "spec": {"clusterIP": address, "ports": [port]},
        },
        "default",
    )
