"""EC2 instance types: what a node of each type can carry.

The interface and address limits decide how many pods a node takes, under the VPC CNI and under Cilium's
ENI mode alike. Figures: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AvailableIpPerENI.html
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_cnimigrate.simulator.cloud import CloudError


@dataclass(frozen=True, slots=True)
class InstanceType:
    name: str
    vcpus: int
    memory_mib: int
    max_interfaces: int
    addresses_per_interface: int
    """IPv4 addresses of one interface, its primary one included."""

    @property
    def max_pods(self) -> int:
        """`--max-pods` of kubelet as EKS computes it: no pod on a primary address, two in the host network.

        https://docs.aws.amazon.com/eks/latest/userguide/choosing-instance-type.html
        """
        return self.max_interfaces * (self.addresses_per_interface - 1) + 2


# size: (vCPUs, interfaces, addresses per interface); memory follows from the family's ratio.
_STANDARD = {
    "large": (2, 3, 10),
    "xlarge": (4, 4, 15),
    "2xlarge": (8, 4, 15),
    "4xlarge": (16, 8, 30),
    "8xlarge": (32, 8, 30),
    "12xlarge": (48, 8, 30),
    "16xlarge": (64, 15, 50),
    "24xlarge": (96, 15, 50),
}
_C5 = {
    "large": (2, 3, 10),
    "xlarge": (4, 4, 15),
    "2xlarge": (8, 4, 15),
    "4xlarge": (16, 8, 30),
    "9xlarge": (36, 8, 30),
    "12xlarge": (48, 8, 30),
    "18xlarge": (72, 15, 50),
    "24xlarge": (96, 15, 50),
}
# t3: (vCPUs, interfaces, addresses per interface, MiB): burstable types have no fixed memory ratio.
_T3 = {
    "nano": (2, 2, 2, 512),
    "micro": (2, 2, 2, 1024),
    "small": (2, 3, 4, 2048),
    "medium": (2, 3, 6, 4096),
    "large": (2, 3, 12, 8192),
    "xlarge": (4, 4, 15, 16384),
    "2xlarge": (8, 4, 15, 32768),
}
_FAMILIES = {"m5": (_STANDARD, 4096), "r5": (_STANDARD, 8192), "c5": (_C5, 2048)}


def _table() -> dict[str, InstanceType]:
    types = [InstanceType(f"t3.{size}", cpus, mib, enis, ips) for size, (cpus, enis, ips, mib) in _T3.items()]
    types += [
        InstanceType(f"{family}.{size}", cpus, cpus * mib_per_cpu, enis, ips)
        for family, (sizes, mib_per_cpu) in _FAMILIES.items()
        for size, (cpus, enis, ips) in sizes.items()
    ]
    return {entry.name: entry for entry in types}


INSTANCE_TYPES: dict[str, InstanceType] = _table()


def instance_type(name: str) -> InstanceType:
    """The type's figures; `CloudError` InvalidInstanceType for one that the simulator does not know."""
    try:
        return INSTANCE_TYPES[name]
    except KeyError:
        raise CloudError(
            "InvalidInstanceType",
            f"The following supplied instance types do not exist: [{name}] "
            f"(simulated families: t3, {', '.join(sorted(_FAMILIES))})",
        ) from None
