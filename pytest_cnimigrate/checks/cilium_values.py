"""Whether Helm values fit the Cilium version and this kind of migration, before anything is installed.

Every rule names its source: Cilium's upgrade notes (Documentation/operations/upgrade.rst) and the chart's own
templates/validate.yaml. A chart that is given an old key may fail to render, or ignore it in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]
Version = tuple[int, int]

_ABSENT = object()


def version_of(text: str) -> Version:
    """(major, minor) of `1.18.4`."""
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


def value_at(values: Values, dotted: str) -> Any:
    """The value at a dotted key, or None when there is none."""
    found = _lookup(values, dotted)
    return None if found is _ABSENT else found


def _lookup(values: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        if not isinstance(values, Mapping) or key not in values:
            return _ABSENT
        values = values[key]
    return values


@dataclass(frozen=True, slots=True)
class Rule:
    """A key that is wrong from some version on."""

    key: str
    since: Version
    advice: str
    """What to write instead."""
    wrong: Callable[[Any], bool] = lambda value: True
    """Whether the value that was found is wrong; any value by default."""


_RULES = (
    Rule(
        "tunnel",
        (1, 15),
        "was removed; write routingMode: native (for `disabled`) or routingMode: tunnel with tunnelProtocol",
    ),
    Rule(
        "kubeProxyReplacement",
        (1, 16),
        "takes true or false only; the modes strict, partial, probe and disabled are gone",
        lambda value: str(value).lower() not in {"true", "false"},
    ),
    Rule(
        "cluster.name",
        (1, 17),
        "must be at most 32 characters of a-z, 0-9 and -, beginning and ending with a letter or digit",
        lambda value: not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", str(value)),
    ),
    Rule(
        "eni.updateEC2AdapterLimitViaAPI",
        (1, 18),
        "was removed: limits always come from the EC2 API (the operator needs ec2:DescribeInstanceTypes)",
    ),
    Rule(
        "ipam.operator.clusterPoolIPv4PodCIDR",
        (1, 14),
        "was removed; write ipam.operator.clusterPoolIPv4PodCIDRList, a list",
    ),
    Rule(
        "ipam.operator.clusterPoolIPv6PodCIDR",
        (1, 14),
        "was removed; write ipam.operator.clusterPoolIPv6PodCIDRList, a list",
    ),
    Rule("containerRuntime.integration", (1, 14), "was removed; leave it out"),
    Rule("enableCnpStatusUpdates", (1, 16), "was removed; leave it out"),
    Rule("hubble.peerService.enabled", (1, 14), "was removed; leave it out"),
)


def outdated(values: Values, version: str) -> list[str]:
    """Problems: keys that this version of the chart no longer takes, each with its successor."""
    at = version_of(version)
    return [
        f"{rule.key}: {rule.advice} (since Cilium {rule.since[0]}.{rule.since[1]}, this is {version})"
        for rule in _RULES
        if at >= rule.since and (found := _lookup(values, rule.key)) is not _ABSENT and rule.wrong(found)
    ]


def lets_watcher_run(values: Values) -> list[str]:
    """Problems: the operator would restart pods that are still the old CNI's."""
    if _lookup(values, "operator.unmanagedPodWatcher.restart") is False:
        return []
    return [
        "operator.unmanagedPodWatcher.restart: must be false during the migration "
        "(the default lets the operator restart kube-dns pods that Cilium does not manage)"
    ]


def with_watcher(values: Values) -> dict[str, Any]:
    """A copy of the values in which the operator may restart unmanaged pods."""
    operator = dict(value_at(values, "operator") or {})
    operator["unmanagedPodWatcher"] = dict(operator.get("unmanagedPodWatcher") or {}) | {"restart": True}
    return {**values, "operator": operator}


def goes_to_old_nodes(values: Values, key: str, value: str) -> list[str]:
    """Problems: the agent's affinity lets it onto nodes with the fence label."""
    required = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    terms = value_at(values, f"{required}.nodeSelectorTerms") or []
    if not terms:
        return [f"{required}.nodeSelectorTerms: is missing: agents would go to the old nodes too"]
    return [
        f"{required}.nodeSelectorTerms.{index}: does not keep away from {key}={value} (terms are ORed)"
        for index, term in enumerate(terms)
        if not any(_keeps_away(expression, key, value) for expression in term.get("matchExpressions") or ())
    ]


def _keeps_away(expression: Mapping[str, Any], key: str, value: str) -> bool:
    if expression.get("key") != key:
        return False
    operator, listed = expression.get("operator"), expression.get("values") or []
    return operator == "DoesNotExist" or (operator == "NotIn" and value in listed)


def taint_key_differs(values: Values, key: str) -> list[str]:
    """Problems: the operator would remove another taint than the one the node group gives."""
    configured = value_at(values, "agentNotReadyTaintKey") or "node.cilium.io/agent-not-ready"
    if configured == key:
        return []
    return [f"agentNotReadyTaintKey: is {configured}, but the new group has {key}: its taint would stay"]


def wrong_for_eni(values: Values) -> list[str]:
    """Problems: values that do not go together in ENI mode (IPv4 only, routed natively)."""
    return list(_eni_problems(values))


def _eni_problems(values: Values) -> Iterator[str]:
    if value_at(values, "ipam.mode") != "eni":
        return
    if value_at(values, "eni.enabled") is not True:
        yield "eni.enabled: must be true when ipam.mode is eni"
    if value_at(values, "routingMode") != "native":
        yield "routingMode: must be native when ipam.mode is eni"
    if value_at(values, "ipv6.enabled"):
        yield "ipv6.enabled: ENI mode is IPv4 only"
    if value_at(values, "cni.chainingMode") == "aws-cni":
        yield "cni.chainingMode: aws-cni keeps the VPC CNI in charge; leave it out to replace it"


def leaves_masquerading_open(values: Values, version: str) -> list[str]:
    """Problems: in ENI mode the default of enableIPv4Masquerade became false with 1.18; it must be said.

    Pods in subnets without a NAT gateway lose the internet, and the mesh stays green.
    """
    if value_at(values, "ipam.mode") != "eni" or version_of(version) < (1, 18):
        return []
    if _lookup(values, "enableIPv4Masquerade") is not _ABSENT:
        return []
    return [
        "enableIPv4Masquerade: say true or false: its default in ENI mode became false with 1.18, "
        "while the VPC CNI masquerades"
    ]
