"""Defaults of pods and pod templates, as `k8s.io/kubernetes/pkg/apis/core/v1/defaults.go` sets them."""

from __future__ import annotations

import re
import secrets
from typing import Any

from pytest_cnimigrate.model.objects import Object

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of generated names: no vowels, so no words (`k8s.io/apimachinery/pkg/util/rand`)."""

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"

TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path, as every pod has it


def random_suffix() -> str:
    """Five characters as `generateName` appends them."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(5))


def default_template(template: Object) -> None:
    """Defaults of a workload's pod template."""
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Object) -> None:
    """Defaults that pods and templates share."""
    drop_false(spec, "hostNetwork", "hostPID", "hostIPC")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        _default_container(container)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def drop_false(obj: Object, *fields: str) -> None:
    """Take out flags that are off: Go leaves them out (`omitempty`), so a real server never shows them."""
    for field in fields:
        if obj.get(field) is False:
            del obj[field]


def _default_container(container: Object) -> None:
    drop_false(container, "stdin", "stdinOnce", "tty")
    for mount in container.get("volumeMounts") or ():
        drop_false(mount, "readOnly")
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if "imagePullPolicy" not in container:
        latest = _tag(container.get("image", "")) == "latest"
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            _default_probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and hook.get("httpGet") is not None:
            _default_http_get(hook["httpGet"])


def _tag(image: str) -> str:
    if "@" in image:
        return ""
    match = re.search(r":([^/:]+)$", image)
    return match.group(1) if match else "latest"


def _default_probe(probe: Object) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(field):
            probe[field] = value
    if probe.get("httpGet") is not None:
        _default_http_get(probe["httpGet"])


def _default_http_get(action: Object) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


def _default_volume(volume: Object) -> None:
    for kind in ("configMap", "secret", "projected", "downwardAPI"):
        if volume.get(kind) is not None:
            volume[kind].setdefault("defaultMode", 420)
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("serviceAccountToken") is not None:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        _default_field_references((source.get("downwardAPI") or {}).get("items"))
    _default_field_references((volume.get("downwardAPI") or {}).get("items"))


def _default_field_references(items: Any) -> None:
    for item in items or ():
        if item.get("fieldRef") is not None:
            item["fieldRef"].setdefault("apiVersion", "v1")


def default_pod(pod: Object) -> None:
    """Defaults of a pod, admission's included (tolerations, service account, its token)."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        _default_requests(container["resources"])
        if spec.get("hostNetwork"):
            for port in container.get("ports") or ():
                port.setdefault("hostPort", port.get("containerPort"))


def _default_requests(resources: Object) -> None:
    """A limit without a request is a request too."""
    limits = resources.get("limits")
    if limits:
        resources["requests"] = dict(limits) | (resources.get("requests") or {})


def admit_pod(pod: Object) -> None:
    """What admission adds to a new pod: default tolerations, a service account and its token's volume."""
    spec = pod["spec"]
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"] = "default"
    tolerations = spec.setdefault("tolerations", [])
    for key in (NOT_READY, UNREACHABLE):
        if not any(_covers_no_execute(toleration, key) for toleration in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            )
    if spec.get("automountServiceAccountToken") is not False:
        _mount_token(spec)


def _covers_no_execute(toleration: Object, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")


def _mount_token(spec: Object) -> None:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    needy = [c for c in containers if all(m["mountPath"] != TOKEN_MOUNT for m in c.get("volumeMounts") or ())]
    if not needy:
        return
    name = f"kube-api-access-{random_suffix()}"
    for container in needy:
        mount = {"name": name, "readOnly": True, "mountPath": TOKEN_MOUNT}
        container.setdefault("volumeMounts", []).append(mount)
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    certificate = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources: list[Object] = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": certificate},
        {"downwardAPI": {"items": [namespace]}},
    ]
    spec.setdefault("volumes", []).append(
        {"name": name, "projected": {"sources": sources, "defaultMode": 420}}
    )


def quality_of_service(pod: Object) -> str:
    """`status.qosClass`: Guaranteed, Burstable or BestEffort."""
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    anything = False
    guaranteed = True
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        anything = anything or any(kind in ("cpu", "memory") for kind in (*limits, *requests))
        for kind in ("cpu", "memory"):
            if kind not in limits or requests.get(kind, limits[kind]) != limits[kind]:
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
