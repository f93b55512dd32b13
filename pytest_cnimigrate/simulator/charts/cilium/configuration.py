"""`cilium-config`, as the chart's templates/cilium-configmap.yaml makes it of the values."""

from __future__ import annotations

import json

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.simulator.charts.cilium.values import Values, masquerades, version_of

_CNI_FILE = "/host/etc/cni/net.d/05-cilium.conflist"


def config_map(values: Values, version: str) -> Object:
    """The ConfigMap; of the real one's keys it has those that the embedded cluster or a check reads."""
    data = {
        **_basics(values, version),
        **_addressing(values),
        **_cni(values),
        **_operator(values, version),
        **_flags(values),
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cilium-config"},
        "data": {key: _text(value) for key, value in sorted(data.items())},
    }


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _basics(values: Values, version: str) -> dict[str, object]:
    eni = bool(values["eni"]["enabled"])
    return {
        "agent-not-ready-taint-key": values["agentNotReadyTaintKey"],
        "auto-direct-node-routes": values["autoDirectNodeRoutes"],
        "cluster-id": values["cluster"]["id"],
        "cluster-name": values["cluster"]["name"],
        "custom-cni-conf": values["cni"]["customConf"],
        "debug": False,
        "egress-masquerade-interfaces": values["egressMasqueradeInterfaces"],
        "enable-hubble": values["hubble"]["enabled"],
        "enable-ipv4": values["ipv4"]["enabled"],
        "enable-ipv4-masquerade": masquerades(values, version),
        "enable-ipv6": values["ipv6"]["enabled"],
        "enable-l7-proxy": values["l7Proxy"],
        "enable-policy": values["policyEnforcementMode"].lower(),
        "external-envoy-proxy": values["envoy"]["enabled"],
        "identity-allocation-mode": "crd",
        "kube-proxy-replacement": values["kubeProxyReplacement"] or "false",
        "routing-mode": values["routingMode"] or ("native" if eni else "tunnel"),
        "tunnel-protocol": values["tunnelProtocol"] or "vxlan",
    }


def _addressing(values: Values) -> dict[str, object]:
    eni, ipam = values["eni"], values["ipam"]
    # The chart takes eni.enabled for the mode, whatever ipam.mode says.
    mode = "eni" if eni["enabled"] else ipam["mode"]
    data: dict[str, object] = {"ipam": mode}
    if mode == "cluster-pool":
        data["cluster-pool-ipv4-cidr"] = " ".join(ipam["operator"]["clusterPoolIPv4PodCIDRList"])
        data["cluster-pool-ipv4-mask-size"] = ipam["operator"]["clusterPoolIPv4MaskSize"]
    if eni["enabled"]:
        data |= {
            "auto-create-cilium-node-resource": True,
            "ec2-api-endpoint": eni["ec2APIEndpoint"],
            "enable-endpoint-routes": True,
            "eni-gc-interval": "5m",
            "eni-tags": json.dumps(eni["eniTags"], separators=(",", ":")),
        }
        lists = {
            "subnet-ids-filter": " ".join(eni["subnetIDsFilter"]),
            "subnet-tags-filter": ",".join(eni["subnetTagsFilter"]),
            "instance-tags-filter": ",".join(eni["instanceTagsFilter"]),
        }
        flags = {
            "aws-enable-prefix-delegation": eni["awsEnablePrefixDelegation"],
            "aws-release-excess-ips": eni["awsReleaseExcessIPs"],
        }
        data |= {key: value for key, value in (*lists.items(), *flags.items()) if value}
    return data


def _cni(values: Values) -> dict[str, object]:
    cni = values["cni"]
    data: dict[str, object] = {}
    if cni["install"] and not cni["customConf"]:
        data["cni-exclusive"] = cni["exclusive"]
        data["write-cni-conf-when-ready"] = _CNI_FILE
    if cni["uninstall"]:
        data["cni-uninstall"] = True
    chaining = cni["chainingMode"] or ("generic-veth" if cni["chainingTarget"] else "none")
    if chaining != "none":
        data["cni-chaining-mode"] = chaining
    if cni["chainingTarget"]:
        data["cni-chaining-target"] = cni["chainingTarget"]
    return data


def _operator(values: Values, version: str) -> dict[str, object]:
    operator = values["operator"]
    watcher = operator["unmanagedPodWatcher"]
    # The unit came with 1.19.
    unit = "s" if version_of(version) >= (1, 19) else ""
    interval = f"{watcher['intervalSeconds']}{unit}" if watcher["restart"] else "0"
    data: dict[str, object] = {"nodes-gc-interval": "5m0s", "unmanaged-pod-watcher-interval": interval}
    if watcher["selector"] is not None:
        data["pod-restart-selector"] = watcher["selector"]
    # Written only when true: left out, the operator goes by its own default, which is true for the first.
    set_taints = operator["setNodeTaints"]
    flags = {
        "remove-cilium-node-taints": operator["removeNodeTaints"],
        "set-cilium-node-taints": operator["removeNodeTaints"] if set_taints is None else set_taints,
        "set-cilium-is-up-condition": operator["setNodeNetworkStatus"],
    }
    return data | {key: True for key, value in flags.items() if value}


def _flags(values: Values) -> dict[str, object]:
    """What the chart writes only if it is said."""
    data: dict[str, object] = {}
    for key, value in (
        ("enable-bpf-masquerade", values["bpf"]["masquerade"]),
        ("enable-host-legacy-routing", values["bpf"]["hostLegacyRouting"]),
    ):
        if value is not None:
            data[key] = value
    for key, value in (
        ("tunnel-port", values["tunnelPort"]),
        ("ipv4-native-routing-cidr", values["ipv4NativeRoutingCIDR"]),
    ):
        if value:
            data[key] = value
    return data
