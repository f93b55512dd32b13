"""Cilium: its agents, its operator, its objects, and which pods it manages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from pytest_cnimigrate.kube.client import KubeReader
from pytest_cnimigrate.kube.errors import KubeError
from pytest_cnimigrate.model.objects import Object, is_terminating, key_of, name_of, namespace_of, uid_of
from pytest_cnimigrate.model.pods import is_finished, uses_host_network
from pytest_cnimigrate.model.resources import CILIUM_ENDPOINTS, PODS

AGENT_SELECTOR = "k8s-app=cilium"
OPERATOR_SELECTOR = "io.cilium/app=operator"
CNI_FILE = "05-cilium.conflist"
"""Cilium's CNI configuration file, by this name since 1.14."""

_ASKED_AT_ONCE = 16

# The chart writes "0"; from 1.19 on an interval has a unit.
_WATCHER_IS_OFF = frozenset({"0", "0s"})


def _watcher_interval(config: Object) -> str | None:
    interval: str | None = (config.get("data") or {}).get("unmanaged-pod-watcher-interval")
    return interval


def watcher_on(config: Object) -> list[str]:
    """Problems: the operator's watcher for unmanaged pods is on in `cilium-config`.

    `unmanaged-pod-watcher-interval` is "0" when it is off; without it the operator takes its default, 15 s.
    """
    interval = _watcher_interval(config)
    if interval in _WATCHER_IS_OFF:
        return []
    return [
        f"ConfigMap {key_of(config)}: unmanaged-pod-watcher-interval is {interval or 'absent'}: "
        "the operator restarts pods that Cilium does not manage; "
        "set operator.unmanagedPodWatcher.restart=false"
    ]


def watcher_off(config: Object) -> list[str]:
    """Problems: the watcher for unmanaged pods is still off."""
    interval = _watcher_interval(config)
    if interval not in _WATCHER_IS_OFF:
        return []
    return [
        f"ConfigMap {key_of(config)}: unmanaged-pod-watcher-interval is {interval}: the watcher is off; "
        "set operator.unmanagedPodWatcher.restart=true"
    ]


def taint_key_differs(config: Object, key: str) -> list[str]:
    """Problems: the operator removes another taint than the one the node group gives."""
    configured = (config.get("data") or {}).get("agent-not-ready-taint-key", "node.cilium.io/agent-not-ready")
    if configured == key:
        return []
    return [
        f"ConfigMap {key_of(config)}: agent-not-ready-taint-key is {configured}, the group's taint is {key}: "
        "the operator would never remove it"
    ]


def agent_not_owning_cni(kube: KubeReader, agents: Iterable[Object]) -> list[str]:
    """Problems: agents that have not written their node's CNI configuration file.

    The agent's own status is asked (`cilium-dbg status -o json`, field `cni-file`): the node's conditions
    say only that an agent was Ready once. Agents that have ended or are on their way out are not asked; that
    there is nobody to ask is a problem too.
    """
    present = [pod for pod in agents if not (is_terminating(pod) or is_finished(pod))]
    if not present:
        return ["there is no Cilium agent that could say whether it owns its node's CNI configuration"]
    # A command takes about a second on a real node: one after the other, 200 nodes would take minutes, and
    # a wait with a limit would look only once.
    with ThreadPoolExecutor(min(_ASKED_AT_ONCE, len(present)), thread_name_prefix="cilium-status") as pool:
        return [problem for problem in pool.map(lambda pod: _not_owning(kube, pod), present) if problem]


def _not_owning(kube: KubeReader, agent: Object) -> str:
    """Why this agent does not own its node's CNI configuration, or "" if it does."""
    node = agent["spec"].get("nodeName", "(none)")
    command = ["cilium-dbg", "status", "-o", "json"]
    try:
        result = kube.exec(name_of(agent), namespace_of(agent), command, container="cilium-agent")
    except KubeError as error:
        return f"node {node}: agent {name_of(agent)} cannot be asked: {error}"
    if result.exit_code != 0:
        return f"node {node}: agent {name_of(agent)} does not answer: {result.stderr.strip()[:200]}"
    try:
        status = json.loads(result.stdout)["cni-file"]
    except (ValueError, TypeError):
        return f"node {node}: agent {name_of(agent)} answers with something that is not its status in JSON"
    except KeyError:
        status = {}
    # The state is spelled `Ok` by the agent; older ones said `ok`.
    if str(status.get("state", "")).lower() == "ok" and CNI_FILE in status.get("msg", ""):
        return ""
    return (
        f"node {node}: Cilium does not own the CNI configuration: cni-file is "
        f"{status.get('state', 'absent')} ({status.get('msg', 'no message')})"
    )


def node_objects_wrong(
    cilium_nodes: Iterable[Object], nodes: Iterable[Object], *, absent_from: Collection[str] = ()
) -> list[str]:
    """Problems: a node without its CiliumNode, one with an operator error or no addresses, or one too many.

    `nodes` are those that Cilium serves, `absent_from` the names of nodes that must not have a CiliumNode.
    A CiliumNode of neither is left over: the operator may go on getting addresses for it (cilium#9533).
    """
    present = {name_of(item): item for item in cilium_nodes}
    served = list(nodes)
    known = {name_of(node) for node in served}
    problems = [] if served else ["there is no node that Cilium serves"]
    problems += [
        f"node {name} has a CiliumNode although the old CNI serves it"
        for name in sorted(absent_from)
        if name in present
    ]
    problems += [
        f"CiliumNode {name} is of no node that Cilium serves; delete it if its node is gone"
        for name in sorted(present.keys() - known - set(absent_from))
    ]
    for node in served:
        item = present.get(name_of(node))
        if item is None:
            problems.append(f"node {name_of(node)} has no CiliumNode")
        else:
            problems += _node_object_problems(item, node)
    return problems


def _node_object_problems(item: Object, node: Object) -> list[str]:
    name = f"CiliumNode {name_of(item)}"
    spec, status = item.get("spec") or {}, (item.get("status") or {}).get("ipam") or {}
    ipam = spec.get("ipam") or {}
    error = (status.get("operator-status") or {}).get("error")
    if error:
        return [f"{name}: the operator reports: {error}"]
    if ipam.get("podCIDRs"):
        return []
    pool, used = ipam.get("pool") or {}, status.get("used") or {}
    if not pool:
        return [f"{name} has neither addresses nor pod ranges yet"]
    problems = []
    if len(pool) <= len(used):
        problems.append(f"{name}: all of its {len(pool)} addresses are in use")
    # Empty when the instance metadata did not answer; the node then lists every interface of the VPC
    # (cilium#15682).
    instance = node["spec"].get("providerID", "").rpartition("/")[2]
    if spec.get("instance-id") != instance:
        problems.append(
            f"{name}: instance-id is {spec.get('instance-id') or 'empty'}, the node is instance {instance}"
        )
    return problems


def is_manageable(pod: Object) -> bool:
    """Whether a CNI should be managing this pod: it runs, stays, and has a network of its own."""
    running = pod.get("status", {}).get("phase") == "Running"
    return running and not uses_host_network(pod) and not is_terminating(pod)


def unmanaged_pods(kube: KubeReader, nodes: Collection[str]) -> list[str]:
    """Problems: pods on these nodes that Cilium does not manage, read afresh."""
    return unmanaged(kube.list(PODS), kube.list(CILIUM_ENDPOINTS), nodes)


def unmanaged(pods: Iterable[Object], endpoints: Iterable[Object], nodes: Collection[str]) -> list[str]:
    """Problems: running pods on Cilium's nodes without a ready CiliumEndpoint.

    A CiliumEndpoint has its pod's name; one that exists means that Cilium manages the pod. It is owned by the
    pod: a StatefulSet's new pod has the name of the one before, whose endpoint may still be there.
    """
    present = {key_of(endpoint): endpoint for endpoint in endpoints}
    problems = []
    for pod in pods:
        if pod["spec"].get("nodeName") not in nodes or not is_manageable(pod):
            continue
        endpoint = present.get(key_of(pod))
        where = f"pod {key_of(pod)} on node {pod['spec']['nodeName']}"
        if endpoint is None:
            problems.append(f"{where} is not managed by Cilium (no CiliumEndpoint)")
            continue
        state = (endpoint.get("status") or {}).get("state", "")
        if state != "ready":
            problems.append(f"{where}: its CiliumEndpoint is {state or 'without a state'}")
        elif not _is_of(endpoint, pod):
            problems.append(f"{where}: the CiliumEndpoint of its name is of another pod, one before it")
    return problems


def _is_of(endpoint: Object, pod: Object) -> bool:
    owners = {owner["uid"] for owner in endpoint["metadata"].get("ownerReferences") or ()}
    return not owners or uid_of(pod) in owners
