"""Validation: what the server refuses with 422, as far as a migration or its rehearsal can run into it.

Messages follow `k8s.io/kubernetes/pkg/apis/*/validation`. Not everything is validated; what is not, is
accepted as it stands.
"""

from __future__ import annotations

from collections.abc import Callable

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.selectors import matches_label_selector
from pytest_cnimigrate.simulator.apiserver.errors import (
    duplicate,
    forbidden_field,
    invalid_value,
    required,
    unsupported_value,
)
from pytest_cnimigrate.simulator.apiserver.names import (
    Errors,
    validate_dns_label,
    validate_label_value,
    validate_labels,
    validate_metadata,
    validate_qualified_name,
)

IMMUTABLE = "field is immutable"

TAINT_EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"]


def _node(obj: Object) -> Errors:
    errors: Errors = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate((obj.get("spec") or {}).get("taints") or ()):
        field = f"spec.taints[{index}]"
        key, effect = taint.get("key", ""), taint.get("effect", "")
        errors += validate_qualified_name(key, f"{field}.key")
        errors += validate_label_value(taint.get("value", ""), f"{field}.value")
        if not effect:
            errors.append(required(f"{field}.effect"))
        elif effect not in TAINT_EFFECTS:
            errors.append(unsupported_value(f"{field}.effect", effect, TAINT_EFFECTS))
        if (key, effect) in seen:
            errors.append(duplicate(field, taint))
        seen.add((key, effect))
    return errors


_SELECTOR_OPERATORS = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"}


def _node_affinity(spec: Object, path: str) -> Errors:
    errors: Errors = []
    node_affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required_terms = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required_terms is None:
        return errors
    field = f"{path}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    terms = required_terms.get("nodeSelectorTerms") or []
    if not terms:
        errors.append(required(field, "must have at least one node selector term"))
    for position, term in enumerate(terms):
        for number, expression in enumerate(term.get("matchExpressions") or ()):
            at = f"{field}[{position}].matchExpressions[{number}]"
            operator, values = expression.get("operator"), expression.get("values") or []
            errors += validate_qualified_name(expression.get("key", ""), f"{at}.key")
            if operator not in _SELECTOR_OPERATORS:
                errors.append(invalid_value(f"{at}.operator", operator, "not a valid selector operator"))
            elif operator in ("In", "NotIn") and not values:
                errors.append(
                    required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
                )
            elif operator in ("Exists", "DoesNotExist") and values:
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                errors.append(forbidden_field(f"{at}.values", detail))
            elif operator in ("Gt", "Lt") and len(values) != 1:
                detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                errors.append(required(f"{at}.values", detail))
    return errors


def _tolerations(spec: Object, path: str) -> Errors:
    errors: Errors = []
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        field = f"{path}.tolerations[{index}]"
        operator = toleration.get("operator") or "Equal"
        effect = toleration.get("effect")
        if not toleration.get("key") and operator != "Exists":
            detail = (
                'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            )
            errors.append(invalid_value(f"{field}.operator", toleration.get("operator", ""), detail))
        if operator not in ("Equal", "Exists"):
            errors.append(unsupported_value(f"{field}.operator", operator, ["Equal", "Exists"]))
        if operator == "Exists" and toleration.get("value"):
            detail = "value must be empty when `operator` is 'Exists'"
            errors.append(invalid_value(f"{field}.operator", toleration["value"], detail))
        if effect and effect not in TAINT_EFFECTS:
            errors.append(unsupported_value(f"{field}.effect", effect, TAINT_EFFECTS))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(invalid_value(f"{field}.effect", effect or "", detail))
    return errors


def _pod_spec(spec: Object, path: str) -> Errors:
    errors: Errors = []
    containers = spec.get("containers") or []
    if not containers:
        errors.append(required(f"{path}.containers"))
    names: set[str] = set()
    for field, group in (("initContainers", spec.get("initContainers") or []), ("containers", containers)):
        for index, container in enumerate(group):
            at = f"{path}.{field}[{index}]"
            name = container.get("name", "")
            if not name:
                errors.append(required(f"{at}.name"))
            elif name in names:
                errors.append(duplicate(f"{at}.name", name))
            else:
                errors += validate_dns_label(name, f"{at}.name")
            names.add(name)
            if not container.get("image"):
                errors.append(required(f"{at}.image"))
    return errors + _tolerations(spec, path) + _node_affinity(spec, path)


def _pod(obj: Object) -> Errors:
    return _pod_spec(obj.get("spec") or {}, "spec")


def _selecting_workload(obj: Object) -> Errors:
    """The selector must be there and match the template's labels."""
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    errors: Errors = []
    selector = spec.get("selector")
    if not selector:
        errors.append(required("spec.selector"))
    elif not matches_label_selector(selector, labels):
        detail = "`selector` does not match template `labels`"
        errors.append(invalid_value("spec.template.metadata.labels", labels, detail))
    errors += validate_labels(labels, "spec.template.metadata.labels")
    errors += _pod_spec(template.get("spec") or {}, "spec.template.spec")
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        errors.append(invalid_value("spec.replicas", replicas, "must be greater than or equal to 0"))
    return errors


def _daemon_set(obj: Object) -> Errors:
    errors = _selecting_workload(obj)
    rolling = ((obj.get("spec") or {}).get("updateStrategy") or {}).get("rollingUpdate") or {}
    unavailable, surge = str(rolling.get("maxUnavailable", 1)), str(rolling.get("maxSurge", 0))
    none = ("0", "0%")
    if rolling and unavailable in none and surge in none:
        detail = "cannot be 0 when `maxSurge` is 0"
        errors.append(invalid_value("spec.updateStrategy.rollingUpdate.maxUnavailable", unavailable, detail))
    return errors


def _deployment(obj: Object) -> Errors:
    errors = _selecting_workload(obj)
    strategy = (obj.get("spec") or {}).get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    if strategy.get("type") == "Recreate" and rolling:
        detail = "may not be specified when strategy `type` is 'Recreate'"
        errors.append(forbidden_field("spec.strategy.rollingUpdate", detail))
    none = ("0", "0%")
    if rolling and str(rolling.get("maxUnavailable")) in none and str(rolling.get("maxSurge")) in none:
        detail = "may not be 0 when `maxSurge` is 0"
        errors.append(invalid_value("spec.strategy.rollingUpdate.maxUnavailable", 0, detail))
    return errors


def _budget(obj: Object) -> Errors:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        detail = "minAvailable and maxUnavailable cannot be both set"
        return [invalid_value("spec", spec, detail)]
    return []


def _definition(obj: Object) -> Errors:
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    errors = [required(f"spec.{field}") for field in ("group", "scope") if not spec.get(field)]
    errors += [required(f"spec.names.{field}") for field in ("plural", "kind") if not names.get(field)]
    expected = f"{names.get('plural')}.{spec.get('group')}"
    if not errors and obj["metadata"].get("name") != expected:
        detail = f'must be spec.names.plural+"."+spec.group: {expected}'
        errors.append(invalid_value("metadata.name", obj["metadata"].get("name"), detail))
    if sum(bool(version.get("storage")) for version in spec.get("versions") or ()) != 1:
        detail = "must have exactly one version marked as storage version"
        errors.append(invalid_value("spec.versions", spec.get("versions") or [], detail))
    return errors


_VALIDATORS: dict[str, Callable[[Object], Errors]] = {
    "nodes": _node,
    "pods": _pod,
    "daemonsets.apps": _daemon_set,
    "deployments.apps": _deployment,
    "replicasets.apps": _selecting_workload,
    "statefulsets.apps": _selecting_workload,
    "poddisruptionbudgets.policy": _budget,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}

_IMMUTABLE: dict[str, tuple[str, ...]] = {
    "daemonsets.apps": ("selector",),
    "deployments.apps": ("selector",),
    "replicasets.apps": ("selector",),
    "statefulsets.apps": ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"),
    "jobs.batch": ("selector", "template", "completions"),
}

_POD_MUTABLE = {
    "activeDeadlineSeconds",
    "terminationGracePeriodSeconds",
    "tolerations",
    "schedulingGates",
    "ephemeralContainers",
}
_POD_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def validate(group_resource: str, obj: Object) -> Errors:
    """Everything that is wrong with an object as such."""
    errors = validate_metadata(group_resource, obj["metadata"])
    validator = _VALIDATORS.get(group_resource)
    return errors + validator(obj) if validator is not None else errors


def validate_update(group_resource: str, new: Object, old: Object) -> Errors:
    """What may not change any more."""
    new_spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    if group_resource == "pods":
        return _pod_update(new_spec, old_spec)
    if group_resource == "services" and old_spec.get("clusterIP") not in (
        None,
        "",
        new_spec.get("clusterIP"),
    ):
        changed_type = "ExternalName" in (old_spec.get("type"), new_spec.get("type"))
        detail = "may not change once set"
        return (
            [] if changed_type else [invalid_value("spec.clusterIPs[0]", new_spec.get("clusterIPs"), detail)]
        )
    if group_resource.endswith("rolebindings.rbac.authorization.k8s.io"):
        same = new.get("roleRef") == old.get("roleRef")
        return [] if same else [invalid_value("roleRef", new.get("roleRef"), "cannot change roleRef")]
    if group_resource == "statefulsets.apps":
        return _stateful_set_update(new_spec, old_spec)
    return [
        invalid_value(f"spec.{field}", new_spec.get(field), IMMUTABLE)
        for field in _IMMUTABLE.get(group_resource, ())
        if new_spec.get(field) != old_spec.get(field)
    ]


def _stateful_set_update(new: Object, old: Object) -> Errors:
    if all(new.get(field) == old.get(field) for field in _IMMUTABLE["statefulsets.apps"]):
        return []
    detail = (
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
        "'minReadySeconds' are forbidden"
    )
    return [forbidden_field("spec", detail)]


def _pod_update(new: Object, old: Object) -> Errors:
    def fixed(spec: Object) -> Object:
        kept = {key: value for key, value in spec.items() if key not in _POD_MUTABLE}
        for group in ("containers", "initContainers"):
            if group in kept:
                kept[group] = [{k: v for k, v in c.items() if k != "image"} for c in kept[group]]
        return kept

    def without_seconds(spec: Object) -> list[Object]:
        tolerations = spec.get("tolerations") or ()
        return [{k: v for k, v in item.items() if k != "tolerationSeconds"} for item in tolerations]

    errors: Errors = []
    if fixed(new) != fixed(old):
        errors.append(forbidden_field("spec", _POD_UPDATE))
    if any(toleration not in without_seconds(new) for toleration in without_seconds(old)):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        errors.append(forbidden_field("spec.tolerations", detail))
    return errors
