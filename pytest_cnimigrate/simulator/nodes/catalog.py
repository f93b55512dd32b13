"""Which image is which program; importing it also makes the CNIs and their faults known."""

from __future__ import annotations

from pytest_cnimigrate.simulator.cni.cilium_agent import CiliumAgent
from pytest_cnimigrate.simulator.cni.cilium_operator import CiliumOperator
from pytest_cnimigrate.simulator.cni.vpc_cni import AwsNode
from pytest_cnimigrate.simulator.network.goldpinger import Goldpinger
from pytest_cnimigrate.simulator.nodes.programs import KubeProxy, ProgramRegistry


def default_programs() -> ProgramRegistry:
    """The programs that a migration from the VPC CNI to Cilium meets; all other images are generic."""
    registry = ProgramRegistry()
    registry.register(r"amazon-k8s-cni:|amazon-k8s-cni@|amazon-k8s-cni$", AwsNode)
    registry.register(r"cilium/operator", CiliumOperator)
    registry.register(r"cilium/cilium(?![-\w])", CiliumAgent)
    registry.register(r"kube-proxy", KubeProxy)
    registry.register(r"goldpinger", Goldpinger)
    return registry
