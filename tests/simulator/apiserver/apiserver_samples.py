"""Objects that tests of the API server use."""

from __future__ import annotations

from typing import Any

from pytest_cnimigrate.model.objects import Object


def pod(name: str = "web", *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    containers = [{"name": "main", "image": "example/web:1"}]
    metadata: Object = {"name": name, "labels": labels or {"app": "web"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": containers, **spec},
    }


def node(name: str, **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def template(*containers: Object, labels: dict[str, str] | None = None) -> Object:
    return {
        "metadata": {"labels": labels or {"app": "web"}},
        "spec": {"containers": list(containers) or [{"name": "main", "image": "example/web:1"}]},
    }


def daemon_set(name: str = "agent", *containers: Object) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(*containers)},
    }


def deployment(name: str = "web", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(), **spec},
    }


def config_map(name: str = "settings", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def budget(name: str = "web", **spec: Any) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


def definition(*, status: bool = True, served: tuple[str, ...] = ("v2",)) -> Object:
    """A CustomResourceDefinition, cut down from Cilium's."""
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["mode"],
                "properties": {
                    "mode": {"type": "string", "enum": ["eni", "cluster-pool"]},
                    "limit": {"type": "integer"},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    versions = [
        {
            "name": version,
            "served": True,
            "storage": version == served[0],
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}} if status else {},
            "additionalPrinterColumns": [{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}],
        }
        for version in served
    ]
    names = {"plural": "pools", "kind": "Pool", "shortNames": ["pl"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "pools.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions},
    }
