"""What rules have to know of a migration: which nodes are old and new, and who is whose CNI."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pytest_cnimigrate.model.objects import Object, labels_of, namespace_of
from pytest_cnimigrate.model.selectors import matches, parse_label_selector

CONTEXT_FILE = "context.json"
"""Beside the files of a record, so that it can be judged years later without its scenario."""

SHORTEST_PATIENCE = 1.0
"""Seconds. Kinds are watched one by one, and a busy machine hears of one a moment before the other, however
fast the embedded cluster's clock runs."""


class ContextError(Exception):
    """A record's context that cannot be used; the text is one line for the operator."""


@dataclass(frozen=True)
class Context:
    """A migration, as rules see it. Selectors are label selectors as kubectl takes them."""

    old_nodes: str
    """Selects the nodes of the old group."""
    new_nodes: str
    fence_key: str
    """The label that marks the nodes of the old CNI."""
    fence_value: str
    old_cni: str
    """`namespace/name` of the old CNI's DaemonSet."""
    old_cni_pods: str
    new_cni_namespace: str = "kube-system"
    new_cni_pods: str = "k8s-app=cilium"
    new_taint_key: str = "node.cilium.io/agent-not-ready"
    """Of the taint that nodes of the new group are born with."""
    batch: int = 1
    """How many nodes may be out of service at once."""
    old_group: str = ""
    """The cloud's name of the group; changes in the journal speak of it."""
    new_group: str = ""
    mesh_namespace: str = "default"
    mesh_daemonset: str = "goldpinger"
    mesh_deployment: str = "goldpinger"
    strategy: Literal["node-pool", "in-place"] = "node-pool"
    speed: float = 1.0
    """Of an embedded cluster's clock: what takes a minute elsewhere takes 60 s / speed."""

    def seconds(self, real: float) -> float:
        """How long to wait for something that may take `real` seconds on a real cluster."""
        return max(SHORTEST_PATIENCE, real / self.speed)

    def is_old(self, node: Object) -> bool:
        return matches(self._parsed["old_nodes"], labels_of(node))

    def is_new(self, node: Object) -> bool:
        return matches(self._parsed["new_nodes"], labels_of(node))

    def is_fenced(self, node: Object) -> bool:
        """Whether the node carries the label of the old CNI."""
        return labels_of(node).get(self.fence_key) == self.fence_value

    def is_old_agent(self, pod: Object) -> bool:
        """Whether it is a pod of the old CNI."""
        namespace = self.old_cni.partition("/")[0]
        return namespace_of(pod) == namespace and matches(self._parsed["old_cni_pods"], labels_of(pod))

    def is_new_agent(self, pod: Object) -> bool:
        """Whether it is an agent of the new CNI."""
        return namespace_of(pod) == self.new_cni_namespace and matches(
            self._parsed["new_cni_pods"], labels_of(pod)
        )

    def write(self, folder: Path) -> None:
        """Leave it in a record's folder."""
        text = json.dumps(asdict(self), indent=2) + "\n"
        (folder / CONTEXT_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Context:
        """What `write` left in a record's folder. Raises `ContextError`."""
        path = folder / CONTEXT_FILE
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ContextError(f"{path} is missing: which nodes were old and new is not known") from None
        except (OSError, ValueError) as error:
            raise ContextError(f"{path} cannot be read: {error}") from error
        unknown = found.keys() - {one.name for one in fields(cls)}
        if unknown:
            raise ContextError(f"{path}: {sorted(unknown)[0]} is not known to this version")
        try:
            return cls(**found)
        except TypeError as error:
            raise ContextError(f"{path} is not complete: {error}") from None

    @cached_property
    def _parsed(self) -> dict[str, Any]:
        names = ("old_nodes", "new_nodes", "old_cni_pods", "new_cni_pods")
        return {name: parse_label_selector(getattr(self, name)) for name in names}
