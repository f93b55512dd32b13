"""EKS add-ons: how one tells a self-managed CNI from a managed one, and what EKS does to a managed one."""

from __future__ import annotations

import json

import pytest
from aws_rig import CLUSTER, eventually

from pytest_cnimigrate.model.resources import DAEMON_SETS
from pytest_cnimigrate.simulator.client.api import ApiError

REGISTRY = "602401143452.dkr.ecr.us-west-1.amazonaws.com"
FENCE = {"key": "cni", "operator": "In", "values": ["aws-cni"]}
SEED_AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}
            ]
        }
    }
}


def aws_node():
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "aws-node", "namespace": "kube-system", "labels": {"k8s-app": "aws-node"}},
        "spec": {
            "selector": {"matchLabels": {"k8s-app": "aws-node"}},
            "template": {
                "metadata": {"labels": {"k8s-app": "aws-node"}},
                "spec": {
                    "affinity": SEED_AFFINITY,
                    "containers": [
                        {"name": "aws-node", "image": f"{REGISTRY}/amazon-k8s-cni:v1.18.1-eksbuild.1"},
                        {
                            "name": "aws-eks-nodeagent",
                            "image": f"{REGISTRY}/amazon/aws-network-policy-agent:v1.1.1",
                        },
                    ],
                },
            },
        },
    }


class World:
    """A cluster with the VPC CNI's DaemonSet in it."""

    def __init__(self, rig):
        self.rig = rig
        self.eks = rig.client("eks")
        rig.run(rig.api.create(DAEMON_SETS, aws_node(), "kube-system"))
        self.set_status(desired=3, ready=3)

    def set_status(self, *, desired, ready):
        status = {
            "desiredNumberScheduled": desired,
            "numberReady": ready,
            "currentNumberScheduled": desired,
            "numberMisscheduled": 0,
        }
        self.rig.run(
            self.rig.api.patch(
                DAEMON_SETS, "aws-node", {"status": status}, "kube-system", kind="merge", subresource="status"
            )
        )

    def template(self):
        daemon_set = self.rig.run(self.rig.api.get(DAEMON_SETS, "aws-node", "kube-system"))
        return daemon_set["spec"]["template"]

    def expressions(self):
        terms = self.template()["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"]
        return terms[0]["matchExpressions"]

    def fence(self):
        """What a migration does to keep the old CNI off new nodes."""
        path = (
            "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution"
            "/nodeSelectorTerms/0/matchExpressions/-"
        )
        patch = [{"op": "add", "path": path, "value": FENCE}]
        self.rig.run(self.rig.api.patch(DAEMON_SETS, "aws-node", patch, "kube-system", kind="json"))

    def set_env(self, name, value):
        env = [{"name": name, "value": value}]
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "aws-node", "env": env}]}}}}
        self.rig.run(self.rig.api.patch(DAEMON_SETS, "aws-node", patch, "kube-system", kind="strategic"))

    def add_on(self):
        return self.eks.describe_addon(clusterName=CLUSTER, addonName="vpc-cni")["addon"]

    def settled(self):
        return eventually(self.add_on, lambda one: one["status"] not in ("CREATING", "UPDATING", "DELETING"))

    def create(self, **more):
        self.eks.create_addon(clusterName=CLUSTER, addonName="vpc-cni", **more)
        return self.settled()

    def update(self, **more):
        started = self.eks.update_addon(clusterName=CLUSTER, addonName="vpc-cni", **more)["update"]
        return eventually(
            lambda: self.eks.describe_update(name=CLUSTER, addonName="vpc-cni", updateId=started["id"])[
                "update"
            ],
            lambda one: one["status"] != "InProgress",
        )


@pytest.fixture
def world(cluster):
    return World(cluster)


@pytest.fixture
def managed(make_rig):
    """A cluster whose VPC CNI is a managed add-on from the start."""
    rig = make_rig(managed_add_ons=("vpc-cni",))
    world = World(rig)
    rig.call(rig.cloud.seed_cluster, CLUSTER)
    return world


def test_a_self_managed_cni_is_no_add_on(world):
    with pytest.raises(world.eks.exceptions.ResourceNotFoundException, match="No addon: vpc-cni found"):
        world.add_on()
    assert world.eks.list_addons(clusterName=CLUSTER)["addons"] == []


def test_a_cluster_can_have_the_cni_managed_from_the_start(managed):
    assert managed.add_on()["status"] == "ACTIVE"
    assert managed.eks.list_addons(clusterName=CLUSTER)["addons"] == ["vpc-cni"]
    assert managed.template() == aws_node()["spec"]["template"] | {"spec": managed.template()["spec"]}
    assert len(managed.expressions()) == 1


def test_taking_over_a_changed_cni_is_a_conflict_unless_told_to_overwrite(world):
    world.fence()
    add_on = world.create()
    assert add_on["status"] == "CREATE_FAILED"
    (issue,) = add_on["health"]["issues"]
    assert issue["code"] == "ConfigurationConflict"
    assert "DaemonSet.apps aws-node - .spec.template.spec.affinity" in issue["message"]
    assert FENCE in world.expressions()


def test_taking_over_with_overwrite_writes_the_manifest_of_eks(world):
    world.fence()
    assert world.create(resolveConflicts="OVERWRITE")["status"] == "ACTIVE"
    assert FENCE not in world.expressions()
    images = [container["image"].rpartition("/")[2] for container in world.template()["spec"]["containers"]]
    assert images == ["amazon-k8s-cni:v1.19.2-eksbuild.1", "aws-network-policy-agent:v1.1.1"]


@pytest.mark.parametrize(
    ("mode", "status", "fenced"),
    [("NONE", "Failed", True), ("PRESERVE", "Successful", True), ("OVERWRITE", "Successful", False)],
)
def test_an_update_after_the_fence_depends_on_how_conflicts_are_resolved(managed, mode, status, fenced):
    managed.fence()
    ended = managed.update(addonVersion="v1.19.5-eksbuild.1", resolveConflicts=mode)
    assert ended["status"] == status
    assert (FENCE in managed.expressions()) is fenced
    image = managed.template()["spec"]["containers"][0]["image"]
    assert image.endswith(":v1.19.5-eksbuild.1") is (status == "Successful")
    if status == "Failed":
        assert ended["errors"][0]["errorCode"] == "ConfigurationConflict"
        assert managed.add_on()["status"] == "UPDATE_FAILED"
        assert managed.add_on()["addonVersion"] == "v1.19.2-eksbuild.1"


def test_the_fence_can_be_given_to_eks_as_configuration(world):
    affinity = json.loads(json.dumps(SEED_AFFINITY))
    terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    terms[0]["matchExpressions"].append(FENCE)
    schema = json.loads(
        world.eks.describe_addon_configuration(addonName="vpc-cni", addonVersion="v1.19.2-eksbuild.1")[
            "configurationSchema"
        ]
    )
    assert "affinity" in schema["definitions"]["vpc-cni"]["properties"]
    world.create(resolveConflicts="OVERWRITE")
    text = json.dumps({"affinity": affinity, "env": {"WARM_ENI_TARGET": "1"}})
    assert world.update(configurationValues=text)["status"] == "Successful"
    assert FENCE in world.expressions()
    assert world.template()["spec"]["containers"][0]["env"] == [{"name": "WARM_ENI_TARGET", "value": "1"}]
    assert world.add_on()["configurationValues"] == text


def test_a_setting_that_somebody_else_has_made_is_a_conflict_too(world):
    world.create(resolveConflicts="OVERWRITE")
    world.set_env("WARM_ENI_TARGET", "0")
    refused = world.update(configurationValues=json.dumps({"env": {"WARM_ENI_TARGET": "1"}}))
    assert refused["status"] == "Failed"
    assert ".spec.template.env" in refused["errors"][0]["errorMessage"]
    other = world.update(configurationValues=json.dumps({"env": {"WARM_IP_TARGET": "5"}}))
    assert other["status"] == "Successful"


def test_configuration_may_be_yaml(world):
    world.create(resolveConflicts="OVERWRITE")
    assert world.update(configurationValues="podLabels:\n  team: net\n")["status"] == "Successful"
    assert world.template()["metadata"]["labels"]["team"] == "net"


@pytest.mark.parametrize("text", ['{"nodeSelectr": {}}', "[1]", "a: : b"])
def test_configuration_that_the_schema_does_not_have_is_refused(world, text):
    with pytest.raises(world.eks.exceptions.InvalidParameterException, match="Json schema validation failed"):
        world.eks.create_addon(clusterName=CLUSTER, addonName="vpc-cni", configurationValues=text)


def test_an_add_on_without_pods_is_degraded(managed):
    managed.set_status(desired=0, ready=0)
    add_on = managed.add_on()
    assert add_on["status"] == "DEGRADED"
    assert add_on["health"]["issues"][0]["code"] == "InsufficientNumberOfReplicas"


def test_deleting_with_preserve_leaves_the_daemon_set(managed):
    managed.eks.delete_addon(clusterName=CLUSTER, addonName="vpc-cni", preserve=True)
    _until_gone(managed)
    assert managed.template()


def test_deleting_without_preserve_leaves_the_cluster_without_a_cni(managed):
    managed.eks.delete_addon(clusterName=CLUSTER, addonName="vpc-cni")
    _until_gone(managed)
    with pytest.raises(ApiError):
        managed.template()
    # EKS has the manifest, so the way back is to install the add-on again.
    managed.create()
    assert managed.template()["spec"]["containers"][0]["name"] == "aws-node"


def _until_gone(world):
    eventually(lambda: world.eks.list_addons(clusterName=CLUSTER)["addons"], lambda names: not names)


def test_eks_can_take_the_fence_back_by_itself(managed):
    managed.fence()
    assert FENCE in managed.expressions()
    managed.rig.faults.activate("add-on-reverts-changes")
    eventually(managed.expressions, lambda expressions: FENCE not in expressions)


def test_versions_of_add_ons_are_offered_for_the_served_kubernetes(world):
    (add_on,) = world.eks.describe_addon_versions(addonName="vpc-cni", kubernetesVersion="1.32")["addons"]
    default = [
        one["addonVersion"] for one in add_on["addonVersions"] if one["compatibilities"][0]["defaultVersion"]
    ]
    assert default == ["v1.19.2-eksbuild.1"]
    assert world.eks.describe_addon_versions(kubernetesVersion="1.20")["addons"] == []


def test_add_ons_and_versions_that_eks_does_not_have_are_refused(world):
    create = world.eks.create_addon
    refused = world.eks.exceptions.InvalidParameterException
    with pytest.raises(refused, match="Addon flannel specified is not supported"):
        create(clusterName=CLUSTER, addonName="flannel")
    with pytest.raises(refused, match="Addon version specified is not supported"):
        create(clusterName=CLUSTER, addonName="vpc-cni", addonVersion="v0.1")
    world.create(resolveConflicts="OVERWRITE")
    with pytest.raises(world.eks.exceptions.ResourceInUseException, match="already exists"):
        create(clusterName=CLUSTER, addonName="vpc-cni")
