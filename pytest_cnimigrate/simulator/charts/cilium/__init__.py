"""A stand-in for Cilium's Helm chart: the same value names, the same objects, the same refusals.

It renders what the embedded cluster reads: agents, operator, envoy, relay, `cilium-config` and their service
accounts. It knows the values in `values.yaml` and refuses every other key, where the real chart would
ignore some of them: a rehearsal must not pass on a value that had no effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from pytest_cnimigrate.model.objects import Object

Values = dict[str, Any]


class ChartError(Exception):
    """The chart refuses the values; the text is what Helm would print."""


_REMOVED = {
    # templates/validate.yaml of the chart, in its words.
    "tunnel": "tunnel was deprecated in v1.14 and has been removed in v1.15. "
    "For details please refer to https://docs.cilium.io/en/v1.15/operations/upgrade/#helm-options",
}
_FREE_FORM = frozenset({"affinity", "nodeSelector", "tolerations", "eni.eniTags", "securityContext"})
"""Values that are taken as they come, without looking at the keys inside."""


def default_values() -> Values:
    values: Values = yaml.safe_load(resources.files(__name__).joinpath("values.yaml").read_text("utf-8"))
    return values


def render(values: Mapping[str, Any], *, version: str, release: str, namespace: str) -> list[Object]:
    """The objects of a release. Raises `ChartError` for values that the chart of this version refuses."""
    merged = _merge(default_values(), values, "")
    _validate(merged, version)
    objects = [
        *_service_accounts(merged),
        _config_map(merged, version),
        _agent(merged, version),
        _operator(merged, version),
    ]
    if merged["envoy"]["enabled"]:
        objects.append(_envoy())
    if merged["hubble"]["enabled"] and merged["hubble"]["relay"]["enabled"]:
        objects.append(_relay(merged, version))
    for obj in objects:
        _mark(obj, release, namespace)
    return objects


def _merge(defaults: Values, values: Mapping[str, Any], prefix: str) -> Values:
    merged = dict(defaults)
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if dotted in _REMOVED:
            raise ChartError(f"execution error at (cilium/templates/validate.yaml): {_REMOVED[dotted]}")
        if key not in defaults:
            raise ChartError(
                f"the stand-in chart does not know the value {dotted}; "
                f"it knows beside it: {', '.join(sorted(defaults))}"
            )
        if isinstance(defaults[key], dict) and dotted not in _FREE_FORM:
            if not isinstance(value, Mapping):
                raise ChartError(f"the value {dotted} must be a mapping, not {value!r}")
            merged[key] = _merge(defaults[key], value, f"{dotted}.")
        else:
            merged[key] = value
    return merged


def _validate(values: Values, version: str) -> None:
    major, minor, *_ = (int(part) for part in re.findall(r"\d+", version))
    replacement = str(values["kubeProxyReplacement"]).lower()
    if (major, minor) >= (1, 16) and replacement not in {"true", "false"}:
        raise ChartError(
            "execution error at (cilium/templates/cilium-configmap.yaml): kubeProxyReplacement must be explicitly "
            "set to a valid value (true or false) to continue."
        )
    name = str(values["cluster"]["name"])
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", name):
        raise ChartError(
            "execution error at (cilium/templates/validate.yaml): The cluster name is invalid: must consist of "
            f"lower case alphanumeric characters and '-', and must start and end with an alphanumeric "
            f"character, at most 32 in all: {name}"
        )
    operator = values["operator"]
    if operator["setNodeTaints"] and not operator["removeNodeTaints"]:
        raise ChartError(
            "execution error at (cilium/templates/validate.yaml): If operator.setNodeTaints is set to true, "
            "operator.removeNodeTaints must be true as well."
        )
    if values["eni"]["enabled"] and values["ipam"]["mode"] != "eni":
        raise ChartError("eni.enabled needs ipam.mode eni in this stand-in")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _config_map(values: Values, version: str) -> Object:
    cni, operator, ipam = values["cni"], values["operator"], values["ipam"]
    eni = bool(values["eni"]["enabled"])
    masquerade = values["enableIPv4Masquerade"]
    if masquerade is None:
        # 1.18: "enableIPv4Masquerade" defaults to false in ENI mode (operations/upgrade.rst).
        major, minor, *_ = (int(part) for part in re.findall(r"\d+", version))
        masquerade = not (eni and (major, minor) >= (1, 18))
    watcher = operator["unmanagedPodWatcher"]
    set_taints = operator["setNodeTaints"]
    data: dict[str, object] = {
        "agent-not-ready-taint-key": values["agentNotReadyTaintKey"],
        "auto-direct-node-routes": values["autoDirectNodeRoutes"],
        "cluster-id": values["cluster"]["id"],
        "cluster-name": values["cluster"]["name"],
        "cni-exclusive": cni["exclusive"],
        "custom-cni-conf": cni["customConf"],
        "debug": False,
        "enable-host-legacy-routing": bool(values["bpf"]["hostLegacyRouting"]),
        "enable-hubble": values["hubble"]["enabled"],
        "enable-ipv4": values["ipv4"]["enabled"],
        "enable-ipv4-masquerade": masquerade,
        "enable-ipv6": values["ipv6"]["enabled"],
        "enable-l7-proxy": values["l7Proxy"],
        "enable-policy": values["policyEnforcementMode"],
        "external-envoy-proxy": values["envoy"]["enabled"],
        "identity-allocation-mode": "crd",
        "ipam": ipam["mode"],
        "kube-proxy-replacement": values["kubeProxyReplacement"],
        "nodes-gc-interval": "5m0s",
        "remove-cilium-node-taints": operator["removeNodeTaints"],
        "routing-mode": values["routingMode"] or ("native" if eni else "tunnel"),
        "set-cilium-is-up-condition": operator["setNodeNetworkStatus"],
        "set-cilium-node-taints": operator["removeNodeTaints"] if set_taints is None else set_taints,
        "tunnel-protocol": values["tunnelProtocol"] or "vxlan",
        "unmanaged-pod-watcher-interval": f"{watcher['intervalSeconds']}s" if watcher["restart"] else 0,
    }
    if watcher["restart"]:
        data["pod-restart-selector"] = watcher["selector"]
    if not cni["customConf"]:
        data["write-cni-conf-when-ready"] = "/host/etc/cni/net.d/05-cilium.conflist"
    if values["egressMasqueradeInterfaces"]:
        data["egress-masquerade-interfaces"] = values["egressMasqueradeInterfaces"]
    if values["tunnelPort"]:
        data["tunnel-port"] = values["tunnelPort"]
    if values["ipv4NativeRoutingCIDR"]:
        data["ipv4-native-routing-cidr"] = values["ipv4NativeRoutingCIDR"]
    if ipam["mode"] == "cluster-pool":
        data["cluster-pool-ipv4-cidr"] = " ".join(ipam["operator"]["clusterPoolIPv4PodCIDRList"])
        data["cluster-pool-ipv4-mask-size"] = ipam["operator"]["clusterPoolIPv4MaskSize"]
    if eni:
        data["enable-endpoint-routes"] = True
        data["auto-create-cilium-node-resource"] = True
        data["aws-enable-prefix-delegation"] = values["eni"]["awsEnablePrefixDelegation"]
        data["aws-release-excess-ips"] = values["eni"]["awsReleaseExcessIPs"]
        data["eni-gc-interval"] = "5m"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cilium-config"},
        "data": {key: _text(value) for key, value in sorted(data.items())},
    }


def _service_accounts(values: Values) -> list[Object]:
    names = [account["name"] for account in values["serviceAccounts"].values() if account["create"]]
    return [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}} for name in names]


def _template(name: str) -> Object:
    obj: Object = yaml.safe_load(resources.files(__name__).joinpath(f"{name}.yaml").read_text("utf-8"))
    return obj


def _image(image: Values, repository: str, version: str) -> str:
    return image["override"] or f"quay.io/cilium/{repository}:{image['tag'] or f'v{version}'}"


def _agent(values: Values, version: str) -> Object:
    obj = _template("agent")
    spec = obj["spec"]["template"]["spec"]
    for container in (*spec["containers"], *spec["initContainers"]):
        container["image"] = _image(values["image"], "cilium", version)
        container["imagePullPolicy"] = values["image"]["pullPolicy"]
    # Helm merges maps: the chart's own podAntiAffinity stays beside what the values say.
    spec["affinity"] |= values["affinity"]
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
    if operator["affinity"] is not None:
        spec["affinity"] = operator["affinity"]
    spec["nodeSelector"] = operator["nodeSelector"]
    spec["serviceAccountName"] = values["serviceAccounts"]["operator"]["name"]
    if operator["rollOutPods"]:
        _stamp_configuration(obj, values, version)
    return obj


def _envoy() -> Object:
    obj = _template("envoy")
    obj["spec"]["template"]["spec"]["containers"][0]["image"] = "quay.io/cilium/cilium-envoy:v1.34"
    return obj


def _relay(values: Values, version: str) -> Object:
    obj = _template("hubble-relay")
    spec = obj["spec"]["template"]["spec"]
    spec["containers"][0]["image"] = f"quay.io/cilium/hubble-relay:v{version}"
    spec["serviceAccountName"] = values["serviceAccounts"]["relay"]["name"]
    return obj


def _stamp_configuration(obj: Object, values: Values, version: str) -> None:
    import hashlib

    text = yaml.safe_dump(_config_map(values, version)["data"])
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
