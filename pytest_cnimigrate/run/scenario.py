"""What a scenario says: `scenario.yaml`, validated.

A scenario is a folder: `scenario.yaml`, the manifests and Helm values it names, and one test module a
phase. The model refuses what it does not know, and every error is one line that names file, line and field.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
)

from pytest_cnimigrate.model import documents
from pytest_cnimigrate.model.selectors import SelectorError, parse_label_selector
from pytest_cnimigrate.providers.eksctl import ClusterConfig, ManagedNodeGroup, Taint
from pytest_cnimigrate.providers.eksctl import load as load_eksctl


class ScenarioError(Exception):
    """A scenario that cannot be used; the text is one line for the operator."""


_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_UNIT_SECONDS = (3600.0, 60.0, 1.0)


def parse_duration(value: object) -> float:
    """Seconds in a duration like `90s`, `10m` or `1h30m`.

    Raises `ValueError` for anything else, a bare number included (`10` could be minutes), and for 0.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError(f"should be a duration with its unit, such as 90s, 10m or 1h30m, not {value!r}")
    seconds = sum(
        float(amount) * unit for amount, unit in zip(match.groups(), _UNIT_SECONDS, strict=True) if amount
    )
    if not seconds:
        raise ValueError(f"should be longer than nothing, not {value!r}")
    return seconds


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds; written `90s`, `10m`, `1h30m`."""

# Strict: to YAML `yes` is true, which would otherwise be taken for 1.
Whole = Annotated[int, Field(strict=True)]

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NamespacedName(str):
    """`namespace/name`."""

    __slots__ = ()

    @property
    def namespace(self) -> str:
        return self.partition("/")[0]

    @property
    def name(self) -> str:
        return self.partition("/")[2]


def _namespaced_name(value: object) -> NamespacedName:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9-]+/[a-z0-9.-]+", value):
        raise ValueError(f"should be namespace/name, such as kube-system/aws-node, not {value!r}")
    return NamespacedName(value)


ObjectName = Annotated[NamespacedName, PlainValidator(_namespaced_name)]


def _label_selector(text: str) -> str:
    try:
        requirements = parse_label_selector(text)
    except SelectorError as error:
        raise ValueError(f"should be a label selector, such as k8s-app=aws-node: {error}") from None
    if not requirements:
        raise ValueError(
            "should be a label selector, such as k8s-app=aws-node; an empty one selects every pod"
        )
    return text


Selector = Annotated[str, AfterValidator(_label_selector)]
"""A label selector as kubectl takes it; never empty."""

LabelKey = Annotated[
    str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
]
LabelValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]


class ClusterPart(_Part):
    """Which cluster this scenario is about; nothing else is ever touched."""

    eksctl: Path
    """The eksctl `ClusterConfig` that names the cluster, its region and its node groups."""
    account: Annotated[str, Field(pattern=r"^\d{12}$")] | None = None
    """The AWS account it must be in; checked in preflight when given."""


class Fence(_Part):
    """The node label that marks nodes of the old CNI."""

    key: LabelKey
    value: LabelValue

    @property
    def labels(self) -> dict[str, str]:
        return {self.key: self.value}

    @property
    def selector(self) -> str:
        return f"{self.key}={self.value}"


class OldCni(_Part):
    """The CNI that is there and will go."""

    daemonset: ObjectName
    pod_selector: Selector
    addon: str
    """The EKS add-on that may manage it."""
    node_group: str
    """The group of the nodes that it serves."""
    fence: Fence


class NewNodes(_Part):
    """The node group that Cilium will serve."""

    node_group: str
    size: Whole = Field(ge=1, le=450)
    """Desired nodes after the scale-up. EKS allows 450 nodes in a managed group."""
    taint_key: LabelKey = "node.cilium.io/agent-not-ready"
    """The key of the group's taint that Cilium's operator takes off a node once its agent is ready."""


class CiliumPart(_Part):
    """Which Cilium is installed, and how."""

    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    chart: str
    """The chart's reference: a repository's chart, an OCI address, a folder or an archive."""
    release: DnsLabel = "cilium"
    namespace: DnsLabel = "kube-system"
    values: Path


class GoldpingerPart(_Part):
    """The probe: goldpinger as a DaemonSet and as a Deployment, as in the seed."""

    namespace: DnsLabel = "default"
    manifests: Annotated[tuple[Path, ...], Field(min_length=1)]
    daemonset: str = "goldpinger"
    deployment: str = "goldpinger"
    selector: Selector = "app.kubernetes.io/name=goldpinger"
    port: Whole = Field(default=8080, ge=1, le=65535)


class NetworkPolicies(_Part):
    """NetworkPolicies that are taken away before Cilium comes and put back once everything has moved."""

    hold: tuple[ObjectName, ...] = ()


class DrainPart(_Part):
    """How nodes are emptied."""

    nodes_at_once: Whole = Field(default=1, ge=1)
    delete_emptydir_data: bool = False
    """Whether pods with emptyDir volumes may be evicted; their data goes with them."""


class Timeouts(_Part):
    """The longest that each kind of wait may take, in seconds."""

    api: Duration = 60.0
    rollout: Duration = 600.0
    node_group: Duration = 1200.0
    nodes: Duration = 900.0
    mesh: Duration = 300.0
    drain: Duration = 1800.0


class SimulatorPart(_Part):
    """How the embedded cluster plays this scenario; other providers do not read it."""

    speed: float = Field(default=40.0, gt=0, le=1000, strict=True)
    """Simulated seconds in a second: a node that boots in 40 s is there after 1 s at speed 40."""
    faults: tuple[str, ...] = ()
    """Named faults to switch on as soon as the cluster is up."""
    port: int = Field(default=0, ge=0, le=65535)
    """Of its API server; 0 takes a free one."""


class Scenario(_Part):
    """One migration, as `scenario.yaml` states it."""

    api_version: Literal["cnimigrate/v1"] = Field(alias="apiVersion")
    kind: Literal["Scenario"]
    name: DnsLabel
    title: str
    description: str = ""
    phases: Annotated[tuple[DnsLabel, ...], Field(min_length=1)]
    cluster: ClusterPart
    old_cni: OldCni
    new_nodes: NewNodes
    cilium: CiliumPart
    goldpinger: GoldpingerPart
    network_policies: NetworkPolicies = NetworkPolicies()
    drain: DrainPart = DrainPart()
    timeouts: Timeouts = Timeouts()
    simulator: SimulatorPart = SimulatorPart()

    _path: Path = PrivateAttr(default=Path("scenario.yaml"))
    _eksctl: ClusterConfig = PrivateAttr()

    @property
    def path(self) -> Path:
        """The scenario file."""
        return self._path

    @property
    def eksctl(self) -> ClusterConfig:
        """The cluster and its node groups."""
        return self._eksctl

    @property
    def cluster_name(self) -> str:
        return self._eksctl.metadata.name

    @property
    def old_group(self) -> ManagedNodeGroup:
        return self._group(self.old_cni.node_group)

    @property
    def new_group(self) -> ManagedNodeGroup:
        return self._group(self.new_nodes.node_group)

    @property
    def taint(self) -> Taint:
        """The taint that keeps pods off a new node until its Cilium agent is ready."""
        return next(taint for taint in self.new_group.taints if _keeps_pods_off(taint, self.new_nodes))

    @property
    def other_taints(self) -> tuple[Taint, ...]:
        """What the new group's nodes are tainted with for good."""
        return tuple(taint for taint in self.new_group.taints if taint.key != self.new_nodes.taint_key)

    def _group(self, name: str) -> ManagedNodeGroup:
        group = self._eksctl.group(name)
        if group is None:  # load_scenario has made sure of it
            raise ScenarioError(f"{self.cluster.eksctl} has no group {name}")
        return group

    @property
    def folder(self) -> Path:
        return self._path.parent

    def file(self, relative: Path) -> Path:
        """A file that the scenario names, as a path that can be opened."""
        return self.folder / relative


def load_scenario(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read and validate a scenario, with all the files that it names.

    `overrides` are `dotted.key=value` texts (`--cni-set`); a value is read as YAML. Raises `ScenarioError`
    with one line for the first thing that is wrong: unreadable file, unknown key, wrong type, missing file.
    """
    try:
        document = documents.load(path)
        for override in overrides:
            _apply_override(document, override)
        scenario = documents.validate(document, Scenario)
        scenario._path = path
        _check_phases(scenario, document)
        _check_faults(scenario, document)
        _check_files(scenario, document)
        scenario._eksctl = load_eksctl(scenario.file(scenario.cluster.eksctl))
        _check_groups(scenario, document)
    except documents.DocumentError as error:
        raise ScenarioError(str(error)) from None
    return scenario


def _apply_override(document: documents.Document, override: str) -> None:
    """Put the value of a `key=value` text into the document, noting where it came from."""
    text, separator, value = override.partition("=")
    keys = tuple(text.strip().split("."))
    if not separator or not all(keys):
        raise ScenarioError(f"--cni-set {override}: should be key=value, such as new_nodes.size=5")
    place = document.value
    for depth, key in enumerate(keys[:-1], start=1):
        if not isinstance(place, dict):
            break
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
        if not isinstance(place, dict):
            raise ScenarioError(f"--cni-set {override}: {'.'.join(keys[:depth])} has no keys below it")
    if not isinstance(place, dict):
        return
    try:
        place[keys[-1]] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise ScenarioError(f"--cni-set {override}: the value is not valid YAML; quote it") from None
    document.origins[keys] = f"--cni-set {override}"


def _check_phases(scenario: Scenario, document: documents.Document) -> None:
    for index, phase in enumerate(scenario.phases):
        if phase in scenario.phases[:index]:
            raise document.error(("phases", index), f"{phase} is listed twice")


def _check_faults(scenario: Scenario, document: documents.Document) -> None:
    if not scenario.simulator.faults:
        return
    # Only now: it brings the whole simulator, which knows the faults where they can happen.
    from pytest_cnimigrate.providers.sim_faults import known_faults

    known = known_faults()
    for index, fault in enumerate(scenario.simulator.faults):
        if fault not in known:
            close = difflib.get_close_matches(fault, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "known are " + ", ".join(known)
            raise document.error(("simulator", "faults", index), f"no fault is named {fault!r}; {hint}")


def _check_files(scenario: Scenario, document: documents.Document) -> None:
    named: list[tuple[documents.Location, Path]] = [
        (("cluster", "eksctl"), scenario.cluster.eksctl),
        (("cilium", "values"), scenario.cilium.values),
    ]
    manifests: list[tuple[documents.Location, Path]] = [
        (("goldpinger", "manifests", index), manifest)
        for index, manifest in enumerate(scenario.goldpinger.manifests)
    ]
    for location, relative in (*named, *manifests):
        if not scenario.file(relative).is_file():
            raise document.error(location, f"there is no file {scenario.file(relative)}")
    documents.load_mapping(scenario.file(scenario.cilium.values))
    for _, relative in manifests:
        documents.load_manifests(scenario.file(relative))


def _check_groups(scenario: Scenario, document: documents.Document) -> None:
    config = scenario.cluster.eksctl
    groups = ", ".join(group.name for group in scenario.eksctl.node_groups)
    for part, name in (
        ("old_cni", scenario.old_cni.node_group),
        ("new_nodes", scenario.new_nodes.node_group),
    ):
        if scenario.eksctl.group(name) is None:
            raise document.error((part, "node_group"), f"{config} has no group {name}; it has: {groups}")
    if scenario.old_cni.node_group == scenario.new_nodes.node_group:
        raise document.error(("new_nodes", "node_group"), "old and new nodes cannot be the same group")
    if not any(_keeps_pods_off(taint, scenario.new_nodes) for taint in scenario.new_group.taints):
        raise document.error(
            ("new_nodes", "node_group"),
            f"{config} gives {scenario.new_nodes.node_group} no taint {scenario.new_nodes.taint_key} "
            "with effect NoExecute or NoSchedule: pods would start there before Cilium is ready",
        )


def _keeps_pods_off(taint: Taint, new_nodes: NewNodes) -> bool:
    """Whether it is the taint that Cilium's operator takes off, with an effect that is more than a wish."""
    return taint.key == new_nodes.taint_key and taint.effect != "PreferNoSchedule"
