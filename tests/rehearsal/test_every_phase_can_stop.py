"""Break something in each phase: the run stops exactly there, says why, and runs nothing after it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_cnimigrate.run.journal import read_journal

ROOT = Path(__file__).parents[2]
PHASES = [
    "preflight",
    "cluster",
    "baseline",
    "fence-old-cni",
    "new-nodes",
    "install-cilium",
    "verify-cilium",
    "shift-probe",
    "move-workloads",
    "network-policies",
    "remove-old-cni",
    "remove-old-nodes",
    "final",
]


@dataclass(frozen=True)
class Rehearsal:
    """How a run of the scenario ended, by its JUnit file."""

    code: int
    output: str
    cases: list[ET.Element]
    collected: int
    """How many tests pytest had found."""

    def phase_of(self, case: ET.Element) -> str:
        return next(p.get("value", "") for p in case.iter("property") if p.get("name") == "phase")

    @property
    def failed(self) -> dict[tuple[str, str], str]:
        """(Phase, test) -> its failure."""
        return {
            (self.phase_of(case), case.get("name", "")): failure.get("message", "")
            for case in self.cases
            for failure in (*case.iter("failure"), *case.iter("error"))
        }

    @property
    def not_run(self) -> list[ET.Element]:
        return [
            case
            for case in self.cases
            if any(prop.get("name") == "not_run_after" for prop in case.iter("property"))
        ]


def rehearse(out: Path, *, sabotage: str = "", before: str = "", settings: tuple[str, ...] = ()) -> Rehearsal:
    overrides = [
        "simulator.speed=60",
        "timeouts.api=3s",
        "timeouts.rollout=8s",
        "timeouts.mesh=5s",
        "timeouts.nodes=15s",
        "timeouts.drain=5s",
        *settings,
    ]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "scenarios/node_pool",
        "--cni-out",
        str(out),
        "-p",
        "no:cacheprovider",
    ]
    for override in overrides:
        command += ["--cni-set", override]
    environment = dict(os.environ)
    if sabotage:
        command += ["-p", "saboteur"]
        environment |= {
            "PYTHONPATH": str(Path(__file__).parent),
            "CNIMIGRATE_TEST_SABOTAGE": sabotage,
            "CNIMIGRATE_TEST_BEFORE": before,
        }
    # The variables of an outer xdist worker must not make this run think that it is one.
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
    tree = ET.parse(out / "junit.xml")  # noqa: S314  # our own file
    collected = re.search(r"collected (\d+) items", done.stdout)
    assert collected, done.stdout
    cases = list(tree.getroot().iter("testcase"))
    return Rehearsal(done.returncode, done.stdout + done.stderr, cases, int(collected[1]))


@pytest.mark.parametrize(
    ("phase", "sabotage", "before", "failing", "words"),
    [
        pytest.param(
            "preflight",
            "a_pod_without_a_controller",
            "test_every_pod_can_be_created_anew",
            "test_every_pod_can_be_created_anew",
            "shop/by-hand",
            id="preflight: a pod that nothing would create anew",
        ),
        pytest.param(
            "preflight",
            "a_second_cni",
            "test_there_is_no_second_cni",
            "test_there_is_no_second_cni",
            "Calico",
            id="preflight: a second CNI",
        ),
        pytest.param(
            "preflight",
            "a_policy_that_nobody_holds",
            "test_every_network_policy_will_be_held",
            "test_every_network_policy_will_be_held",
            "shop/deny-all",
            id="preflight: a NetworkPolicy that nobody holds",
        ),
        pytest.param(
            "preflight",
            "a_daemonset_that_is_pinned_to_the_old_group",
            "test_everything_may_run_on_the_new_nodes",
            "test_everything_may_run_on_the_new_nodes",
            "DaemonSet shop/logs would find no place on the new nodes",
            id="preflight: a workload that is pinned to the old nodes",
        ),
        pytest.param(
            "preflight",
            "a_budget_that_allows_nothing",
            "test_every_budget_allows_a_disruption",
            "test_every_budget_allows_a_disruption",
            "shop/storefront",
            id="preflight: a budget that allows nothing",
        ),
        pytest.param(
            "cluster",
            "the_group_loses_its_label",
            "test_replacement_nodes_will_be_fenced",
            "test_replacement_nodes_will_be_fenced",
            "cni=aws-cni",
            id="cluster: replacement nodes would not be fenced",
        ),
        pytest.param(
            "baseline",
            "the_probe_may_not_list_pods",
            "test_everybody_reaches_everybody",
            "test_everybody_reaches_everybody",
            "pairs",
            id="baseline: the probe sees no peers",
        ),
        pytest.param(
            "baseline",
            "a_daemonset_that_does_not_fit",
            "test_every_workload_is_complete",
            "test_every_workload_is_complete",
            "DaemonSet shop/heavy: 0 of 3 pods available",
            id="baseline: a DaemonSet lacks its pods",
        ),
        pytest.param(
            "fence-old-cni",
            "a_node_loses_the_fence_label",
            "test_the_old_cni_is_rolled_out_on_the_old_nodes",
            "test_the_old_cni_is_rolled_out_on_the_old_nodes",
            "wants 2 pods instead of 3",
            id="fence: a node has lost the label",
        ),
        pytest.param(
            "new-nodes",
            "a_new_node_loses_its_taint",
            "test_the_new_nodes_are_tainted",
            "test_the_new_nodes_are_tainted",
            "node.cilium.io/agent-not-ready=true:NoExecute",
            id="new nodes: one is not tainted",
        ),
        pytest.param(
            "install-cilium",
            "the_cilium_cli_patches_the_old_cni",
            "test_the_old_cni_was_left_alone",
            "test_the_old_cni_was_left_alone",
            "kube-system/aws-node was changed",
            id="install: somebody has touched the old CNI",
        ),
        pytest.param(
            "verify-cilium",
            "fault:cross-cni-old-to-new-blocked",
            "test_everybody_reaches_everybody_across_both_cnis",
            "test_everybody_reaches_everybody_across_both_cnis",
            "old→new",
            id="verify: one direction is blocked",
        ),
        pytest.param(
            "shift-probe",
            "a_node_is_uncordoned",
            "test_the_old_nodes_are_cordoned",
            "test_the_old_nodes_are_cordoned",
            "is not cordoned",
            id="shift: a node is not cordoned",
        ),
        pytest.param(
            "move-workloads",
            "a_budget_that_allows_nothing",
            "test_drain_the_old_nodes",
            "test_drain_the_old_nodes",
            "storefront needs 4 healthy pods",
            id="move: a budget blocks the drain",
        ),
        pytest.param(
            "move-workloads",
            "a_pod_that_does_not_fit",
            "test_no_pod_is_left_waiting",
            "test_no_pod_is_left_waiting",
            "pod shop/kafka-0 has not started",
            id="move: a pod of an operator finds no node",
        ),
        pytest.param(
            "network-policies",
            "the_policy_is_deleted_again",
            "test_the_network_policies_are_back",
            "test_the_network_policies_are_back",
            "shop/ledger-ingress",
            id="policies: one is not back",
        ),
        pytest.param(
            "remove-old-cni",
            "a_pod_comes_back_to_an_old_node",
            "test_delete_the_old_cni",
            "test_delete_the_old_cni",
            "shop/late",
            id="remove CNI: a pod still depends on it",
        ),
        pytest.param(
            "remove-old-nodes",
            "the_watcher_is_switched_off_again",
            "test_the_watcher_is_on",
            "test_the_watcher_is_on",
            "unmanaged-pod-watcher-interval",
            id="remove nodes: the watcher is off",
        ),
        pytest.param(
            "final",
            "a_label_of_ours_is_left",
            "test_no_cordon_label_or_taint_is_left",
            "test_no_cordon_label_or_taint_is_left",
            "label cni=aws-cni",
            id="final: a label is left behind",
        ),
    ],
)
def test_a_run_stops_exactly_where_something_is_broken(tmp_path, phase, sabotage, before, failing, words):
    run = rehearse(tmp_path / "out", sabotage=sabotage, before=before)

    assert run.code == 1, run.output
    assert (phase, failing) in run.failed, run.output
    assert words in run.failed[phase, failing]
    assert {failed_in for failed_in, _ in run.failed} == {phase}
    # Whole phases after it, and nothing before it, were not run.
    later = PHASES[PHASES.index(phase) + 1 :]
    skipped = {run.phase_of(case) for case in run.not_run}
    assert skipped - {phase} == set(later)
    assert all(case in run.not_run for case in run.cases if run.phase_of(case) in later)
    assert len(run.cases) == run.collected
    assert f"in phase {PHASES.index(phase) + 1} of {len(PHASES)}" in run.output


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_migration_goes_through(tmp_path, workers):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "scenarios/node_pool",
        "--cni-out",
        str(tmp_path / "out"),
        *workers,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout
    records = read_journal(tmp_path / "out" / "node-pool" / "journal.jsonl")
    assert {record["outcome"] for record in records if record["event"] == "test-finished"} == {"passed"}
    assert "notrun" not in done.stdout
    assert (tmp_path / "out" / "index.html").is_file()
