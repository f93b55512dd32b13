"""Node groups through boto3: against the embedded cluster's AWS endpoint, and against moto's."""

from __future__ import annotations

import dataclasses

import boto3
import pytest
from embedded_rig import NAME, REGION, eventually

from pytest_cnimigrate.observe.waiting import Ready, wait_for
from pytest_cnimigrate.providers.aws import EksNodeGroups
from pytest_cnimigrate.providers.node_groups import CloudError, NodeGroupSpec

TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}


def settle(groups, name):
    """The group as soon as nothing is under way."""
    busy = {"CREATING", "UPDATING"}
    return eventually(lambda: groups.find(name), lambda group: group.status not in busy)


def spec(name, **changes):
    fields = {"like": "ng-1", "taints": (TAINT,), "labels": {"a": "b"}, "maximum": 2}
    return NodeGroupSpec(name, **fields | changes)


def test_a_group_is_described_in_kubernetes_spelling(groups):
    group = groups.find("ng-1")
    assert (group.name, group.status) == ("ng-1", "ACTIVE")
    assert (group.minimum, group.maximum, group.desired) == (0, 3, 2)
    assert group.instance_types == ("m5.large",)
    assert group.subnets
    assert group.taints == group.issues == ()
    assert groups.selector("ng-1") == "eks.amazonaws.com/nodegroup=ng-1"


def test_a_group_that_is_not_there_is_none(groups):
    assert groups.find("ng-9") is None


def test_a_group_is_created_empty_and_like_another_one(groups, name):
    groups.create(spec(name))
    group = settle(groups, name)
    like = groups.find("ng-1")
    assert (group.minimum, group.maximum, group.desired) == (0, 2, 0)
    assert (group.taints, group.labels) == ((TAINT,), {"a": "b"})
    assert (group.subnets, group.instance_types) == (like.subnets, like.instance_types)
    groups.delete(name)
    eventually(lambda: groups.find(name), lambda found: found is None)


@pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute", "PreferNoSchedule"])
def test_every_effect_of_a_taint_survives_both_spellings(groups, name, effect):
    taint = {"key": "a", "value": "", "effect": effect}
    groups.create(spec(name, taints=(taint,)))
    assert settle(groups, name).taints == (taint,)


def test_another_instance_type_can_be_asked_for(groups, name):
    groups.create(spec(name, instance_type="m5.xlarge"))
    assert settle(groups, name).instance_types == ("m5.xlarge",)


def test_labels_are_added_changed_and_removed(groups, name):
    groups.create(spec(name))
    settle(groups, name)
    groups.label(name, add={"a": "c", "cni": "aws-cni"})
    assert settle(groups, name).labels == {"a": "c", "cni": "aws-cni"}
    groups.label(name, add={}, remove=("a",))
    assert settle(groups, name).labels == {"cni": "aws-cni"}


def test_a_group_is_scaled(groups, name):
    groups.create(spec(name))
    settle(groups, name)
    groups.scale(name, minimum=0, maximum=3, desired=1)
    group = settle(groups, name)
    assert (group.minimum, group.maximum, group.desired) == (0, 3, 1)


def test_the_account_and_the_api_server_are_known(groups, cluster):
    assert groups.account() == "123456789012"
    assert groups.server().startswith("https://")
    assert cluster.node_groups.server() == cluster.server


def test_a_cni_that_is_no_add_on_has_no_status(cluster):
    assert cluster.node_groups.addon_status("vpc-cni") is None


def test_a_managed_add_on_has_one(cluster):
    groups = cluster.node_groups
    groups._eks.create_addon(clusterName=NAME, addonName="kube-proxy", resolveConflicts="OVERWRITE")
    status = eventually(lambda: groups.addon_status("kube-proxy"), lambda found: found != "CREATING")
    assert status in {"ACTIVE", "DEGRADED"}  # the latter while it replaces its pods
    groups._eks.delete_addon(clusterName=NAME, addonName="kube-proxy", preserve=True)
    eventually(lambda: groups.addon_status("kube-proxy"), lambda found: found is None)


def test_what_is_not_aws_is_told_in_one_line(motos_groups):
    """Moto has no add-ons: it answers with a page of HTML."""
    with pytest.raises(CloudError) as caught:
        motos_groups.addon_status("vpc-cni")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("could not describe add-on vpc-cni: 404: ")


def test_what_new_nodes_can_hold(cluster):
    """EKS without prefix delegation: 3 interfaces of 10 addresses on an m5.large make 29 pods."""
    capacity = cluster.node_groups.capacity("ng-1", "m5.large")
    assert (capacity.pods_per_node, capacity.addresses_per_node) == (29, 30)
    assert (capacity.milli_cpus_per_node, capacity.memory_per_node) == (2000, 8 * 2**30)
    assert set(capacity.free_addresses) == set(cluster.node_groups.find("ng-1").subnets)
    assert all(free > 0 for free in capacity.free_addresses.values())


# --- what is taken over of an existing group ---------------------------------------------------------------


def test_tags_are_taken_over_but_those_that_belong_to_the_other_group(moto, motos_groups, name):
    """CreateNodegroup refuses tags under `aws:`, and eksctl takes its own for its group."""
    moto.create(
        f"{name}-like",
        instanceTypes=["m5.large"],
        tags={
            "team": "network",
            "aws:cloudformation:stack-name": "eksctl-x",
            "alpha.eksctl.io/cluster-name": NAME,
            "alpha.eksctl.io/nodegroup-name": "x",
        },
    )
    motos_groups.create(spec(name, like=f"{name}-like"))
    assert moto.describe(name)["tags"] == {"team": "network", "alpha.eksctl.io/cluster-name": NAME}


def test_disk_image_and_price_are_taken_over(moto, motos_groups, name):
    moto.create(
        f"{name}-like",
        instanceTypes=["m5.large"],
        diskSize=80,
        amiType="AL2023_x86_64_STANDARD",
        capacityType="SPOT",
    )
    motos_groups.create(spec(name, like=f"{name}-like"))
    made = moto.describe(name)
    assert (made["diskSize"], made["amiType"], made["capacityType"]) == (80, "AL2023_x86_64_STANDARD", "SPOT")
    assert made["nodeRole"] == moto.describe(f"{name}-like")["nodeRole"]


def test_a_launch_template_is_taken_over_and_what_belongs_to_it_is_not_said_again(moto, motos_groups, name):
    """Groups that eksctl made have one; a disk size beside it is refused by EKS."""
    template = moto.ec2.create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData={"InstanceType": "m5.large", "ImageId": "ami-12345678"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    moto.create(f"{name}-like", launchTemplate={"id": template, "version": "1"}, amiType="CUSTOM")
    asked = []
    events = motos_groups._eks.meta.events
    events.register(
        "provide-client-params.eks.CreateNodegroup", lambda params, **_: asked.append(params), "spy"
    )
    motos_groups.create(spec(name, like=f"{name}-like", instance_type="m5.xlarge"))
    events.unregister("provide-client-params.eks.CreateNodegroup", unique_id="spy")
    assert moto.describe(name)["launchTemplate"]["id"] == template
    assert asked[0]["launchTemplate"] == {"id": template, "version": "1"}
    assert not {"diskSize", "amiType"} & asked[0].keys()


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda groups: groups.scale("ng-9", minimum=0, maximum=1, desired=1),
            "could not scale node group ng-9 to 1: ",
        ),
        (lambda groups: groups.label("ng-9", add={"a": "b"}), "could not label node group ng-9: "),
        (lambda groups: groups.delete("ng-9"), "could not delete node group ng-9: "),
    ],
)
def test_a_refusal_says_what_was_asked_and_what_aws_answered(groups, call, words):
    with pytest.raises(CloudError) as caught:
        call(groups)
    assert str(caught.value).startswith(f"{words}ResourceNotFoundException: ")


def test_a_group_that_is_like_nobody_cannot_be_created(groups, name):
    with pytest.raises(
        CloudError, match=f"cluster {NAME} has no node group ng-9 to take role and subnets from"
    ):
        groups.create(spec(name, like="ng-9"))
    with pytest.raises(CloudError, match=f"cluster {NAME} has no node group ng-9"):
        groups.capacity("ng-9", "m5.large")


def test_a_group_that_is_busy_says_so(cluster, name):
    groups = cluster.node_groups
    groups.create(spec(name))
    settle(groups, name)
    groups.scale(name, minimum=0, maximum=2, desired=1)
    with pytest.raises(CloudError, match=f"could not label node group {name}: ResourceInUseException"):
        groups.label(name, add={"x": "y"})
    settle(groups, name)


def elsewhere(cluster_name, endpoint):
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=REGION)
    return EksNodeGroups(session, cluster_name, endpoint_url=endpoint)


def test_another_cluster_than_the_one_that_is_there_is_named(cluster):
    endpoint = cluster.node_groups._eks.meta.endpoint_url
    stranger = elsewhere("prod", endpoint)
    with pytest.raises(
        CloudError, match=r"could not describe cluster prod: ResourceNotFoundException: .*prod"
    ):
        stranger.server()
    stranger.close()


def test_nobody_at_the_endpoint_is_told_as_such(monkeypatch):
    from botocore.config import Config

    from pytest_cnimigrate.providers import aws

    monkeypatch.setattr(aws, "_CLIENT_CONFIG", Config(retries={"max_attempts": 1}))
    nobody = elsewhere(NAME, "http://127.0.0.1:9")
    with pytest.raises(
        CloudError, match="could not describe node group ng-1: Could not connect to the endpoint"
    ):
        nobody.find("ng-1")
    nobody.close()


def test_missing_credentials_are_told_as_such(monkeypatch, tmp_path):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    groups = EksNodeGroups(boto3.Session(region_name=REGION), NAME, endpoint_url="http://127.0.0.1:9")
    with pytest.raises(CloudError, match="could not ask STS who we are: Unable to locate credentials"):
        groups.account()
    groups.close()


def test_a_described_group_can_be_compared_and_not_changed(groups):
    assert groups.find("ng-1") == groups.find("ng-1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        groups.find("ng-1").desired = 7


def test_a_cloud_that_cannot_be_reached_may_be_asked_again_and_a_refusal_may_not(groups):
    session = boto3.Session("id", "secret", region_name=REGION)
    nowhere = EksNodeGroups(session, NAME, endpoint_url="http://127.0.0.1:1")
    with pytest.raises(CloudError, match="could not describe node group ng-1") as caught:
        nowhere.find("ng-1")
    assert caught.value.retriable
    nowhere.close()

    with pytest.raises(CloudError, match="could not delete node group ng-9") as caught:
        groups.delete("ng-9")
    assert not caught.value.retriable


def test_waiting_goes_on_while_the_cloud_throttles():
    answers = [CloudError("throttled", retriable=True), Ready("there")]

    def probe():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wait_for(probe, what="a group", timeout=5, interval=0.001) == "there"
    answers = [CloudError("forbidden")]
    with pytest.raises(CloudError, match="forbidden"):
        wait_for(probe, what="a group", timeout=5, interval=0.001)
