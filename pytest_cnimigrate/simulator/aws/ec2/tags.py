"""Tags of all taggable resources, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.instances import Instances
from pytest_cnimigrate.simulator.aws.vpc import VpcModel


@dataclass(frozen=True, slots=True)
class Tag:
    resource_id: str
    resource_type: str
    key: str
    value: str


class TagStore:
    """Reads and writes the tags where each resource keeps them."""

    def __init__(self, vpc: VpcModel, instances: Instances) -> None:
        self._vpc = vpc
        self._instances = instances

    def all(self) -> list[Tag]:
        resources: list[tuple[str, str, Mapping[str, str]]] = [
            (self._vpc.vpc_id, "vpc", self._vpc.tags),
            *((one.subnet_id, "subnet", one.tags) for one in self._vpc.subnets.values()),
            *((one.group_id, "security-group", one.tags) for one in self._vpc.security_groups.values()),
            *(
                (one.network_interface_id, "network-interface", one.tags)
                for one in self._vpc.interfaces.values()
            ),
            *((one.instance_id, "instance", one.tags) for one in self._instances.all()),
        ]
        return [
            Tag(resource_id, kind, key, value)
            for resource_id, kind, tags in resources
            for key, value in tags.items()
        ]

    def write(self, resource_id: str, tags: Mapping[str, str]) -> None:
        """Add or replace tags; `CloudError` or `AwsError` for a resource that is not there."""
        kind = resource_id.partition("-")[0]
        match kind:
            case "i":
                instance = self._instances.get(resource_id)
                if instance is None:
                    message = f"The instance ID '{resource_id}' does not exist"
                    raise AwsError("InvalidInstanceID.NotFound", message)
                instance.tags.update(tags)
            case "eni":
                self._vpc.set_interface_tags(resource_id, {**tags})
            case "subnet":
                self._vpc.subnet(resource_id).tags.update(tags)
            case "sg":
                self._vpc.security_group(resource_id).tags.update(tags)
            case "vpc" if resource_id == self._vpc.vpc_id:
                self._vpc.tags.update(tags)
            case _:
                raise AwsError("InvalidID", f"The ID '{resource_id}' is not valid")


def wire_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """`[{Key, Value}]`, as EC2 writes tags."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
