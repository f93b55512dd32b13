"""eksctl's ClusterConfig: read as eksctl reads it, and refused by name where it says more than we know."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_cnimigrate.model.documents import DocumentError
from pytest_cnimigrate.providers.eksctl import load

SEED = Path(__file__).parents[2] / "scenarios" / "node_pool" / "eks-config.yaml"
HEAD = """\
apiVersion: eksctl.io/v1alpha5
kind: ClusterConfig
metadata:
  name: dc-migrate
  region: us-west-1
managedNodeGroups:
"""


@pytest.fixture
def config(tmp_path):
    """Loads a file with these node groups (or, with `whole`, with just this text)."""

    def read(text, *, whole=False):
        path = tmp_path / "eks.yaml"
        path.write_text(text if whole else HEAD + text)
        return load(path)

    return read


@pytest.fixture
def refusal(config, tmp_path):
    def read(text, **more):
        with pytest.raises(DocumentError) as caught:
            config(text, **more)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return read


def test_the_seeds_cluster():
    found = load(SEED)
    assert (found.metadata.name, found.metadata.region) == ("dc-migrate", "us-west-1")
    old, new = found.group("ng-1"), found.group("ng-cilium")
    # As `eksctl get nodegroup` printed them in the seed: min 3 max 3, and min 0 max 1.
    assert (old.minimum_size, old.desired, old.maximum_size) == (3, 3, 3)
    assert (new.minimum_size, new.desired, new.maximum_size) == (0, 0, 1)
    assert [str(taint) for taint in new.taints] == ["node.cilium.io/agent-not-ready=true:NoExecute"]
    assert found.group("ng-9") is None


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ("", (2, 2, 2)),
        ("  desiredCapacity: 5", (5, 5, 5)),
        ("  minSize: 3\n  maxSize: 6", (3, 3, 6)),
        ("  minSize: 1\n  maxSize: 6\n  desiredCapacity: 4", (1, 4, 6)),
        ("  desiredCapacity: 0", (0, 0, 1)),
    ],
)
def test_sizes_that_are_not_said_are_eksctls(config, sizes, expected):
    group = config(f"- name: a\n{sizes}\n").group("a")
    assert (group.minimum_size, group.desired, group.maximum_size) == expected


def test_defaults_of_a_group(config):
    group = config("- name: a\n").group("a")
    assert (group.instance_type, group.labels, group.taints) == ("m5.large", {}, ())


def test_a_taint_without_a_value(config):
    (taint,) = config("- name: a\n  taints:\n  - {key: gpu, effect: NoSchedule}\n").group("a").taints
    assert str(taint) == "gpu:NoSchedule"
    assert taint.as_object() == {"key": "gpu", "value": "", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (
            "- name: a\n  amiType: x\n",
            "eks.yaml:8: managedNodeGroups.0.amiType: is not a key that is known here",
        ),
        ("- name: a\n  instanceTypes: [m5.large]\n", "managedNodeGroups.0.instanceTypes: is not a key"),
        ("- instanceType: m5.large\n", "eks.yaml:7: managedNodeGroups.0.name: is missing"),
        ("- name: a\n- name: a\n", "eks.yaml:8: managedNodeGroups.1.name: there are two groups named a"),
        ("- name: a\n  desiredCapacity: three\n", "desiredCapacity: should be a valid integer, not 'three'"),
        (
            "- name: a\n  desiredCapacity: -1\n",
            "desiredCapacity: should be greater than or equal to 0, not -1",
        ),
        ("- name: a\n  maxSize: 0\n", "maxSize: should be greater than or equal to 1, not 0"),
        (
            "- name: a\n  maxSize: 2\n  desiredCapacity: 3\n",
            "eks.yaml:9: managedNodeGroups.0.desiredCapacity: 3 is not between minSize 3 and maxSize 2",
        ),
        ("- name: a\n  minSize: 2\n  desiredCapacity: 1\n", "1 is not between minSize 2 and maxSize 1"),
        (
            "- name: a\n  taints:\n  - {key: k, effect: NO_EXECUTE}\n",
            "taints.0.effect: should be 'NoSchedule'",
        ),
        (
            "- name: a\n  taints:\n  - {key: k, value: true, effect: NoExecute}\n",
            "value: should be a valid string, not true: put it",
        ),
        ("- name: a\n  taints: {k: v}\n", "taints: should be a list"),
    ],
)
def test_what_is_wrong_with_a_group_is_one_line(refusal, groups, words):
    assert words in refusal(groups)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "eksctl.io/v1alpha5",
            "eksctl.io/v1alpha4",
            "eks.yaml:1: apiVersion: should be 'eksctl.io/v1alpha5'",
        ),
        ("us-west-1", "california", "eks.yaml:5: metadata.region: should match pattern"),
        ("dc-migrate", "-x", "eks.yaml:4: metadata.name: should match pattern"),
        ("  region: us-west-1\n", "", "eks.yaml:3: metadata.region: is missing"),
        (
            "managedNodeGroups:\n- name: a\n",
            "managedNodeGroups: []\n",
            "eks.yaml:6: managedNodeGroups: should have",
        ),
        ("metadata:\n", "vpc: {}\nmetadata:\n", "eks.yaml:3: vpc: is not a key that is known here"),
        (
            "  region: us-west-1\n",
            "  region: us-west-1\n  version: 1.30\n",
            "metadata.version: should be a valid string, not 1.3: put it in quotes",
        ),
    ],
)
def test_what_is_wrong_with_the_cluster_is_one_line(refusal, old, new, words):
    assert words in refusal((HEAD + "- name: a\n").replace(old, new), whole=True)


@pytest.mark.parametrize(
    "region", ["us-west-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1", "us-isob-east-1"]
)
def test_regions_of_every_partition(config, region):
    assert config((HEAD + "- name: a\n").replace("us-west-1", region), whole=True).metadata.region == region
