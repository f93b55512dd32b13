"""The chart's values: defaults, how Helm merges what is given into them, and what the chart refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

Values = dict[str, Any]


class ChartError(Exception):
    """The chart refuses the values; the text is what Helm would print."""


_REMOVED = {
    # templates/validate.yaml of the chart, in its words.
    "tunnel": (
        (1, 15),
        "tunnel was deprecated in v1.14 and has been removed in v1.15. "
        "For details please refer to https://docs.cilium.io/en/v1.15/operations/upgrade/#helm-options",
    ),
}
_FREE_FORM = frozenset(
    {
        "affinity",
        "eni.eniTags",
        "nodeSelector",
        "operator.affinity",
        "operator.nodeSelector",
        "securityContext",
        "updateStrategy",
    }
)
"""Mappings that are merged as they come, without looking at the keys inside."""

_LOOSELY_TYPED: dict[str, tuple[type, ...]] = {
    "k8sServicePort": (str, int),
    "kubeProxyReplacement": (str, bool),
}


def version_of(text: str) -> tuple[int, int]:
    """(major, minor) of a chart's version, e.g. of `1.18.4` or `v1.18.0-dev`."""
    match = re.match(r"v?(\d+)\.(\d+)", text)
    if match is None:
        raise ChartError(f"{text!r} is not a version of the chart")
    return int(match[1]), int(match[2])


def default_values() -> Values:
    """What the chart takes for what is not said."""
    values: Values = yaml.safe_load(resources.files(__package__).joinpath("values.yaml").read_text("utf-8"))
    return values


def merged(values: Mapping[str, Any], version: str) -> Values:
    """The defaults with `values` in them. Raises `ChartError` for what the chart would not take."""
    result = _merge(default_values(), values, "", version_of(version))
    _validate(result, version_of(version))
    return result


def masquerades(values: Values, version: str) -> bool:
    """Whether IPv4 is masqueraded: in ENI mode the default became false with 1.18.

    `upgradeCompatibility` keeps the default of an older version (operations/upgrade.rst, 1.18).
    """
    said = values["enableIPv4Masquerade"]
    if said is not None:
        return bool(said)
    compatible_with = version_of(str(values["upgradeCompatibility"] or version))
    return not (values["eni"]["enabled"] and min(compatible_with, version_of(version)) >= (1, 18))


def coalesced(defaults: Any, value: Any) -> Any:
    """How Helm lays a value over a default: mappings key by key, null takes a key away, all else replaces."""
    if not (isinstance(defaults, Mapping) and isinstance(value, Mapping)):
        return value
    result = dict(defaults)
    for key, given in value.items():
        if given is None:
            result.pop(key, None)
        else:
            result[key] = coalesced(defaults.get(key), given)
    return result


def _merge(defaults: Values, values: Mapping[str, Any], prefix: str, version: tuple[int, int]) -> Values:
    result = dict(defaults)
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        since, text = _REMOVED.get(dotted, ((99, 0), ""))
        if version >= since:
            raise ChartError(f"execution error at (cilium/templates/validate.yaml): {text}")
        if key not in defaults:
            raise ChartError(
                f"the stand-in chart does not know the value {dotted}; "
                f"it knows beside it: {', '.join(sorted(defaults))}"
            )
        default = defaults[key]
        if value is None and dotted in _FREE_FORM:
            result[key] = {}  # Helm forgets the default
        elif value is None and default is not None:
            raise ChartError(f"the value {dotted} must not be null; leave it out for its default")
        elif dotted in _FREE_FORM:
            if not isinstance(value, Mapping):
                raise ChartError(f"the value {dotted} must be a mapping, not {value!r}")
            result[key] = coalesced(default, value)
        elif isinstance(default, dict):
            if not isinstance(value, Mapping):
                raise ChartError(f"the value {dotted} must be a mapping, not {value!r}")
            result[key] = _merge(default, value, f"{dotted}.", version)
        else:
            _check_type(dotted, default, value)
            result[key] = value
    return result


def _check_type(dotted: str, default: Any, value: Any) -> None:
    """What values.schema.json of the chart does: a quoted "false" is a text, and true to a template."""
    wanted = _LOOSELY_TYPED.get(dotted, () if default is None else (type(default),))
    if wanted and type(value) not in wanted:
        names = " or ".join(kind.__name__ for kind in wanted)
        raise ChartError(
            "values don't meet the specifications of the schema(s) in the following chart(s): "
            f"cilium: {dotted}: Invalid type. Expected: {names}, given: {type(value).__name__}"
        )


def _validate(values: Values, version: tuple[int, int]) -> None:
    replacement = str(values["kubeProxyReplacement"]).lower()
    if version >= (1, 16) and replacement not in {"true", "false", ""}:
        raise ChartError(
            "execution error at (cilium/templates/cilium-configmap.yaml): "
            "kubeProxyReplacement must be explicitly set to a valid value (true or false) to continue."
        )
    name = str(values["cluster"]["name"])
    if version >= (1, 17) and not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", name):
        raise ChartError(
            "execution error at (cilium/templates/validate.yaml): The cluster name is invalid: must consist "
            "of lower case alphanumeric characters and '-', and must start and end with an alphanumeric "
            f"character, at most 32 in all: {name}"
        )
    operator, hubble = values["operator"], values["hubble"]
    if operator["setNodeTaints"] and not operator["removeNodeTaints"]:
        raise ChartError(
            "execution error at (cilium/templates/cilium-configmap.yaml): "
            "Cannot have operator.setNodeTaintsMaxNodes and not operator.removeNodeTaints = false"
        )
    if hubble["relay"]["enabled"] and not hubble["enabled"]:
        raise ChartError(
            "execution error at (cilium/templates/validate.yaml): "
            "Hubble Relay requires .Values.hubble.enabled=true"
        )
    if hubble["ui"]["enabled"] and not hubble["relay"]["enabled"]:
        raise ChartError(
            "execution error at (cilium/templates/validate.yaml): "
            "Hubble UI requires .Values.hubble.relay.enabled=true"
        )
    masquerade = values["enableIPv4Masquerade"]
    if (
        values["routingMode"] == "native"
        and values["ipv4"]["enabled"]
        and (version < (1, 18) if masquerade is None else masquerade)
        and not (values["eni"]["enabled"] or values["ipam"]["mode"] == "eni")
        and not values["ipv4NativeRoutingCIDR"]
    ):
        raise ChartError(
            "execution error at (cilium/templates/cilium-configmap.yaml): "
            "ipv4NativeRoutingCIDR must be set when routingMode is native"
        )
