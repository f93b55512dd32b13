"""scenario.yaml: what it says is understood, and whatever is wrong is one line with file, line and field."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_cnimigrate.run.scenario import Scenario, ScenarioError, load_scenario, parse_duration

NODE_POOL = Path(__file__).parents[2] / "scenarios" / "node_pool"
FILES = ("scenario.yaml", "eks-config.yaml", "cilium-values.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the node-pool scenario that may be spoilt."""
    for name in FILES:
        shutil.copy(NODE_POOL / name, tmp_path / name)
    shutil.copytree(NODE_POOL / "manifests", tmp_path / "manifests")
    return tmp_path


@pytest.fixture
def edit(folder: Path) -> Callable[..., Path]:
    """Replaces a text that stands exactly once in one of the scenario's files."""

    def replace(old: str, new: str, file: str = "scenario.yaml") -> Path:
        path = folder / file
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return folder / "scenario.yaml"

    return replace


def refusal(path: Path, *overrides: str) -> str:
    """The one line with which a scenario is refused, without the folder."""
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text.replace(f"{path.parent}/", "")


def line_of(path: Path, text: str) -> int:
    return next(
        number for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1) if text in line
    )


def test_the_node_pool_scenario_is_understood(folder: Path) -> None:
    scenario = load_scenario(folder / "scenario.yaml")
    assert scenario.cluster_name == "dc-migrate"
    assert (scenario.old_group.name, scenario.new_group.name) == ("ng-1", "ng-cilium")
    assert str(scenario.taint) == "node.cilium.io/agent-not-ready=true:NoExecute"
    assert scenario.taint.as_object()["effect"] == "NoExecute"
    assert scenario.other_taints == ()
    assert scenario.old_cni.daemonset.namespace == "kube-system"
    assert scenario.old_cni.daemonset.name == "aws-node"
    assert scenario.old_cni.fence.labels == {"cni": "aws-cni"}
    assert scenario.old_cni.fence.selector == "cni=aws-cni"
    assert (scenario.timeouts.rollout, scenario.timeouts.api) == (600.0, 60.0)
    assert scenario.network_policies.hold == ("shop/ledger-ingress",)
    assert scenario.phases[0] == "preflight"
    assert scenario.file(scenario.cilium.values) == folder / "cilium-values.yaml"


def test_what_is_left_out_has_a_default(edit: Callable[..., Path]) -> None:
    scenario = load_scenario(edit("drain:\n  nodes_at_once: 1\n", ""))
    assert scenario.drain.nodes_at_once == 1
    assert not scenario.drain.delete_emptydir_data


# --- durations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h", 3600), ("0.5s", 0.5), ("1h0m1s", 3601)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value", ["10", 10, 1.5, "", "m", "10 m", "1m1h", "-5s", "500ms", "1d", None, True, "0s", "0h0m"]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="should be"):
        parse_duration(value)


# --- what is refused ---------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "scenario.yaml") == "scenario.yaml: no such file"


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").mkdir()
    assert refusal(tmp_path / "scenario.yaml") == "scenario.yaml: cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "scenario.yaml:1: is empty"),
        (b"# only a comment\n", "scenario.yaml:1: is empty"),
        (b"- a\n- b\n", "scenario.yaml:1: should be a mapping of keys to values"),
        (b"just words\n", "scenario.yaml:1: should be a mapping of keys to values"),
        (b"a: b\nc: [d\n", "scenario.yaml:3: not valid YAML: while parsing a flow sequence"),
        (b"a: 1\nb:\n\t- c\n", "scenario.yaml:3: not valid YAML: while scanning for the next token"),
        (b"a: b\n---\nc: d\n", "scenario.yaml:2: not valid YAML: expected a single document"),
        (b"a: b\nc: \xff\n", "scenario.yaml:2: cannot be read: it is not UTF-8"),
        (b"a: b\nc: \x00\n", "scenario.yaml:2: not valid YAML: special characters are not allowed"),
        (b"a: &x [*x]\n", "scenario.yaml:1: not valid YAML: it contains itself"),
        (b"a: 2026-13-45\n", "scenario.yaml:1: not valid YAML: month must be in 1..12"),
        (
            b"a: !!python/object:os.system x\n",
            "scenario.yaml:1: not valid YAML: could not determine a constructor",
        ),
    ],
)
def test_what_is_not_one_document_of_yaml(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "scenario.yaml").write_bytes(content)
    assert words in refusal(tmp_path / "scenario.yaml")


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("apiVersion: cnimigrate/v1", "apiVersion: cnimigrate/v2", "apiVersion", "should be 'cnimigrate/v1'"),
        ("kind: Scenario", "kind: ClusterConfig", "kind", "should be 'Scenario', not 'ClusterConfig'"),
        ("  size: 3", "  size: many", "new_nodes.size", "should be a valid integer, not 'many'"),
        ("  size: 3", "  size: yes", "new_nodes.size", "should be a valid integer, not true"),
        ("  size: 3", "  size: 0", "new_nodes.size", "greater than or equal to 1, not 0"),
        ("  size: 3", "  size: 451", "new_nodes.size", "less than or equal to 450, not 451"),
        ("  size: 3", "  sise: 3", "new_nodes.sise", "is not a key that is known here (and 1 more)"),
        ("rollout: 10m", "rollout: 10", "timeouts.rollout", "should be a duration with its unit"),
        ("rollout: 10m", "rollout: 0s", "timeouts.rollout", "should be longer than nothing"),
        ("version: 1.18.4", "version: 1.18", "cilium.version", "put it in quotes"),
        ("version: 1.18.4", "version: v1.18.4", "cilium.version", "should match pattern"),
        ("value: aws-cni", "value: true", "old_cni.fence.value", "not true: put it in quotes"),
        ("value: aws-cni", "value: a b", "old_cni.fence.value", "should match pattern"),
        (
            "daemonset: kube-system/aws-node",
            "daemonset: aws-node",
            "old_cni.daemonset",
            "should be namespace/name",
        ),
        (
            "pod_selector: k8s-app=aws-node",
            "pod_selector: k8s-app in",
            "old_cni.pod_selector",
            "a label selector",
        ),
        ("pod_selector: k8s-app=aws-node", "pod_selector: ''", "old_cni.pod_selector", "selects every pod"),
        ("- shop/ledger-ingress", "- ledger-ingress", "network_policies.hold.0", "should be namespace/name"),
        ("- shift-probe", "- Shift probe", "phases.7", "should match pattern"),
        ("speed: ", "speed: fast #", "simulator.speed", "should be a valid number, not 'fast'"),
        ("speed: ", "speed: .inf #", "simulator.speed", "less than or equal to 1000"),
        (
            "node_group: ng-1",
            "node_group: ng-7",
            "old_cni.node_group",
            "has no group ng-7; it has: ng-1, ng-cilium",
        ),
        (
            "values: cilium-values.yaml",
            "values: nothing.yaml",
            "cilium.values",
            "there is no file nothing.yaml",
        ),
        ("eksctl: eks-config.yaml", "eksctl: manifests", "cluster.eksctl", "there is no file manifests"),
        ("- manifests/goldpinger-ds.yaml", "- ds.yaml", "goldpinger.manifests.1", "there is no file ds.yaml"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_line_and_field(
    edit: Callable[..., Path], old: str, new: str, field: str, words: str
) -> None:
    path = edit(old, new)
    number = line_of(path, new.strip())
    text = refusal(path)
    assert text.startswith(f"scenario.yaml:{number}: {field}: ")
    assert words in text


def test_a_missing_key_is_told_at_its_parent(edit: Callable[..., Path]) -> None:
    path = edit("  node_group: ng-cilium\n", "")
    assert refusal(path) == f"scenario.yaml:{line_of(path, 'new_nodes:')}: new_nodes.node_group: is missing"


def test_a_missing_part_is_told_at_the_top(edit: Callable[..., Path]) -> None:
    path = edit("title: Move a live EKS cluster", "# Move a live EKS cluster")
    assert refusal(path) == "scenario.yaml:1: title: is missing"


def test_a_misspelt_key_is_told_where_it_stands_and_not_as_missing(edit: Callable[..., Path]) -> None:
    path = edit("new_nodes:\n", "new_node:\n")
    number = line_of(path, "new_node:")
    assert refusal(path) == f"scenario.yaml:{number}: new_node: is not a key that is known here (and 1 more)"


def test_a_phase_that_is_listed_twice(edit: Callable[..., Path]) -> None:
    path = edit("- shift-probe", "- baseline # again")
    assert refusal(path) == f"scenario.yaml:{line_of(path, 'again')}: phases.7: baseline is listed twice"


def test_a_key_that_is_given_twice(edit: Callable[..., Path]) -> None:
    path = edit("  size: 3\n", "  size: 3\n  size: 5\n")
    assert refusal(path) == f"scenario.yaml:{line_of(path, 'size: 5')}: new_nodes.size: given twice"


def test_a_part_that_is_no_mapping(edit: Callable[..., Path]) -> None:
    path = edit("drain:\n  nodes_at_once: 1\n", "drain: slowly\n")
    assert refusal(path).endswith("drain: should be a mapping of keys to values, not 'slowly'")


def test_old_and_new_nodes_in_one_group(edit: Callable[..., Path]) -> None:
    path = edit("node_group: ng-cilium", "node_group: ng-1")
    assert "new_nodes.node_group: old and new nodes cannot be the same group" in refusal(path)


@pytest.mark.parametrize("effect", ["PreferNoSchedule", None])
def test_a_new_group_whose_taint_would_not_keep_pods_off(
    edit: Callable[..., Path], effect: str | None
) -> None:
    if effect:
        path = edit("effect: NoExecute", f"effect: {effect}", "eks-config.yaml")
    else:
        path = edit("key: node.cilium.io/agent-not-ready", "key: dedicated", "eks-config.yaml")
    text = refusal(path)
    assert text.startswith(f"scenario.yaml:{line_of(path, 'node_group: ng-cilium')}: new_nodes.node_group: ")
    assert "no taint node.cilium.io/agent-not-ready with effect NoExecute or NoSchedule" in text


def test_taints_that_stay_for_good_are_told_from_the_one_that_cilium_takes_off(
    edit: Callable[..., Path],
) -> None:
    path = edit(
        "    effect: NoExecute\n",
        "    effect: NoExecute\n  - key: dedicated\n    value: shop\n    effect: NoSchedule\n",
        "eks-config.yaml",
    )
    scenario = load_scenario(path)
    assert scenario.taint.key == "node.cilium.io/agent-not-ready"
    assert [str(taint) for taint in scenario.other_taints] == ["dedicated=shop:NoSchedule"]


def test_a_mistake_in_the_eksctl_file_is_told_there(edit: Callable[..., Path]) -> None:
    path = edit("effect: NoExecute", "effect: NO_EXECUTE", "eks-config.yaml")
    number = line_of(path.parent / "eks-config.yaml", "NO_EXECUTE")
    assert refusal(path).startswith(
        f"eks-config.yaml:{number}: managedNodeGroups.1.taints.0.effect: should be"
    )


def test_values_that_are_no_yaml_are_told_before_anything_is_started(folder: Path) -> None:
    (folder / "cilium-values.yaml").write_text("cluster:\n  name: [a\n")
    assert refusal(folder / "scenario.yaml").startswith("cilium-values.yaml:3: not valid YAML")
    (folder / "cilium-values.yaml").write_text("- a\n")
    assert refusal(folder / "scenario.yaml").startswith("cilium-values.yaml:1: should be a mapping")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("---\n---\n", "manifests/goldpinger-ds.yaml:1: is empty"),
        ("kind: A\n---\nkind: [\n", "manifests/goldpinger-ds.yaml:4: not valid YAML"),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\napiVersion: v1\nmetadata: {name: b}\n",
            "manifests/goldpinger-ds.yaml: document 2 of 2: kind: is missing",
        ),
        ("just words\n", "document 1 of 1: apiVersion: is missing"),
        ("apiVersion: v1\nkind: Service\nmetadata: {}\n", "document 1 of 1: metadata.name: is missing"),
    ],
)
def test_manifests_that_hold_no_objects_are_told_before_anything_is_started(
    folder: Path, content: str, words: str
) -> None:
    (folder / "manifests" / "goldpinger-ds.yaml").write_text(content)
    assert words in refusal(folder / "scenario.yaml")


# --- --cni-set ---------------------------------------------------------------------------------------------


def load(folder: Path, *overrides: str) -> Scenario:
    return load_scenario(folder / "scenario.yaml", overrides)


def test_values_can_be_set_from_outside(folder: Path) -> None:
    scenario = load(folder, "new_nodes.size=5", "timeouts.drain=90s", "old_cni.fence.value=vpc")
    assert (scenario.new_nodes.size, scenario.timeouts.drain, scenario.old_cni.fence.value) == (
        5,
        90.0,
        "vpc",
    )


def test_values_can_be_set_where_the_file_says_nothing(folder: Path) -> None:
    account = load(folder, 'cluster.account="012345678901"').cluster.account
    assert account == "012345678901"
    faults = ("aws-throttling", "api-throttled")
    assert load(folder, "simulator.faults=[aws-throttling, api-throttled]").simulator.faults == faults


def test_a_fault_that_nobody_knows_is_refused(folder: Path) -> None:
    path = folder / "scenario.yaml"
    given = "simulator.faults=[aws-throttling, api-throtled]"
    assert refusal(path, given) == (
        f"--cni-set {given}: simulator.faults.1: no fault is named 'api-throtled'; "
        "did you mean api-throttled?"
    )
    assert "known are add-on-reverts-changes, api-throttled" in refusal(path, "simulator.faults=[weather]")


def test_the_last_of_two_settings_counts(folder: Path) -> None:
    assert load(folder, "new_nodes.size=5", "new_nodes.size=7").new_nodes.size == 7


def test_the_value_may_hold_an_equals_sign(folder: Path) -> None:
    assert load(folder, "old_cni.pod_selector=app=old").old_cni.pod_selector == "app=old"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("new_nodes.size", "--cni-set new_nodes.size: should be key=value, such as new_nodes.size=5"),
        ("=5", "--cni-set =5: should be key=value"),
        ("new_nodes..size=5", "should be key=value"),
        ("new_nodes.size=many", "--cni-set new_nodes.size=many: new_nodes.size: should be a valid integer"),
        (
            "new_nodes.size=",
            "--cni-set new_nodes.size=: new_nodes.size: should be a valid integer, not nothing",
        ),
        ("new_nodes.sise=3", "--cni-set new_nodes.sise=3: new_nodes.sise: is not a key that is known here"),
        ("no.such=1", "--cni-set no.such=1: no: is not a key that is known here"),
        ("title.a=b", "--cni-set title.a=b: title has no keys below it"),
        ("phases.0=a", "--cni-set phases.0=a: phases has no keys below it"),
        ("title=a: b: c", "--cni-set title=a: b: c: the value is not valid YAML; quote it"),
        ("title=2026-13-45", "the value is not valid YAML; quote it"),
        (
            "cluster.account=123456789012",
            "cluster.account: should be a valid string, not 123456789012: put it in",
        ),
        (
            "cilium.values=gone.yaml",
            "--cni-set cilium.values=gone.yaml: cilium.values: there is no file gone.yaml",
        ),
        ("old_cni.node_group=ng-7", "--cni-set old_cni.node_group=ng-7: old_cni.node_group: "),
    ],
)
def test_a_setting_that_is_wrong_is_named_as_it_was_given(folder: Path, override: str, words: str) -> None:
    assert words in refusal(folder / "scenario.yaml", override)


def test_a_setting_below_a_file_that_is_no_mapping_leaves_the_words_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text("- a\n")
    assert refusal(tmp_path / "scenario.yaml", "a.b=1") == (
        "scenario.yaml:1: should be a mapping of keys to values"
    )
