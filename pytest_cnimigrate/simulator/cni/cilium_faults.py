"""Faults of Cilium's own parts."""

from __future__ import annotations

from pytest_cnimigrate.simulator.faults import register

TAINT_NEVER_REMOVED = register(
    "cilium-taint-never-removed",
    "The operator leaves the agent-not-ready taint on the nodes although the agents are ready.",
    "failure mode 11: operator without rights, or another taint key than the node group's",
)
AGENT_CRASH_LOOP = register(
    "cilium-agent-crash-loop",
    "Every Cilium agent that starts ends after two seconds.",
    "failure mode 11: no agent is ready; recorded on a real cluster",
)
CNI_FILE_NOT_WRITTEN = register(
    "cilium-cni-file-not-written",
    "The agent becomes ready without having written its CNI file.",
    "failure mode 10: cilium#29405, before pull request 32168",
)
OPERATOR_NO_EC2_RIGHTS = register(
    "cilium-operator-no-ec2-rights",
    "EC2 refuses the operator's changes: no interface and no address is added.",
    "failure mode 34: the node role has lost the CNI policy",
)
