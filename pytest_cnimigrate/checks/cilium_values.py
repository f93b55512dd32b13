"""Whether Helm values fit the Cilium version and this kind of migration, before anything is installed.

Every rule names its source: Cilium's upgrade notes (Documentation/operations/upgrade.rst) and the chart's own
templates/validate.yaml. A chart that is given an old key may fail to render, or ignore it in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_cnimigrate.model.objects import Object

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
    Rule("containerRuntime.integration", (1, 16), "was removed; write bpf.autoMount.enabled"),
    Rule("enableCnpStatusUpdates", (1, 15), "was removed; leave it out"),
    Rule("enableK8sEventHandover", (1, 15), "was removed; leave it out"),
    Rule("enableCiliumEndpointSlice", (1, 18), "was removed; write ciliumEndpointSlice.enabled"),
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
    selected = value_at(values, "nodeSelector")
    if isinstance(selected, Mapping) and selected.get(key, value) != value:
        return []  # ANDed with every term
    required = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    terms = value_at(values, required)
    if not terms:
        return [
            f"{required}: is missing: agents would go to the old nodes too; "
            f"add a term with {key} NotIn [{value}]"
        ]
    if not isinstance(terms, list) or not all(isinstance(term, Mapping) for term in terms):
        return [f"{required}: should be a list of terms"]
    return [
        f"{required}.{index}: does not keep away from {key}={value} (terms are ORed); "
        f"add {key} NotIn [{value}] to its matchExpressions"
        for index, term in enumerate(terms)
        if not _excludes(term, key, value)
    ]


def _excludes(term: Mapping[str, Any], key: str, value: str) -> bool:
    """Whether no node with the label is let in by this term; an empty term lets in no node at all."""
    expressions = term.get("matchExpressions") or []
    if not expressions:
        return not term.get("matchFields")
    return any(_keeps_away(expression, key, value) for expression in expressions)


def _keeps_away(expression: Mapping[str, Any], key: str, value: str) -> bool:
    if expression.get("key") != key:
        return False
    operator, listed = expression.get("operator"), expression.get("values") or []
    match operator:
        case "DoesNotExist":
            return True
        case "NotIn":
            return value in listed
        case "In":
            return value not in listed
    return False


def taint_key_differs(values: Values, key: str) -> list[str]:
    """Problems: the operator would remove another taint than the one the node group gives, or none."""
    problems = []
    configured = value_at(values, "agentNotReadyTaintKey") or "node.cilium.io/agent-not-ready"
    if configured != key:
        problems.append(
            f"agentNotReadyTaintKey: is {configured}, but the new group has {key}: its taint would stay"
        )
    if value_at(values, "operator.removeNodeTaints") is False:
        problems.append("operator.removeNodeTaints: is false: the new group's taint would stay; leave it out")
    return problems


def wrong_for_eni(values: Values) -> list[str]:
    """Problems: values that do not go together in ENI mode (IPv4 only, routed natively)."""
    return list(_eni_problems(values))


def _is_eni(values: Values) -> bool:
    """Whether ENI mode is meant: the chart takes `eni.enabled` for it, whatever `ipam.mode` says."""
    return value_at(values, "ipam.mode") == "eni" or value_at(values, "eni.enabled") is True


def _eni_problems(values: Values) -> Iterator[str]:
    if not _is_eni(values):
        return
    if value_at(values, "eni.enabled") is not True:
        yield "eni.enabled: must be true when ipam.mode is eni"
    if value_at(values, "ipam.mode") not in {None, "eni"}:
        yield f"ipam.mode: is {value_at(values, 'ipam.mode')}, but eni.enabled makes it eni; write eni"
    # The chart's own default is native when eni.enabled is true. `tunnel` is how it was said before 1.14.
    if value_at(values, "routingMode") not in {None, "", "native"} or value_at(values, "tunnel") not in {
        None,
        "disabled",
    }:
        yield "routingMode: must be native in ENI mode: pods have addresses of the VPC and need no tunnel"
    if value_at(values, "ipv6.enabled"):
        yield "ipv6.enabled: ENI mode is IPv4 only"
    if value_at(values, "cni.chainingMode") == "aws-cni":
        yield "cni.chainingMode: aws-cni keeps the VPC CNI in charge; leave it out to replace it"


def wrong_address_family(values: Values, service: Object) -> list[str]:
    """Problems: ENI mode, which is IPv4 only, in a cluster whose Services (`service` is any) are not.

    An EKS cluster is of one family for good, and an IPv6 one has no IPv4 addresses for pods.
    """
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    if not _is_eni(values) or families[0] == "IPv4":
        return []
    return [f"ipam.mode: ENI mode is IPv4 only, and this cluster is {families[0]}; take another IPAM mode"]


def leaves_masquerading_open(values: Values, version: str) -> list[str]:
    """Problems: in ENI mode the default of enableIPv4Masquerade became false with 1.18; it must be said.

    Pods in subnets without a NAT gateway lose the internet, and the mesh stays green.
    """
    if not _is_eni(values) or version_of(version) < (1, 18):
        return []
    if value_at(values, "enableIPv4Masquerade") is not None:
        return []
    compatibility = value_at(values, "upgradeCompatibility")
    if compatibility is not None and version_of(str(compatibility)) < (1, 18):
        return []  # keeps the old default
    return [
        "enableIPv4Masquerade: say true or false: its default in ENI mode became false with 1.18, "
        "while the VPC CNI masquerades"
    ]
