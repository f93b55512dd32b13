"""What an EKS add-on writes into the cluster, and when it finds that others have written there.

The real add-ons apply their manifests server-side as the field manager `eks`. Here the fields that matter
to a CNI migration are compared and written: the images' versions, the affinity, and what
`configurationValues` sets. A field is in conflict when it is set, but neither to what EKS wants to write
nor to what it wrote last: then somebody else has been there. Images are taken over without a question, as
versions are what add-ons are about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from pytest_cnimigrate.model.objects import Object, copy
from pytest_cnimigrate.simulator.aws.eks.add_on_catalog import AddOnKind
from pytest_cnimigrate.simulator.client.api import Api, ApiError

NAMESPACE = "kube-system"
CONFLICT_RETRIES = 5

ResolveConflicts = Literal["NONE", "OVERWRITE", "PRESERVE"]
Fields = dict[str, Any]
"""Path below the pod template (`spec.affinity`) -> value."""


@dataclass(frozen=True, slots=True)
class Applied:
    """How an attempt to write ended."""

    fields: Fields = field(default_factory=dict)
    """What EKS considers its own from now on."""
    conflicts: tuple[str, ...] = ()
    """Paths that somebody else has changed; not written if there are any and the mode is NONE."""
    missing: bool = False
    """The workload is not in the cluster."""


def wanted_fields(kind: AddOnKind, version: str, configuration: Mapping[str, Any]) -> Fields:
    """What this version with this configuration writes."""
    fields: Fields = {f"image {name}": version for name in kind.images}
    fields["spec.affinity"] = configuration.get("affinity", kind.affinity)
    places = {
        "tolerations": "spec.tolerations",
        "podLabels": "metadata.labels",
        "podAnnotations": "metadata.annotations",
        "env": "env",
        "resources": "resources",
    }
    return fields | {
        path: configuration[name] for name, path in places.items() if configuration.get(name) is not None
    }


class AddOnObjects:
    """Reads and writes the workloads of add-ons; without an API every attempt succeeds and writes nothing."""

    def __init__(self) -> None:
        self.api: Api | None = None
        self._deleted: dict[str, Object] = {}

    async def apply(
        self, kind: AddOnKind, wanted: Fields, last: Fields | None, mode: ResolveConflicts
    ) -> Applied:
        """Write `wanted`; `last` is what EKS wrote before, None when it takes a self-managed add-on over."""
        if self.api is None:
            return Applied(wanted)
        for attempt in range(CONFLICT_RETRIES):
            workload = await self._find(kind)
            if workload is None:
                return Applied(missing=True)
            template = copy(workload)["spec"]["template"]
            conflicts = tuple(
                path for path, value in wanted.items() if _in_conflict(template, path, value, last or {})
            )
            if conflicts and mode == "NONE":
                return Applied(last or {}, conflicts)
            own = {
                path: value for path, value in wanted.items() if mode != "PRESERVE" or path not in conflicts
            }
            for path, value in own.items():
                _write(template, path, value)
            if template == workload["spec"]["template"]:
                return Applied(own, conflicts)
            changed = {**workload, "spec": {**workload["spec"], "template": template}}
            try:
                await self.api.update(kind.resource, changed)
            except ApiError as error:
                if not error.is_conflict or attempt == CONFLICT_RETRIES - 1:
                    raise
            else:
                return Applied(own, conflicts)
        raise AssertionError("the last attempt returns or raises")

    async def current(self, kind: AddOnKind, wanted: Fields) -> Fields | None:
        """What the cluster has now where the add-on would write; None while the workload is not there."""
        workload = await self._find(kind, restore=False)
        if workload is None:
            return None
        template = workload["spec"]["template"]
        spec_fields = {path for path in wanted if path.startswith("spec.")}
        return {path: template["spec"].get(path.partition(".")[2]) for path in spec_fields}

    async def delete(self, kind: AddOnKind) -> None:
        """Delete the workload; it is kept aside, so that the add-on can be installed again."""
        workload = await self._find(kind, restore=False)
        if workload is not None and self.api is not None:
            self._deleted[kind.name] = workload
            await self.api.delete(kind.resource, kind.workload, NAMESPACE)

    async def is_short_of_replicas(self, kind: AddOnKind) -> bool:
        """Whether fewer pods are ready than there should be; none wanted counts too (vpc-cni#3271)."""
        workload = await self._find(kind, restore=False)
        if workload is None:
            return self.api is not None
        status = workload.get("status") or {}
        wanted = status.get("desiredNumberScheduled", workload["spec"].get("replicas", 0))
        ready = status.get("numberReady", status.get("availableReplicas", 0))
        return bool(wanted == 0 or ready < wanted)

    async def _find(self, kind: AddOnKind, *, restore: bool = True) -> Object | None:
        if self.api is None:
            return None
        try:
            return await self.api.get(kind.resource, kind.workload, NAMESPACE)
        except ApiError as error:
            if not error.is_not_found:
                raise
        deleted = self._deleted.pop(kind.name, None) if restore else None
        if deleted is None:
            return None
        fresh = {key: value for key, value in copy(deleted).items() if key != "status"}
        kept = ("name", "namespace", "labels", "annotations")
        fresh["metadata"] = {key: value for key, value in deleted["metadata"].items() if key in kept}
        return await self.api.create(kind.resource, fresh, NAMESPACE)


def parse_configuration(text: str) -> dict[str, Any]:
    """`configurationValues`, JSON or (as the API allows too) YAML; `ValueError` for anything else."""
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(str(error)) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError("not an object")
    return values


def _image_name(image: str) -> str:
    """`amazon-k8s-cni` of `602401143452.dkr.ecr.us-west-1.amazonaws.com/amazon-k8s-cni:v1.19.2`."""
    return image.rpartition("/")[2].partition(":")[0]


def _containers(template: Object) -> list[Object]:
    spec = template["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def _holds(template: Object, path: str, value: Any) -> bool:
    if path.startswith("image "):
        name = path.removeprefix("image ")
        tags = [
            container["image"].rpartition(":")[2]
            for container in _containers(template)
            if _image_name(container["image"]) == name
        ]
        return all(tag == value for tag in tags)
    if path == "env":
        current = {
            entry["name"]: entry.get("value") for entry in template["spec"]["containers"][0].get("env", ())
        }
        return all(current.get(name) == text for name, text in value.items())
    if path == "resources":
        return bool(template["spec"]["containers"][0].get("resources", {}) == value)
    section, _, leaf = path.partition(".")
    current = template.get(section, {}).get(leaf)
    if section == "metadata":
        return all((current or {}).get(name) == text for name, text in value.items())
    return bool((current or {}) == (value or {}))


def _is_set(template: Object, path: str, value: Any) -> bool:
    first = template["spec"]["containers"][0]
    if path == "env":
        return any(entry["name"] in value for entry in first.get("env", ()))
    if path == "resources":
        return bool(first.get("resources"))
    section, _, leaf = path.partition(".")
    current = template.get(section, {}).get(leaf) or {}
    return any(name in value for name in current) if section == "metadata" else bool(current)


def _in_conflict(template: Object, path: str, value: Any, last: Fields) -> bool:
    if path.startswith("image ") or _holds(template, path, value):
        return False
    if path in last and _holds(template, path, last[path]):
        return False
    return _is_set(template, path, value)


def _write(template: Object, path: str, value: Any) -> None:
    if path.startswith("image "):
        for container in _containers(template):
            if _image_name(container["image"]) == path.removeprefix("image "):
                container["image"] = f"{container['image'].rpartition(':')[0]}:{value}"
        return
    first = template["spec"]["containers"][0]
    if path == "env":
        others = [entry for entry in first.get("env", ()) if entry["name"] not in value]
        first["env"] = others + [{"name": name, "value": text} for name, text in value.items()]
    elif path == "resources":
        first["resources"] = value
    elif path.startswith("metadata."):
        leaf = path.partition(".")[2]
        template["metadata"][leaf] = {**template["metadata"].get(leaf, {}), **value}
    elif value:
        template["spec"][path.partition(".")[2]] = value
    else:
        template["spec"].pop(path.partition(".")[2], None)
