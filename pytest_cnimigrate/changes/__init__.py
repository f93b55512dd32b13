"""Everything that mutates a cluster or a cloud account, one kind of `Change` a file."""

from pytest_cnimigrate.changes.cordon import CordonNode
from pytest_cnimigrate.changes.daemonset import DeleteDaemonSet, FenceDaemonSet
from pytest_cnimigrate.changes.drain import DrainNodes
from pytest_cnimigrate.changes.helm_release import UpgradeRelease
from pytest_cnimigrate.changes.labels import LabelNode
from pytest_cnimigrate.changes.manifests import ApplyObject
from pytest_cnimigrate.changes.network_policies import HoldNetworkPolicy
from pytest_cnimigrate.changes.node_groups import (
    CreateNodeGroup,
    DeleteNodeGroup,
    LabelNodeGroup,
    ScaleNodeGroup,
)
from pytest_cnimigrate.changes.rollout import RestartRollout

__all__ = [
    "ApplyObject",
    "CordonNode",
    "CreateNodeGroup",
    "DeleteDaemonSet",
    "DeleteNodeGroup",
    "DrainNodes",
    "FenceDaemonSet",
    "HoldNetworkPolicy",
    "LabelNode",
    "LabelNodeGroup",
    "RestartRollout",
    "ScaleNodeGroup",
    "UpgradeRelease",
]
