"""A stand-in for Cilium's Helm chart: the same value names, the same objects, the same refusals.

It renders what the embedded cluster reads: agents, operator, envoy, relay, `cilium-config` and their service
accounts. It knows the values in `values.yaml` and refuses every other key, where the real chart would
ignore some of them: a rehearsal must not pass on a value that had no effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.charts.cilium.configuration import config_map
from pytest_cnimigrate.simulator.charts.cilium.values import (
    ChartError,
    Values,
    default_values,
    merged,
)

__all__ = ["ChartError", "Values", "default_values", "render"]


def render(values: Mapping[str, Any], *, version: str, release: str, namespace: str) -> list[Object]:
    """The objects of a release. Raises `ChartError` for values that the chart of this version refuses."""
    said = merged(values, version)
    hubble = said["hubble"]
    objects = [*_service_accounts(said), config_map(said, version), _agent(said, version)]
    if said["operator"]["enabled"]:
        objects.append(_operator(said, version))
    if said["envoy"]["enabled"]:
        objects.append(_template("envoy"))
    if hubble["relay"]["enabled"]:
        objects.append(_relay(said, version))
    if hubble["ui"]["enabled"]:
        objects.append(_template("hubble-ui"))
    for obj in objects:
        _mark(obj, release, namespace)
    return objects


def _service_accounts(values: Values) -> list[Object]:
    wanted = {
        "cilium": True,
        "operator": values["operator"]["enabled"],
        "relay": values["hubble"]["relay"]["enabled"],
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account["name"]}}
        for part, account in values["serviceAccounts"].items()
        if wanted[part] and account["create"]
    ]


def _template(name: str) -> Object:
    obj: Object = yaml.safe_load(resources.files(__name__).joinpath(f"{name}.yaml").read_text("utf-8"))
    return obj


def _image(image: Values, repository: str, version: str) -> str:
    return image["override"] or f"quay.io/cilium/{repository}:{image['tag'] or f'v{version}'}"


def _api_server(values: Values) -> list[Object]:
    """The environment that leads past the Service `kubernetes`: nothing answers there without kube-proxy."""
    host, port = values["k8sServiceHost"], values["k8sServicePort"]
    said = (("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port))
    return [{"name": name, "value": str(value)} for name, value in said if value]


def _agent(values: Values, version: str) -> Object:
    obj = _template("agent")
    spec = obj["spec"]["template"]["spec"]
    for container in (*spec["containers"], *spec["initContainers"]):
        container["image"] = _image(values["image"], "cilium", version)
        container["imagePullPolicy"] = values["image"]["pullPolicy"]
        if "env" in container:
            container["env"] = [*container["env"], *_api_server(values)]
    spec["affinity"] = values["affinity"]
    spec["nodeSelector"] = values["nodeSelector"]
    spec["tolerations"] = values["tolerations"]
    spec["serviceAccountName"] = values["serviceAccounts"]["cilium"]["name"]
    obj["spec"]["updateStrategy"] = values["updateStrategy"]
    if values["rollOutCiliumPods"]:
        _stamp_configuration(obj, values, version)
    return obj


def _operator(values: Values, version: str) -> Object:
    obj = _template("operator")
    operator = values["operator"]
    flavour = "operator-aws" if values["eni"]["enabled"] else "operator-generic"
    obj["spec"]["replicas"] = operator["replicas"]
    spec = obj["spec"]["template"]["spec"]
    container = spec["containers"][0]
    container["image"] = _image(operator["image"], flavour, version)
    container["imagePullPolicy"] = operator["image"]["pullPolicy"]
    container["command"] = [f"cilium-{flavour}"]
    container["env"] = [*container["env"], *_api_server(values)]
    spec["affinity"] = operator["affinity"]
    spec["nodeSelector"] = operator["nodeSelector"]
    spec["serviceAccountName"] = values["serviceAccounts"]["operator"]["name"]
    if operator["rollOutPods"]:
        _stamp_configuration(obj, values, version)
    return obj


def _relay(values: Values, version: str) -> Object:
    obj = _template("hubble-relay")
    spec = obj["spec"]["template"]["spec"]
    spec["containers"][0]["image"] = f"quay.io/cilium/hubble-relay:v{version}"
    spec["serviceAccountName"] = values["serviceAccounts"]["relay"]["name"]
    return obj


def _stamp_configuration(obj: Object, values: Values, version: str) -> None:
    """Another configuration is another pod template, so that a change of it restarts the pods."""
    text = yaml.safe_dump(config_map(values, version)["data"])
    annotations = obj["spec"]["template"]["metadata"].setdefault("annotations", {})
    annotations["cilium.io/cilium-configmap-checksum"] = hashlib.sha256(text.encode()).hexdigest()


def _mark(obj: Object, release: str, namespace: str) -> None:
    metadata = obj["metadata"]
    metadata["namespace"] = namespace
    metadata.setdefault("labels", {})["app.kubernetes.io/managed-by"] = "Helm"
    metadata["annotations"] = {
        "meta.helm.sh/release-name": release,
        "meta.helm.sh/release-namespace": namespace,
    } | metadata.get("annotations", {})
