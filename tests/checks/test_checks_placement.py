"""Whether workloads of the old nodes may run on the new ones: told before anything is touched."""

from __future__ import annotations

import pytest
from builders import daemonset, expression, node, pod, terms

from pytest_cnimigrate.checks import placement

ZONE = "topology.kubernetes.io/zone"
OLD_LABELS = {
    "kubernetes.io/os": "linux",
    "kubernetes.io/hostname": "old-1",
    "eks.amazonaws.com/nodegroup": "ng-1",
    "node.kubernetes.io/instance-type": "m5.large",
    "role": "web",
    ZONE: "us-west-1a",
}
OLD = [
    node("old-1", labels=OLD_LABELS),
    node("old-2", labels=OLD_LABELS | {ZONE: "us-west-1b", "kubernetes.io/hostname": "old-2"}),
]
DEDICATED = {"key": "dedicated", "value": "cilium", "effect": "NoSchedule"}
AWS_NODE = "kube-system/aws-node"


def judged(pods=(), daemonsets=(), *, labels=None, taints=()):
    group = {"eks.amazonaws.com/nodegroup": "ng-cilium"} | (labels or {})
    new = placement.nodes_to_come(OLD, labels=group, taints=taints, instance_type="m5.xlarge")
    return placement.cannot_follow(pods, daemonsets, OLD, new, except_for=AWS_NODE)


def web(on="old-1", **spec):
    found = pod("web-1", on)
    found["spec"] |= spec
    return found


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"nodeSelector": {"kubernetes.io/os": "linux"}},
        {"nodeSelector": {ZONE: "us-west-1b"}},
        {"nodeSelector": {"node.kubernetes.io/instance-type": "m5.xlarge"}},
        {"affinity": terms([expression("role", "In", "web")], [expression(ZONE, "In", "us-west-1a")])},
        {"affinity": {"podAntiAffinity": {}}},
    ],
    ids=["anywhere", "system", "another node's zone", "new type", "one term of two", "between pods"],
)
def test_workloads_that_new_nodes_admit(spec):
    assert judged([web(**spec)]) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"nodeSelector": {"eks.amazonaws.com/nodegroup": "ng-1"}},
            "none will match its nodeSelector eks.amazonaws.com/nodegroup=ng-1; give the new group these "
            "labels, or relax it",
        ),
        ({"nodeSelector": {"role": "web"}}, "none will match its nodeSelector role=web"),
        ({"nodeSelector": {"kubernetes.io/hostname": "old-1"}}, "kubernetes.io/hostname=old-1"),
        ({"nodeSelector": {ZONE: "us-west-1c"}}, f"{ZONE}=us-west-1c"),
        (
            {"affinity": terms([expression("node.kubernetes.io/instance-type", "In", "m5.large")])},
            "none will match its required node affinity",
        ),
    ],
    ids=["group", "label by hand", "one node", "zone", "type"],
)
def test_a_workload_that_is_pinned_to_the_old_nodes_is_named_once(spec, words):
    one, other = web(**spec), web("old-2", **spec)
    other["metadata"]["name"] = "web-2"
    (problem,) = judged([one, other])
    assert problem.startswith("ReplicaSet shop/web would find no place on the new nodes: ")
    assert words in problem


def test_labels_that_the_new_group_gives_count():
    assert judged([web(nodeSelector={"role": "web"})], labels={"role": "web"}) == []


def test_a_taint_that_stays_on_the_new_nodes_has_to_be_tolerated():
    tolerant = web(tolerations=[{"key": "dedicated", "operator": "Exists"}])
    assert judged([tolerant], taints=[DEDICATED]) == []
    (problem,) = judged([web()], taints=[DEDICATED])
    assert problem.endswith("it does not tolerate their taint dedicated=cilium:NoSchedule")


def test_pods_that_do_not_move_are_not_asked():
    pinned = {"nodeSelector": {"role": "web"}}
    assert judged([web("elsewhere", **pinned), web("", **pinned)]) == []
    finished = web(**pinned)
    finished["status"]["phase"] = "Succeeded"
    assert judged([finished]) == []


def agent(owner_name, on="old-1"):
    """A DaemonSet's pod as its controller makes it: bound to its node by a field, not by the template."""
    found = pod(f"{owner_name}-x", on, namespace="kube-system", owner="DaemonSet", owner_name=owner_name)
    found["spec"]["affinity"] = terms(fields=[expression("metadata.name", "In", on)])
    return found


def test_a_daemonset_that_would_be_missing_on_the_new_nodes_is_named():
    logs = daemonset("logs", node_selector={"role": "web"})
    assert judged([agent("logs")], [logs]) == [
        "DaemonSet kube-system/logs would find no place on the new nodes: none will match its nodeSelector "
        "role=web; give the new group these labels, or relax it"
    ]


def test_daemonsets_that_follow_or_are_not_on_the_old_nodes():
    everywhere = daemonset("kube-proxy", affinity=terms([expression("kubernetes.io/os", "In", "linux")]))
    elsewhere = daemonset("gpu", node_selector={"gpu": "yes"})
    assert judged([agent("kube-proxy"), agent("gpu", "elsewhere")], [everywhere, elsewhere]) == []


def test_the_old_cni_is_to_stay_away():
    fenced = daemonset("aws-node", affinity=terms([expression("cni", "In", "aws-cni")]))
    assert judged([agent("aws-node")], [fenced]) == []
