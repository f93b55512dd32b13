"""What the server serves: built-in kinds, and those that custom resource definitions add at run time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytest_cnimigrate.model import resources as known
from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import Resource

STATUS = "status"
SCALE = "scale"


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """A resource as discovery describes it, and how its objects behave."""

    resource: Resource
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    has_generation: bool = False
    """Whether `metadata.generation` counts changes of what the user wants (nodes have none)."""
    unconditional_update: bool = True
    """Whether a PUT may leave out `metadata.resourceVersion`."""
    storage_version: str = ""
    """The version in which objects are kept; others differ in `apiVersion` only (strategy None)."""
    custom: bool = False
    schema: Object | None = field(default=None, compare=False)
    """The custom resource's OpenAPI schema."""
    printer_columns: tuple[Object, ...] = field(default=(), compare=False)
    scale_paths: Object | None = field(default=None, compare=False)
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What others work out from the fields above and do not want to work out again."""

    @property
    def has_status(self) -> bool:
        """Whether status is written through its subresource only."""
        return STATUS in self.subresources


def _info(
    resource: Resource,
    *short_names: str,
    subresources: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    has_generation: bool = False,
    unconditional_update: bool = True,
) -> ResourceInfo:
    return ResourceInfo(
        resource,
        singular=resource.kind.lower(),
        short_names=short_names,
        categories=categories,
        subresources=subresources,
        has_generation=has_generation,
        unconditional_update=unconditional_update,
        storage_version=resource.version,
    )


_ALL = ("all",)
_POD_SUBRESOURCES = (STATUS, "binding", "eviction", "log", "exec", "proxy")

BUILT_IN: tuple[ResourceInfo, ...] = (
    _info(known.NODES, "no", subresources=(STATUS,)),
    _info(known.NAMESPACES, "ns", subresources=(STATUS, "finalize")),
    _info(known.PODS, "po", categories=_ALL, subresources=_POD_SUBRESOURCES, has_generation=True),
    _info(known.SERVICES, "svc", categories=_ALL, subresources=(STATUS, "proxy")),
    _info(known.ENDPOINTS, "ep"),
    _info(known.CONFIG_MAPS, "cm"),
    _info(known.SECRETS),
    _info(known.SERVICE_ACCOUNTS, "sa", subresources=("token",)),
    _info(known.EVENTS, "ev"),
    _info(known.PERSISTENT_VOLUMES, "pv", subresources=(STATUS,)),
    _info(known.PERSISTENT_VOLUME_CLAIMS, "pvc", subresources=(STATUS,)),
    _info(known.DAEMON_SETS, "ds", categories=_ALL, subresources=(STATUS,), has_generation=True),
    _info(known.DEPLOYMENTS, "deploy", categories=_ALL, subresources=(STATUS, SCALE), has_generation=True),
    _info(known.REPLICA_SETS, "rs", categories=_ALL, subresources=(STATUS, SCALE), has_generation=True),
    _info(known.STATEFUL_SETS, "sts", categories=_ALL, subresources=(STATUS, SCALE), has_generation=True),
    _info(known.CONTROLLER_REVISIONS),
    _info(known.JOBS, categories=_ALL, subresources=(STATUS,), has_generation=True),
    _info(known.CRON_JOBS, "cj", categories=_ALL, subresources=(STATUS,), has_generation=True),
    _info(
        known.DISRUPTION_BUDGETS,
        "pdb",
        subresources=(STATUS,),
        has_generation=True,
        unconditional_update=False,
    ),
    _info(known.NETWORK_POLICIES, "netpol", has_generation=True),
    _info(known.INGRESSES, "ing", subresources=(STATUS,), has_generation=True),
    _info(known.ENDPOINT_SLICES, has_generation=True),
    _info(known.LEASES, unconditional_update=False),
    _info(known.PRIORITY_CLASSES, "pc", has_generation=True),
    _info(known.STORAGE_CLASSES, "sc"),
    _info(known.CSI_NODES),
    _info(known.ROLES),
    _info(known.ROLE_BINDINGS),
    _info(known.CLUSTER_ROLES),
    _info(known.CLUSTER_ROLE_BINDINGS),
    _info(
        known.CUSTOM_RESOURCE_DEFINITIONS,
        "crd",
        "crds",
        categories=("api-extensions",),
        subresources=(STATUS,),
        has_generation=True,
        unconditional_update=False,
    ),
)


class Registry:
    """Finds what is served by group, version and plural name."""

    def __init__(self, infos: tuple[ResourceInfo, ...] = BUILT_IN) -> None:
        self._infos: dict[tuple[str, str, str], ResourceInfo] = {}
        self._by_group_resource: dict[str, ResourceInfo] = {}
        for info in infos:
            self.add(info)

    def add(self, info: ResourceInfo) -> None:
        resource = info.resource
        self._infos[resource.group, resource.version, resource.plural] = info
        if resource.version == info.storage_version:
            self._by_group_resource[resource.group_resource] = info

    def remove(self, group: str, plural: str) -> None:
        """Stop serving a resource in all its versions."""
        for key in [key for key in self._infos if key[0] == group and key[2] == plural]:
            del self._infos[key]
        self._by_group_resource.pop(f"{plural}.{group}" if group else plural, None)

    def find(self, group: str, version: str, plural: str) -> ResourceInfo | None:
        return self._infos.get((group, version, plural))

    def of(self, resource: Resource) -> ResourceInfo | None:
        return self.find(resource.group, resource.version, resource.plural)

    def stored(self, group_resource: str) -> ResourceInfo | None:
        """The version of `pods`, `deployments.apps`, … in which objects are kept."""
        return self._by_group_resource.get(group_resource)

    def all(self) -> list[ResourceInfo]:
        return list(self._infos.values())

    def by_kind(self, api_version: str, kind: str) -> ResourceInfo | None:
        """The resource whose objects carry this `apiVersion` and `kind`."""
        return next(
            (
                info
                for info in self._infos.values()
                if info.resource.kind == kind and info.resource.api_version == api_version
            ),
            None,
        )


def custom_infos(definition: Object) -> list[ResourceInfo]:
    """The resources, one for each served version, that a CustomResourceDefinition brings."""
    spec = definition["spec"]
    names = spec["names"]
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    infos = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        resource = Resource(
            spec["group"], version["name"], names["plural"], names["kind"], spec["scope"] == "Namespaced"
        )
        infos.append(
            ResourceInfo(
                resource,
                singular=names.get("singular") or names["kind"].lower(),
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                subresources=tuple(name for name in (STATUS, SCALE) if subresources.get(name) is not None),
                has_generation=True,
                unconditional_update=False,
                storage_version=storage,
                custom=True,
                schema=(version.get("schema") or {}).get("openAPIV3Schema"),
                printer_columns=tuple(version.get("additionalPrinterColumns") or ()),
                scale_paths=subresources.get(SCALE),
            )
        )
    return infos
