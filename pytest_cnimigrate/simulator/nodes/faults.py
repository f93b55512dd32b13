"""Faults of nodes and of what runs on them.

"New" nodes are those whose CNI is Cilium, by the configuration that is in force there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_cnimigrate.simulator.faults import register

if TYPE_CHECKING:
    from pytest_cnimigrate.simulator.nodes.machine import Machine

CILIUM_PLUGIN = "cilium-cni"

NODE_NEVER_REGISTERS = register(
    "node-never-registers",
    "Instances boot, but their kubelets never register a node.",
    "failure mode 15: the node group stays CREATING and ends in NodeCreationFailure",
)
POD_SANDBOX_FAILS_ON_NEW_NODES = register(
    "pod-sandbox-fails-on-new-nodes",
    "On nodes with Cilium no pod gets a sandbox: ContainerCreating with FailedCreatePodSandBox.",
    "failure modes 19 and 32: the node is Ready, yet its CNI cannot attach pods",
)


def is_new_node(machine: Machine) -> bool:
    """Whether Cilium attaches the pods that start on this node from now on."""
    return machine.cni_files.plugin_type() == CILIUM_PLUGIN
