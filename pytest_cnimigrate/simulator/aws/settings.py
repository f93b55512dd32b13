"""What can be chosen about the simulated AWS account."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """Times are in simulated seconds."""

    region: str = "us-west-1"
    account: str = "123456789012"
    zones: tuple[str, ...] = ()
    """Empty: the first two of the region."""
    kubernetes_version: str = "1.32"
    """The version that the embedded API server serves; EKS offers no other."""
    vpc_cidr: str = "192.168.0.0/16"
    service_cidr: str = "10.100.0.0/16"
    subnet_prefix: int = 19
    """The subnets' size; 28 leaves 11 addresses, to rehearse running out of them."""
    nat: bool = True
    """Whether private subnets have a NAT gateway."""
    managed_add_ons: tuple[str, ...] = ()
    """Add-ons that EKS manages from the start; empty as eksctl made clusters in 2023: all self-managed."""
    cluster_seconds: float = 60.0
    """Until a cluster is ACTIVE or gone. Much less than the ten minutes it really takes: it only waits."""
    update_seconds: float = 10.0
    """Until an update of a node group or add-on is done."""
    node_creation_deadline: float = 1200.0
    """A new node group whose nodes are not Ready by then is CREATE_FAILED (terraform-aws-eks#1910)."""
    launch_failure_deadline: float = 300.0
    """A new node group whose instances do not start is CREATE_FAILED after this time."""
    seed: int = 0
