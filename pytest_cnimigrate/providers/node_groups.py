"""Node groups as every provider offers them; on EKS these are managed node groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class CloudError(Exception):
    """The cloud refused or could not be reached; the text names the call, the object and the reason."""

    def __init__(self, text: str, *, retriable: bool = False) -> None:
        super().__init__(text)
        self.retriable = retriable
        """Whether the same call may well succeed a little later (throttled, unreachable, a 5xx)."""


class CloudBusyError(CloudError):
    """The cloud refused for the time being, because it is still at work on something else there."""


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """A node group as the cloud describes it."""

    name: str
    status: str
    """`ACTIVE`, `CREATING`, `UPDATING`, `DELETING`, `CREATE_FAILED`, `DELETE_FAILED`, `DEGRADED`."""
    minimum: int
    maximum: int
    desired: int
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()
    """In Kubernetes' spelling (`NoExecute`), as they will stand on new nodes."""
    instance_types: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()
    """Health issues, `Code: message`."""


@dataclass(frozen=True, slots=True)
class NodeGroupSpec:
    """What a new node group should be; the rest (role, subnets, image family) is taken from `like`."""

    name: str
    like: str
    """The existing group whose facts the new one takes over."""
    taints: tuple[dict[str, str], ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    instance_type: str = ""
    """Empty: as `like`."""
    maximum: int = 1


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a group could hold once it has been scaled up."""

    pods_per_node: int
    """The most pods that kubelet admits to one node, those on the host's network included."""
    addresses_per_node: int
    """IPv4 addresses that one node can take from its subnets."""
    free_addresses: dict[str, int] = field(default_factory=dict)
    """Free IPv4 addresses by subnet id."""
    milli_cpus_per_node: int = 0
    """Of the machine, in thousandths of a processor; kubelet keeps a part for itself."""
    memory_per_node: int = 0
    """Of the machine, in bytes; kubelet keeps a part for itself."""


class NodeGroupReader(Protocol):
    """Reading node groups. Every method raises `CloudError`."""

    def find(self, name: str) -> NodeGroup | None:
        """The group, or None when there is none of that name."""

    def selector(self, name: str) -> str:
        """The label selector of the group's nodes, e.g. `eks.amazonaws.com/nodegroup=ng-1`."""

    def capacity(self, name: str, instance_type: str) -> Capacity:
        """What nodes of this type can hold in the subnets of the group `name`."""

    def addon_status(self, addon: str) -> str | None:
        """The status of a managed add-on of the cluster, or None when it is not a managed add-on."""

    def server(self) -> str:
        """The URL of the API server that the cloud knows for this cluster."""

    def account(self) -> str:
        """The account (12 digits on AWS) that the credentials in use belong to."""


class NodeGroups(NodeGroupReader, Protocol):
    """Changing node groups; each call returns once the cloud has accepted it. Raises `CloudError`."""

    def create(self, spec: NodeGroupSpec) -> None:
        """Create the group with no nodes."""

    def scale(self, name: str, *, minimum: int, maximum: int, desired: int) -> None: ...

    def label(self, name: str, *, add: dict[str, str], remove: tuple[str, ...] = ()) -> None:
        """Change the labels that the group gives to its nodes."""

    def delete(self, name: str) -> None: ...
