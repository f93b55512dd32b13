"""The Auto Scaling API, over the groups that EKS makes for its node groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.operations import Parameters, Result, operation, page_of
from pytest_cnimigrate.simulator.aws.scaling_group import Activity, ScalingGroup, Sizes


class AutoScaling:
    """`groups` gives the groups that exist right now."""

    def __init__(self, groups: Callable[[], Iterable[ScalingGroup]]) -> None:
        self._groups = groups

    @operation("DescribeAutoScalingGroups", "AutoScalingGroupNames", "Filters", "MaxRecords", "NextToken")
    async def describe_auto_scaling_groups(self, given: Parameters) -> Result:
        names = given.get("AutoScalingGroupNames")
        found = [
            group
            for group in self._groups()
            if (not names or group.name in names) and _passes(group, given.get("Filters", ()))
        ]
        page, token = page_of(
            found, token=given.get("NextToken"), size=given.get("MaxRecords"), error_code="InvalidNextToken"
        )
        return {"AutoScalingGroups": [_describe(group) for group in page], "NextToken": token}

    @operation("SetDesiredCapacity", "AutoScalingGroupName", "DesiredCapacity", "HonorCooldown")
    async def set_desired_capacity(self, given: Parameters) -> Result:
        group = self._get(given["AutoScalingGroupName"])
        desired, sizes = given["DesiredCapacity"], group.sizes
        if desired > sizes.maximum:
            raise _validation_error(
                f"New SetDesiredCapacity value {desired} is above max value {sizes.maximum} for the "
                "AutoScalingGroup."
            )
        if desired < sizes.minimum:
            raise _validation_error(
                f"New SetDesiredCapacity value {desired} is below min value {sizes.minimum} for the "
                "AutoScalingGroup."
            )
        group.resize(
            Sizes(sizes.minimum, sizes.maximum, desired),
            "a user request explicitly set group desired capacity",
        )
        return {}

    @operation("UpdateAutoScalingGroup", "AutoScalingGroupName", "MinSize", "MaxSize", "DesiredCapacity")
    async def update_auto_scaling_group(self, given: Parameters) -> Result:
        group = self._get(given["AutoScalingGroupName"])
        minimum = given.get("MinSize", group.sizes.minimum)
        maximum = given.get("MaxSize", group.sizes.maximum)
        if minimum > maximum:
            raise _validation_error(f"Max bound, {maximum}, must be greater than or equal to min bound")
        desired = given.get("DesiredCapacity")
        if desired is None:
            # New bounds pull the desired capacity with them.
            desired = min(max(group.sizes.desired, minimum), maximum)
        elif not minimum <= desired <= maximum:
            raise _validation_error(
                f"Desired capacity:{desired} must be between the specified min size:{minimum} and max "
                f"size:{maximum}"
            )
        group.resize(
            Sizes(minimum, maximum, desired),
            f"a user request update of AutoScalingGroup constraints to min: {minimum}, max: {maximum}, "
            f"desired: {desired}",
        )
        return {}

    @operation("TerminateInstanceInAutoScalingGroup", "InstanceId", "ShouldDecrementDesiredCapacity")
    async def terminate_instance(self, given: Parameters) -> Result:
        instance_id, decrement = given["InstanceId"], given["ShouldDecrementDesiredCapacity"]
        for group in self._groups():
            member = group.members.get(instance_id)
            if member is None:
                continue
            if decrement and group.sizes.desired <= group.sizes.minimum:
                raise _validation_error(
                    f"Currently, desiredSize equals minSize ({group.sizes.minimum}). Terminating instance "
                    "without replacement will violate group's min size constraint. Either set "
                    "shouldDecrementDesiredCapacity flag to false or lower group's min size."
                )
            if not member.active:
                raise AwsError("ScalingActivityInProgress", f"{instance_id} is being terminated already")
            activity = await group.terminate(member.instance, decrement=decrement)
            return {"Activity": _describe_activity(group, activity)}
        raise _validation_error(
            f"Instance Id not found - No managed instance found for instance ID {instance_id}"
        )

    @operation("DescribeScalingActivities", "AutoScalingGroupName", "ActivityIds", "MaxRecords", "NextToken")
    async def describe_scaling_activities(self, given: Parameters) -> Result:
        groups = (
            [self._get(given["AutoScalingGroupName"])]
            if "AutoScalingGroupName" in given
            else list(self._groups())
        )
        wanted = given.get("ActivityIds")
        found = [
            _describe_activity(group, activity)
            for group in groups
            for activity in reversed(group.activities)  # Newest first, as the API does.
            if not wanted or activity.activity_id in wanted
        ]
        page, token = page_of(
            found, token=given.get("NextToken"), size=given.get("MaxRecords"), error_code="InvalidNextToken"
        )
        return {"Activities": page, "NextToken": token}

    def _get(self, name: str) -> ScalingGroup:
        for group in self._groups():
            if group.name == name:
                return group
        raise _validation_error("AutoScalingGroup name not found - null")


def _validation_error(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def _passes(group: ScalingGroup, filters: Iterable[dict[str, Any]]) -> bool:
    """Filters of Auto Scaling: `tag-key`, `tag-value` and `tag:<key>`."""
    for condition in filters:
        name, values = condition.get("Name", ""), condition.get("Values", [])
        if name == "tag-key":
            holds = any(key in values for key in group.tags)
        elif name == "tag-value":
            holds = any(value in values for value in group.tags.values())
        elif name.startswith("tag:"):
            holds = group.tags.get(name.removeprefix("tag:")) in values
        else:
            raise _validation_error(f"Filter type {name} is not correct.")
        if not holds:
            return False
    return True


def _describe(group: ScalingGroup) -> Result:
    return {
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.arn,
        "MinSize": group.sizes.minimum,
        "MaxSize": group.sizes.maximum,
        "DesiredCapacity": group.sizes.desired,
        "DefaultCooldown": 300,
        "AvailabilityZones": group.zones(),
        "HealthCheckType": "EC2",
        "HealthCheckGracePeriod": 15,
        "Instances": [
            {
                "InstanceId": member.instance.instance_id,
                "InstanceType": member.instance.type.name,
                "AvailabilityZone": member.instance.availability_zone,
                "LifecycleState": member.lifecycle,
                "HealthStatus": "Healthy" if member.healthy else "Unhealthy",
                "ProtectedFromScaleIn": False,
            }
            for member in group.members.values()
        ],
        "CreatedTime": group.created,
        "VPCZoneIdentifier": ",".join(group.subnet_ids),
        "Status": "Delete in progress" if group.deleting else None,
        "Tags": [
            {
                "ResourceId": group.name,
                "ResourceType": "auto-scaling-group",
                "Key": key,
                "Value": value,
                "PropagateAtLaunch": True,
            }
            for key, value in group.tags.items()
        ],
        "TerminationPolicies": ["AllocationStrategy", "OldestLaunchTemplate", "OldestInstance"],
        "NewInstancesProtectedFromScaleIn": False,
    }


def _describe_activity(group: ScalingGroup, activity: Activity) -> Result:
    return {
        "ActivityId": activity.activity_id,
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.arn,
        "Description": activity.description,
        "Cause": activity.cause,
        "StartTime": activity.started,
        "EndTime": activity.ended,
        "StatusCode": activity.status,
        "StatusMessage": activity.message or None,
        "Progress": 50 if activity.status == "InProgress" else 100,
    }
