"""The Auto Scaling group behind a node group, and instances that come and go."""

from __future__ import annotations

import pytest
from aws_rig import CLUSTER, eventually
from botocore.exceptions import ClientError


@pytest.fixture
def scaling(cluster):
    return cluster.client("autoscaling")


@pytest.fixture
def group_name(create_group):
    return create_group(desired=2)["resources"]["autoScalingGroups"][0]["name"]


@pytest.fixture
def describe(scaling, group_name):
    def run():
        (group,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group_name])[
            "AutoScalingGroups"
        ]
        return group

    return run


def in_service(group):
    return [one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService"]


def test_the_group_of_a_node_group_is_found_by_its_tags(scaling, group_name, describe):
    filters = [{"Name": "tag:eks:nodegroup-name", "Values": ["ng-1"]}]
    (group,) = scaling.describe_auto_scaling_groups(Filters=filters)["AutoScalingGroups"]
    assert group["AutoScalingGroupName"] == group_name
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (0, 3, 2)
    assert len(in_service(describe())) == 2
    assert {one["HealthStatus"] for one in group["Instances"]} == {"Healthy"}


def test_a_desired_capacity_set_behind_the_back_of_eks_shows_in_the_node_group(cluster, scaling, group_name):
    scaling.set_desired_capacity(AutoScalingGroupName=group_name, DesiredCapacity=3)
    eventually(cluster.nodes, lambda nodes: len(nodes) == 3)
    group = cluster.client("eks").describe_nodegroup(clusterName=CLUSTER, nodegroupName="ng-1")["nodegroup"]
    assert group["scalingConfig"]["desiredSize"] == 3


@pytest.mark.parametrize(("desired", "message"), [(9, "value 9 is above max value 3"), (1, "below min")])
def test_a_desired_capacity_out_of_bounds_is_refused(scaling, group_name, desired, message):
    scaling.update_auto_scaling_group(AutoScalingGroupName=group_name, MinSize=2)
    with pytest.raises(ClientError, match=message) as caught:
        scaling.set_desired_capacity(AutoScalingGroupName=group_name, DesiredCapacity=desired)
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_bounds_pull_the_desired_capacity_with_them(scaling, group_name, describe):
    scaling.update_auto_scaling_group(AutoScalingGroupName=group_name, MinSize=3, MaxSize=5)
    assert describe()["DesiredCapacity"] == 3
    with pytest.raises(ClientError, match="must be between the specified min size:3 and max size:5"):
        scaling.update_auto_scaling_group(AutoScalingGroupName=group_name, DesiredCapacity=6)


def test_an_instance_terminated_by_somebody_is_replaced(cluster, describe):
    """Failure mode 44: the replacement registers with what the group says, not what the node had."""
    before = in_service(describe())
    cluster.client("ec2").terminate_instances(InstanceIds=[before[0]])
    after = in_service(
        eventually(describe, lambda group: len(in_service(group)) == 2 and before[0] not in in_service(group))
    )
    assert before[1] in after
    eventually(lambda: set(cluster.fleet.booted), lambda booted: booted == set(after))


def test_an_instance_can_be_taken_out_for_good(cluster, scaling, describe):
    victim = in_service(describe())[0]
    activity = scaling.terminate_instance_in_auto_scaling_group(
        InstanceId=victim, ShouldDecrementDesiredCapacity=True
    )["Activity"]
    assert victim in activity["Description"]
    group = eventually(describe, lambda group: len(group["Instances"]) == 1)
    assert group["DesiredCapacity"] == 1
    assert victim not in cluster.fleet.booted


def test_taking_out_an_instance_respects_the_minimum(scaling, group_name, describe):
    scaling.update_auto_scaling_group(AutoScalingGroupName=group_name, MinSize=2)
    with pytest.raises(ClientError, match="desiredSize equals minSize"):
        scaling.terminate_instance_in_auto_scaling_group(
            InstanceId=in_service(describe())[0], ShouldDecrementDesiredCapacity=True
        )


def test_zones_stay_balanced_when_a_group_shrinks(cluster, scaling, group_name, describe):
    scaling.update_auto_scaling_group(AutoScalingGroupName=group_name, MaxSize=4, DesiredCapacity=4)
    eventually(describe, lambda group: len(in_service(group)) == 4)
    scaling.set_desired_capacity(AutoScalingGroupName=group_name, DesiredCapacity=2)
    group = eventually(describe, lambda group: len(group["Instances"]) == 2)
    assert {one["AvailabilityZone"] for one in group["Instances"]} == {"us-west-1a", "us-west-1b"}


def test_activities_tell_why_launching_fails(cluster, scaling, group_name):
    cluster.faults.activate("nodegroup-instance-launch-failure")
    scaling.set_desired_capacity(AutoScalingGroupName=group_name, DesiredCapacity=3)

    def newest():
        return scaling.describe_scaling_activities(AutoScalingGroupName=group_name)["Activities"][0]

    activity = eventually(newest, lambda activity: activity["StatusCode"] == "Failed")
    assert "do not have sufficient m5.large capacity" in activity["StatusMessage"]
    assert "changing the desired capacity from 2 to 3" in activity["Cause"]


def test_an_unknown_group_is_an_error(scaling):
    with pytest.raises(ClientError, match="AutoScalingGroup name not found"):
        scaling.set_desired_capacity(AutoScalingGroupName="nope", DesiredCapacity=1)
