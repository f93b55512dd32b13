"""Managed node groups: what a migration by a second node group needs of EKS."""

from __future__ import annotations

import botocore.exceptions
import pytest
from aws_rig import CLUSTER, FAST_WAITER, eventually

from pytest_cnimigrate.model.resources import DISRUPTION_BUDGETS, NODES, PODS

TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NO_EXECUTE"}
NODE_TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}


@pytest.fixture
def eks(cluster):
    return cluster.client("eks")


@pytest.fixture
def describe(eks):
    return lambda name="ng-1": eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName=name)["nodegroup"]


@pytest.fixture
def update(eks):
    """Updates a group and waits until EKS says how it ended."""

    def run(name="ng-1", **change):
        started = eks.update_nodegroup_config(clusterName=CLUSTER, nodegroupName=name, **change)["update"]
        assert started["status"] == "InProgress"
        return eventually(
            lambda: eks.describe_update(name=CLUSTER, nodegroupName=name, updateId=started["id"])["update"],
            lambda one: one["status"] != "InProgress",
        )

    return run


def taints_of(node):
    return [taint for taint in node["spec"].get("taints", []) if "kubernetes.io" not in taint["key"]]


def test_a_group_is_creating_until_its_nodes_are_ready(cluster, eks, describe, group_request):
    cluster.fleet.ready = False
    assert eks.create_nodegroup(**group_request(desired=1))["nodegroup"]["status"] == "CREATING"
    (node,) = eventually(cluster.nodes, len)
    assert describe()["status"] == "CREATING"
    cluster.run(cluster.fleet.set_ready(node["metadata"]["name"], True))
    eventually(describe, lambda group: group["status"] == "ACTIVE")


def test_a_group_without_nodes_is_active_at_once(create_group):
    group = create_group(desired=0)
    assert group["scalingConfig"] == {"minSize": 0, "maxSize": 3, "desiredSize": 0}
    assert group["resources"]["autoScalingGroups"][0]["name"].startswith("eks-ng-1-")


def test_nodes_are_named_labelled_and_tainted_as_the_group_says(cluster, create_group):
    create_group("ng-cilium", labels={"cni": "cilium"}, taints=[TAINT], desired=2)
    nodes = cluster.nodes()
    assert len(nodes) == 2
    for node in nodes:
        assert node["metadata"]["name"].startswith("ip-192-168-")
        assert node["metadata"]["name"].endswith(".us-west-1.compute.internal")
        assert node["metadata"]["labels"]["eks.amazonaws.com/nodegroup"] == "ng-cilium"
        assert node["metadata"]["labels"]["cni"] == "cilium"
        assert taints_of(node) == [NODE_TAINT]
    booted = list(cluster.fleet.booted.values())
    assert {one.max_pods for one in booted} == {29}
    assert {one.availability_zone for one in booted} == {"us-west-1a", "us-west-1b"}


def test_scaling_up_changes_desired_size_and_brings_nodes(cluster, create_group, update, describe):
    create_group(desired=0)
    ended = update(scalingConfig={"desiredSize": 3})
    assert ended["status"] == "Successful"
    assert ended["params"] == [{"type": "DesiredSize", "value": "3"}]
    assert describe()["scalingConfig"]["desiredSize"] == 3
    eventually(cluster.nodes, lambda nodes: len(nodes) == 3)


def test_scaling_down_removes_nodes_and_instances(cluster, create_group, update):
    create_group(desired=3)
    update(scalingConfig={"desiredSize": 1})
    eventually(cluster.nodes, lambda nodes: len(nodes) == 1)
    running = cluster.client("ec2").describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["running"]}]
    )["Reservations"]
    assert len(running) == 1


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"desiredSize": 9}, "desired capacity 9 can't be greater than max size 3"),
        ({"minSize": 3}, "Minimum capacity 3 can't be greater than desired size 2"),
        ({"maxSize": 1}, "desired capacity 2 can't be greater than max size 1"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused_in_the_words_of_eks(
    eks, create_group, describe, sizes, message
):
    before = create_group(desired=2)["scalingConfig"]
    with pytest.raises(eks.exceptions.InvalidParameterException, match=message):
        eks.update_nodegroup_config(clusterName=CLUSTER, nodegroupName="ng-1", scalingConfig=sizes)
    assert describe()["scalingConfig"] == before
    assert describe()["status"] == "ACTIVE"


def test_a_group_under_update_refuses_another_update(make_rig):
    rig = make_rig(speed=1)  # The first update stays in progress for the test's duration.
    rig.call(rig.cloud.seed_cluster, CLUSTER)
    eks = rig.client("eks")
    subnets = [subnet.subnet_id for subnet in rig.cloud.vpc.private_subnets()]
    eks.create_nodegroup(
        clusterName=CLUSTER,
        nodegroupName="ng-1",
        subnets=subnets,
        nodeRole="arn:aws:iam::1:role/b",
        scalingConfig={"minSize": 0, "maxSize": 1, "desiredSize": 0},
    )
    group = {"clusterName": CLUSTER, "nodegroupName": "ng-1"}
    eventually(lambda: eks.describe_nodegroup(**group)["nodegroup"]["status"], lambda one: one == "ACTIVE")
    eks.update_nodegroup_config(**group, labels={"addOrUpdateLabels": {"a": "b"}})
    assert eks.describe_nodegroup(**group)["nodegroup"]["status"] == "UPDATING"
    with pytest.raises(eks.exceptions.ResourceInUseException, match="not in Active State"):
        eks.update_nodegroup_config(**group, labels={"addOrUpdateLabels": {"a": "c"}})


def test_a_label_on_the_group_reaches_live_nodes_and_those_to_come(cluster, create_group, update):
    create_group(desired=1, labels={"old": "yes"})
    update(labels={"addOrUpdateLabels": {"cni": "aws-cni"}, "removeLabels": ["old"]})
    (node,) = cluster.nodes()
    assert node["metadata"]["labels"]["cni"] == "aws-cni"
    assert "old" not in node["metadata"]["labels"]
    update(scalingConfig={"desiredSize": 2})
    nodes = eventually(cluster.nodes, lambda nodes: len(nodes) == 2)
    assert [one["metadata"]["labels"].get("cni") for one in nodes] == ["aws-cni", "aws-cni"]


def test_a_taint_on_the_group_reaches_live_nodes_and_those_to_come(cluster, create_group, update, describe):
    create_group(desired=1)
    update(taints={"addOrUpdateTaints": [TAINT]})
    assert describe()["taints"] == [TAINT]
    assert taints_of(cluster.nodes()[0]) == [NODE_TAINT]
    update(scalingConfig={"desiredSize": 2})
    nodes = eventually(cluster.nodes, lambda nodes: len(nodes) == 2)
    assert [taints_of(node) for node in nodes] == [[NODE_TAINT], [NODE_TAINT]]
    update(taints={"removeTaints": [TAINT]})
    assert "taints" not in describe()
    assert [taints_of(node) for node in cluster.nodes()] == [[], []]


def test_a_taint_that_cilium_removed_stays_away_while_the_group_keeps_it(
    cluster, create_group, update, describe
):
    create_group(desired=1, taints=[TAINT])
    (node,) = cluster.nodes()
    cluster.run(cluster.fleet.set_ready(node["metadata"]["name"], True))
    patch = {"spec": {"taints": None}}
    cluster.run(cluster.api.patch(NODES, node["metadata"]["name"], patch))
    update(labels={"addOrUpdateLabels": {"a": "b"}})
    update(scalingConfig={"maxSize": 5})
    assert taints_of(cluster.nodes()[0]) == []
    assert describe()["taints"] == [TAINT]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taints": {"addOrUpdateTaints": [{"key": "a b", "effect": "NO_SCHEDULE"}]}}, "Taint key a b"),
        ({"taints": {"addOrUpdateTaints": [{"key": "a", "effect": "NoSchedule"}]}}, "NoSchedule"),
        ({"labels": {"addOrUpdateLabels": {"kubernetes.io/os": "x"}}}, "reserved prefixes"),
    ],
)
def test_labels_and_taints_that_kubernetes_could_not_carry_are_refused(eks, create_group, change, message):
    create_group(desired=0)
    with pytest.raises(eks.exceptions.InvalidParameterException, match=message):
        eks.update_nodegroup_config(clusterName=CLUSTER, nodegroupName="ng-1", **change)


def test_a_deleted_group_takes_its_nodes_along(cluster, eks, create_group):
    create_group(desired=2)
    group = {"clusterName": CLUSTER, "nodegroupName": "ng-1"}
    assert eks.delete_nodegroup(**group)["nodegroup"]["status"] == "DELETING"
    eks.get_waiter("nodegroup_deleted").wait(**group, WaiterConfig=FAST_WAITER)
    assert cluster.nodes() == []
    assert eks.list_nodegroups(clusterName=CLUSTER)["nodegroups"] == []
    assert cluster.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    with pytest.raises(eks.exceptions.ResourceNotFoundException, match="No node group found for name: ng-1"):
        eks.describe_nodegroup(**group)


def test_a_group_is_deleted_only_when_its_nodes_have_left_the_cluster(make_rig, group_parameters):
    rig = make_rig(speed=200)
    rig.call(rig.cloud.seed_cluster, CLUSTER)
    rig.fleet.leaves = False
    eks = rig.client("eks")
    eks.create_nodegroup(**group_parameters(rig))
    (node,) = eventually(rig.nodes, len)
    eks.delete_nodegroup(clusterName=CLUSTER, nodegroupName="ng-1")
    groups = rig.client("autoscaling")
    eventually(
        lambda: groups.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"],
        lambda instances: not instances,
    )
    assert eks.list_nodegroups(clusterName=CLUSTER)["nodegroups"] == ["ng-1"]
    rig.run(rig.api.delete(NODES, node["metadata"]["name"]))
    eventually(lambda: eks.list_nodegroups(clusterName=CLUSTER)["nodegroups"], lambda names: not names)


def test_groups_are_listed_page_by_page(eks, create_group):
    for name in ("ng-a", "ng-b", "ng-c"):
        create_group(name, desired=0)
    pages = eks.get_paginator("list_nodegroups").paginate(
        clusterName=CLUSTER, PaginationConfig={"PageSize": 2}
    )
    assert [page["nodegroups"] for page in pages] == [["ng-a", "ng-b"], ["ng-c"]]


def test_a_group_without_a_cni_ends_as_create_failed(make_rig, group_parameters):
    rig = make_rig(node_creation_deadline=600)
    rig.call(rig.cloud.seed_cluster, CLUSTER)
    rig.fleet.ready = False
    eks = rig.client("eks")
    eks.create_nodegroup(**group_parameters(rig))
    with pytest.raises(botocore.exceptions.WaiterError, match="CREATE_FAILED"):
        eks.get_waiter("nodegroup_active").wait(
            clusterName=CLUSTER, nodegroupName="ng-1", WaiterConfig=FAST_WAITER
        )
    (issue,) = eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName="ng-1")["nodegroup"]["health"][
        "issues"
    ]
    assert issue["code"] == "NodeCreationFailure"
    assert issue["message"] == "Unhealthy nodes in the kubernetes cluster"
    assert issue["resourceIds"] == list(rig.fleet.booted)


def test_instances_that_never_join_are_told_apart_from_unhealthy_nodes(make_rig, group_parameters):
    rig = make_rig(node_creation_deadline=600)
    rig.call(rig.cloud.seed_cluster, CLUSTER)
    rig.fleet.registers = False
    eks = rig.client("eks")
    eks.create_nodegroup(**group_parameters(rig))
    group = eventually(
        lambda: eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName="ng-1")["nodegroup"],
        lambda group: group["status"] != "CREATING",
    )
    assert group["status"] == "CREATE_FAILED"
    assert group["health"]["issues"][0]["message"] == "Instances failed to join the kubernetes cluster"


@pytest.fixture
def group_parameters():
    def make(rig):
        return {
            "clusterName": CLUSTER,
            "nodegroupName": "ng-1",
            "nodeRole": "arn:aws:iam::1:role/node",
            "subnets": [subnet.subnet_id for subnet in rig.cloud.vpc.private_subnets()],
            "scalingConfig": {"minSize": 1, "maxSize": 1, "desiredSize": 1},
        }

    return make


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("nodegroup-insufficient-addresses", "InsufficientFreeAddresses", "not enough free addresses"),
        ("nodegroup-instance-launch-failure", "AsgInstanceLaunchFailures", "InsufficientInstanceCapacity"),
    ],
)
def test_a_group_that_cannot_launch_is_degraded_and_recovers(
    cluster, create_group, update, describe, fault, code, message
):
    create_group(desired=0)
    cluster.faults.activate(fault)
    update(scalingConfig={"desiredSize": 1})
    group = eventually(describe, lambda group: group["status"] == "DEGRADED")
    (issue,) = group["health"]["issues"]
    assert issue["code"] == code
    assert message in issue["message"]
    cluster.faults.clear(fault)
    eventually(describe, lambda group: group["status"] == "ACTIVE" and not group["health"]["issues"])
    eventually(cluster.nodes, len)


def test_a_subnet_that_is_full_is_a_health_issue_without_any_fault(make_rig):
    rig = make_rig(subnet_prefix=28)  # 11 addresses in each of two subnets, one taken by EKS in each.
    rig.call(rig.cloud.seed_cluster, CLUSTER)
    eks = rig.client("eks")
    subnets = [subnet.subnet_id for subnet in rig.cloud.vpc.private_subnets()]
    eks.create_nodegroup(
        clusterName=CLUSTER,
        nodegroupName="ng-1",
        subnets=subnets,
        nodeRole="arn:aws:iam::1:role/node",
        scalingConfig={"minSize": 0, "maxSize": 30, "desiredSize": 21},
    )
    group = eventually(
        lambda: eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName="ng-1")["nodegroup"],
        lambda group: group["health"]["issues"],
    )
    assert group["health"]["issues"][0]["code"] == "InsufficientFreeAddresses"
    assert len(eventually(rig.nodes, lambda nodes: len(nodes) == 20)) == 20


def test_the_taint_can_get_lost_on_the_way_to_the_nodes(cluster, create_group, describe):
    cluster.faults.activate("nodegroup-drops-taint")
    create_group(desired=1, taints=[TAINT])
    assert describe()["taints"] == [TAINT]
    assert taints_of(cluster.nodes()[0]) == []


def test_an_update_can_fail_and_then_changes_nothing(cluster, create_group, update, describe):
    create_group(desired=1)
    cluster.faults.activate("nodegroup-update-fails")
    ended = update(scalingConfig={"desiredSize": 3})
    assert ended["status"] == "Failed"
    assert ended["errors"][0]["errorCode"] == "AccessDenied"
    assert describe()["scalingConfig"]["desiredSize"] == 1
    assert describe()["status"] == "ACTIVE"


def test_new_groups_can_have_a_security_group_that_old_nodes_do_not_get_into(cluster, create_group):
    create_group("ng-1", desired=1)
    cluster.faults.activate("nodegroup-security-group-closed")
    create_group("ng-cilium", desired=2)
    by_group = {}
    for instance in cluster.fleet.booted.values():
        by_group.setdefault(instance.node_group, []).append(instance.private_ip)
    (old,), (new, newer) = by_group["ng-1"], by_group["ng-cilium"]
    admits = cluster.cloud.vpc.admits
    assert admits(new, old, 8080)
    assert admits(new, newer, 8080)
    assert not admits(old, new, 8080)


def make_pod(rig, node):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "namespace": "default", "labels": {"app": "app"}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
    }
    rig.run(rig.api.create(PODS, pod, "default"))
    ready = {"type": "Ready", "status": "True"}
    status = {"status": {"phase": "Running", "conditions": [ready]}}
    return rig.run(rig.api.patch(PODS, "app", status, "default", kind="merge", subresource="status"))


def test_pods_are_evicted_before_their_node_goes(make_rig, group_parameters):
    rig = make_rig(speed=200)  # EKS's patience is then 4.5 s: long enough to look.
    rig.call(rig.cloud.seed_cluster, CLUSTER)
    eks = rig.client("eks")
    eks.create_nodegroup(**group_parameters(rig))
    (node,) = eventually(rig.nodes, len)
    name = node["metadata"]["name"]
    uid = make_pod(rig, name)["metadata"]["uid"]
    eks.delete_nodegroup(clusterName=CLUSTER, nodegroupName="ng-1")
    eventually(
        lambda: rig.run(rig.api.list(PODS))[0], lambda pods: "deletionTimestamp" in pods[0]["metadata"]
    )
    assert rig.node(name)["spec"]["unschedulable"] is True
    # The kubelet's part: the pod is gone for good.
    rig.run(rig.api.delete(PODS, "app", "default", grace_period_seconds=0, uid=uid))
    eventually(lambda: rig.node(name), lambda node: node is None)


def test_a_disruption_budget_holds_a_node_only_as_long_as_eks_is_patient(cluster, create_group, update):
    create_group(desired=1)
    (node,) = cluster.nodes()
    make_pod(cluster, node["metadata"]["name"])
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "app", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "app"}}},
    }
    cluster.run(cluster.api.create(DISRUPTION_BUDGETS, budget, "default"))
    status = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
    cluster.run(
        cluster.api.patch(
            DISRUPTION_BUDGETS,
            "app",
            {"status": status | {"observedGeneration": 1}},
            "default",
            kind="merge",
            subresource="status",
        )
    )
    update(scalingConfig={"desiredSize": 0})
    eventually(cluster.nodes, lambda nodes: not nodes)
    (pod,) = cluster.run(cluster.api.list(PODS))[0]
    assert "deletionTimestamp" not in pod["metadata"]


def test_a_label_waits_for_a_node_that_is_just_booting(make_rig, group_parameters):
    rig = make_rig(speed=50)
    rig.call(rig.cloud.seed_cluster, CLUSTER)
    eks = rig.client("eks")
    group = {"clusterName": CLUSTER, "nodegroupName": "ng-1"}
    parameters = group_parameters(rig) | {"scalingConfig": {"minSize": 0, "maxSize": 1, "desiredSize": 0}}
    eks.create_nodegroup(**parameters)

    def described():
        return eks.describe_nodegroup(**group)["nodegroup"]

    eventually(described, lambda one: one["status"] == "ACTIVE")
    rig.fleet.registers = False
    eks.update_nodegroup_config(**group, scalingConfig={"desiredSize": 1})
    eventually(lambda: list(rig.fleet.booted), len)
    eventually(described, lambda one: one["status"] == "ACTIVE")
    eks.update_nodegroup_config(**group, labels={"addOrUpdateLabels": {"cni": "cilium"}})
    eventually(described, lambda one: one["labels"] == {"cni": "cilium"})
    (instance,) = rig.fleet.booted.values()
    rig.fleet.registers = True
    rig.run(rig.fleet.launch(instance))
    eventually(rig.nodes, lambda nodes: nodes[0]["metadata"]["labels"].get("cni") == "cilium")


def test_a_new_group_whose_instances_do_not_start_is_create_failed(cluster, eks, group_request, describe):
    cluster.faults.activate("nodegroup-instance-launch-failure")
    eks.create_nodegroup(**group_request(desired=1))
    group = eventually(describe, lambda group: group["status"] == "CREATE_FAILED")
    assert [issue["code"] for issue in group["health"]["issues"]] == ["AsgInstanceLaunchFailures"]
    assert group["health"]["issues"][0]["resourceIds"] == [group["resources"]["autoScalingGroups"][0]["name"]]
