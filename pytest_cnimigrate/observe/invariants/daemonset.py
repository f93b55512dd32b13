"""The old CNI's DaemonSet is changed by us alone."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_cnimigrate.observe.invariants.base import Invariant, Violation
from pytest_cnimigrate.observe.invariants.ledger import OwnChange
from pytest_cnimigrate.observe.record.differences import in_words
from pytest_cnimigrate.observe.record.lines import Transition
from pytest_cnimigrate.observe.record.state import State

_CHANGES = ("fence-daemonset", "delete-daemonset", "restart-rollout", "apply-object")


class OldCniChangedByOthers(Invariant):
    """The old CNI's DaemonSet is never changed, removed or made anew but by a change of this run.

    Judged is what it asks for (`spec`), not what has become of it (`status`).
    """

    name = "old-cni-changed-by-others"
    why = (
        "an update of the managed add-on takes the fence away (amazon-vpc-cni-k8s#2607, #2150), and "
        "cilium-cli gives aws-node a node selector that no node has"
    )
    kinds = ("DaemonSet",)

    def judge(self, transition: Transition, state: State) -> Iterator[Violation]:
        if transition.key != self.context.old_cni or transition.found_by == "start":
            return
        asked = [change for change in transition.changes if change.path.startswith("/spec")]
        if transition.operation == "changed" and not asked:
            return
        if self._is_ours(transition):
            return
        what = {
            "added": "has appeared",
            "removed": "was removed",
            "changed": f"was changed ({in_words(asked, transition.last)})",
        }[transition.operation]
        yield self.violation(
            transition, f"the old CNI's DaemonSet {transition.key} {what}, and not by a change of this run"
        )

    def _is_ours(self, transition: Transition) -> bool:
        return any(
            self._is_about_it(change) and change.can_have_caused(transition.earliest, transition.time)
            for change in self.ledger.changes(_CHANGES, until=transition.time)
        )

    def _is_about_it(self, change: OwnChange) -> bool:
        namespace, _, name = self.context.old_cni.partition("/")
        about = change.parameters
        if change.kind == "apply-object":
            manifest = about["manifest"]
            metadata = manifest["metadata"]
            return (manifest["kind"], metadata.get("namespace"), metadata["name"]) == (
                "DaemonSet",
                namespace,
                name,
            )
        return bool(
            about.get("workload", "DaemonSet") == "DaemonSet"
            and (about.get("namespace"), about.get("name")) == (namespace, name)
        )
