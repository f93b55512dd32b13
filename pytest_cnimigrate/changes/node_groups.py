"""Node groups: creating, labelling, scaling and deleting them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from pytest_cnimigrate.observe.waiting import NotYet, Ready, WaitTimeout, wait_for
from pytest_cnimigrate.providers.cluster import Cluster
from pytest_cnimigrate.providers.node_groups import CloudBusyError, NodeGroup, NodeGroupSpec
from pytest_cnimigrate.run.change import Captured, Change, ChangeError, Worksite

_UNUSABLE = frozenset({"DELETING", "CREATE_FAILED", "DELETE_FAILED"})
"""States in which a node group is as good as not there, yet takes the name."""

_BUSY = frozenset({"CREATING", "UPDATING"})

BUSY_SECONDS = 1200.0
"""How long another update of the group, ours or somebody else's, is waited for."""


def _existing(cluster: Cluster, name: str) -> NodeGroup:
    group = cluster.node_groups.find(name)
    if group is None:
        raise ChangeError(
            f"cluster {cluster.name} has no node group {name}; check the names in scenario.yaml"
        )
    return group


def _once_idle(site: Worksite, name: str, act: Callable[[], None]) -> None:
    """Do something to a node group as soon as nothing else is under way there.

    EKS takes one update of a group at a time and refuses others until it is over (ResourceInUseException):
    https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateNodegroupConfig.html
    """

    def attempt() -> Ready[None] | NotYet:
        group = site.cluster.node_groups.find(name)
        if group is not None and group.status in _BUSY:
            return NotYet(f"node group {name} is {group.status}")
        try:
            act()
        except CloudBusyError as error:
            return NotYet(str(error))
        return Ready(None)

    try:
        wait_for(
            attempt,
            what=f"node group {name} to take another change",
            timeout=BUSY_SECONDS,
            interval=site.cluster.poll_interval,
            on_progress=site.note,
        )
    except WaitTimeout as error:
        raise ChangeError(str(error)) from None


def _delete(site: Worksite, name: str) -> None:
    groups = site.cluster.node_groups

    def act() -> None:
        # An attempt before this one may have been accepted although its answer was lost.
        group = groups.find(name)
        if group is not None and group.status != "DELETING":
            groups.delete(name)

    _once_idle(site, name, act)


@dataclass(frozen=True, slots=True)
class CreateNodeGroup(Change):
    """Create a node group without nodes, fenced by its taint from the first moment."""

    kind: ClassVar[str] = "create-nodegroup"

    name: str
    like: str
    instance_type: str
    maximum: int
    taints: list[dict[str, str]]
    labels: dict[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        taints = ", ".join(f"{taint['key']}={taint['value']}:{taint['effect']}" for taint in self.taints)
        return f"create node group {self.name} with 0 nodes, like {self.like}, tainted {taints}"

    def holds(self, cluster: Cluster) -> bool:
        group = cluster.node_groups.find(self.name)
        return group is not None and group.status not in _UNUSABLE

    def refusal(self, cluster: Cluster) -> str:
        group = cluster.node_groups.find(self.name)
        if group is None:
            return ""
        issues = f" ({'; '.join(group.issues)})" if group.issues else ""
        return f"it is there already and {group.status}{issues}; delete it, and wait until it has gone"

    def apply(self, site: Worksite) -> None:
        site.cluster.node_groups.create(
            NodeGroupSpec(
                name=self.name,
                like=self.like,
                taints=tuple(self.taints),
                labels=self.labels,
                instance_type=self.instance_type,
                maximum=self.maximum,
            )
        )

    def undo(self, site: Worksite, captured: Captured) -> None:
        group = site.cluster.node_groups.find(self.name)
        if group is None or group.status == "DELETING":
            return
        if group.desired:
            raise ChangeError(
                f"node group {self.name} still wants {group.desired} nodes, on which pods may run; "
                "move them away and scale it to 0 first"
            )
        _delete(site, self.name)


@dataclass(frozen=True, slots=True)
class LabelNodeGroup(Change):
    """Set labels of a node group, so that nodes which replace others carry them from the start."""

    kind: ClassVar[str] = "label-nodegroup"

    name: str
    labels: dict[str, str]

    def describe(self) -> str:
        return f"label node group {self.name} with {', '.join(f'{k}={v}' for k, v in self.labels.items())}"

    def holds(self, cluster: Cluster) -> bool:
        present = _existing(cluster, self.name).labels
        return all(present.get(key) == value for key, value in self.labels.items())

    def capture(self, cluster: Cluster) -> Captured:
        present = _existing(cluster, self.name).labels
        return {"labels": {key: present.get(key) for key in self.labels}}

    def apply(self, site: Worksite) -> None:
        _once_idle(site, self.name, lambda: site.cluster.node_groups.label(self.name, add=self.labels))

    def undo(self, site: Worksite, captured: Captured) -> None:
        before: dict[str, str | None] = captured["labels"]
        add = {key: value for key, value in before.items() if value is not None}
        remove = tuple(key for key, value in before.items() if value is None)
        _once_idle(site, self.name, lambda: site.cluster.node_groups.label(self.name, add=add, remove=remove))


@dataclass(frozen=True, slots=True)
class ScaleNodeGroup(Change):
    """Set the desired number of nodes, raising the group's maximum (or lowering its minimum) if needed."""

    kind: ClassVar[str] = "scale-nodegroup"

    name: str
    desired: int

    def describe(self) -> str:
        return f"scale node group {self.name} to {self.desired} nodes"

    def holds(self, cluster: Cluster) -> bool:
        return _existing(cluster, self.name).desired == self.desired

    def capture(self, cluster: Cluster) -> Captured:
        group = _existing(cluster, self.name)
        return {"minimum": group.minimum, "maximum": group.maximum, "desired": group.desired}

    def apply(self, site: Worksite) -> None:
        group = _existing(site.cluster, self.name)
        minimum, maximum = min(group.minimum, self.desired), max(group.maximum, self.desired)
        self._scale(site, minimum=minimum, maximum=maximum, desired=self.desired)

    def undo(self, site: Worksite, captured: Captured) -> None:
        self._scale(site, **captured)

    def _scale(self, site: Worksite, *, minimum: int, maximum: int, desired: int) -> None:
        groups = site.cluster.node_groups
        _once_idle(
            site,
            self.name,
            lambda: groups.scale(self.name, minimum=minimum, maximum=maximum, desired=desired),
        )


@dataclass(frozen=True, slots=True)
class DeleteNodeGroup(Change):
    """Delete a node group. There is no way back."""

    kind: ClassVar[str] = "delete-nodegroup"

    name: str

    def describe(self) -> str:
        return f"delete node group {self.name}"

    def holds(self, cluster: Cluster) -> bool:
        group = cluster.node_groups.find(self.name)
        return group is None or group.status == "DELETING"

    def refusal(self, cluster: Cluster) -> str:
        desired = _existing(cluster, self.name).desired
        return f"it still wants {desired} nodes; scale it to 0 first" if desired else ""

    def apply(self, site: Worksite) -> None:
        _delete(site, self.name)

    def undo(self, site: Worksite, captured: Captured) -> None:
        raise ChangeError(f"a deleted node group cannot be brought back; create {self.name} anew")
