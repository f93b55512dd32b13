"""Cilium's configuration: the ConfigMap `cilium-config`, for single nodes overridden by CiliumNodeConfigs.

Both are read when a process starts and never again: a change needs a restart of agents or operator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pytest_cnimigrate.model.objects import Object, labels_of, name_of
from pytest_cnimigrate.model.resources import CILIUM_NODE_CONFIGS, CONFIG_MAPS
from pytest_cnimigrate.model.selectors import matches_label_selector
from pytest_cnimigrate.simulator.client.api import Api, ApiError

CONFIG_MAP = "cilium-config"
DEFAULT_TAINT_KEY = "node.cilium.io/agent-not-ready"
CNI_FILE = "05-cilium.conflist"

IPAM_MODES = ("eni", "cluster-pool", "kubernetes")


class CiliumConfigError(Exception):
    """The configuration cannot be used; the process ends with this text."""


@dataclass(frozen=True, slots=True)
class CiliumConfig:
    """The settings that the simulated agent and operator act on; `raw` has them all."""

    raw: Mapping[str, str] = field(default_factory=dict)

    def _get(self, key: str, default: str = "") -> str:
        return self.raw.get(key, default)

    def _flag(self, key: str, default: bool) -> bool:
        value = self.raw.get(key)
        return default if value in (None, "") else value == "true"

    @property
    def ipam(self) -> str:
        """The mode; raises `CiliumConfigError` for those that are not simulated."""
        mode = self._get("ipam", "cluster-pool")
        if mode not in IPAM_MODES:
            raise CiliumConfigError(f"ipam={mode} is not simulated, only {', '.join(IPAM_MODES)}")
        return mode

    @property
    def cluster_name(self) -> str:
        return self._get("cluster-name", "default")

    @property
    def taint_key(self) -> str:
        return self._get("agent-not-ready-taint-key", DEFAULT_TAINT_KEY)

    @property
    def cni_file(self) -> str:
        """The name of the CNI file that the agent writes when it is ready; "" if it does not."""
        if self._flag("custom-cni-conf", False):
            return ""
        return self._get("write-cni-conf-when-ready").rpartition("/")[2]

    @property
    def cni_exclusive(self) -> bool:
        return self._flag("cni-exclusive", False)

    @property
    def cni_uninstall(self) -> bool:
        return self._flag("cni-uninstall", False)

    @property
    def masquerade(self) -> bool:
        return self._flag("enable-ipv4-masquerade", True)

    def masquerades_on(self, device: str) -> bool:
        """Whether packets that leave by the device get the node's address."""
        patterns = re.split(r"[\s,]+", self._get("egress-masquerade-interfaces").strip())
        if patterns == [""]:
            return self.masquerade
        # iptables' spelling: `eth+` is every device whose name begins with eth.
        return self.masquerade and any(fnmatchcase(device, p.replace("+", "*")) for p in patterns)

    @property
    def native_routing_cidr(self) -> str:
        return self._get("ipv4-native-routing-cidr")

    @property
    def tunnel(self) -> bool:
        return self._get("routing-mode", "tunnel") == "tunnel"

    @property
    def tunnel_port(self) -> int:
        default = "6081" if self._get("tunnel-protocol", "vxlan") == "geneve" else "8472"
        return int(self._get("tunnel-port", default) or default)

    @property
    def policy_enforcement(self) -> bool:
        return self._get("enable-policy", "default") != "never" and self._flag(
            "enable-k8s-networkpolicy", True
        )

    @property
    def replaces_kube_proxy(self) -> bool:
        return self._get("kube-proxy-replacement", "false") in ("true", "strict")

    # The operator's part

    @property
    def remove_taints(self) -> bool:
        return self._flag("remove-cilium-node-taints", True)

    @property
    def set_taints(self) -> bool:
        return self._flag("set-cilium-node-taints", False)

    @property
    def set_is_up_condition(self) -> bool:
        return self._flag("set-cilium-is-up-condition", True)

    @property
    def pod_labels(self) -> str:
        """The label selector of the agents' pods."""
        return self._get("cilium-pod-labels", "k8s-app=cilium")

    @property
    def unmanaged_interval(self) -> float:
        """Seconds between two looks for unmanaged pods; 0 switches the watcher off."""
        return float(self._get("unmanaged-pod-watcher-interval", "15").rstrip("s") or 0)

    @property
    def restart_selector(self) -> str:
        return self._get("pod-restart-selector", "k8s-app=kube-dns")

    @property
    def pool_cidrs(self) -> list[str]:
        return self._get("cluster-pool-ipv4-cidr").replace(",", " ").split()

    @property
    def pool_mask_size(self) -> int:
        return int(self._get("cluster-pool-ipv4-mask-size", "24"))

    @property
    def nodes_gc_seconds(self) -> float:
        return parse_duration(self._get("nodes-gc-interval", "5m0s"))


async def read_config(api: Api, namespace: str, node: Object | None = None) -> CiliumConfig:
    """The ConfigMap, with the CiliumNodeConfigs that select `node`; raises `CiliumConfigError`."""
    try:
        config_map = await api.get(CONFIG_MAPS, CONFIG_MAP, namespace)
    except ApiError as error:
        raise CiliumConfigError(
            f"failed to build config: failed to retrieve ConfigMap {namespace}/{CONFIG_MAP}: {error.message}"
        ) from error
    values: dict[str, str] = dict(config_map.get("data") or {})
    if node is not None:
        for override in await _node_configs(api, namespace):
            if matches_label_selector(override["spec"].get("nodeSelector") or {}, labels_of(node)):
                values.update(override["spec"].get("defaults") or {})
    return CiliumConfig(values)


async def _node_configs(api: Api, namespace: str) -> list[Object]:
    try:
        found, _ = await api.list(CILIUM_NODE_CONFIGS, namespace)
    except ApiError as error:
        if error.is_not_found:
            return []  # the resource is not there yet
        raise CiliumConfigError(f"failed to list CiliumNodeConfigs: {error.message}") from error
    return sorted(found, key=name_of)


def parse_duration(text: str) -> float:
    """Go's `5m0s`, `1h`, `15s` in seconds; raises `CiliumConfigError`."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    if not re.fullmatch(r"(\d+(\.\d+)?(h|ms|m|s))+|0", text):
        raise CiliumConfigError(f"{text!r} is not a duration")
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|h|m|s)", text))
