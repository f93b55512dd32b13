"""The fence, deletions, held policies, applied manifests: what was there before comes back as it was."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest
from embedded_rig import eventually

from pytest_cnimigrate.changes import ApplyObject, DeleteDaemonSet, FenceDaemonSet, HoldNetworkPolicy
from pytest_cnimigrate.changes.manifests import is_contained
from pytest_cnimigrate.checks import affinity
from pytest_cnimigrate.kube.errors import NotFound
from pytest_cnimigrate.model.resources import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    NETWORK_POLICIES,
    NODES,
    PODS,
    SECRETS,
)
from pytest_cnimigrate.run.change import ChangeError, ChangeRefusedError, Migration, change_from

LINUX = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
FENCE = {"key": "cni", "operator": "In", "values": ["aws-cni"]}
ELSEWHERE = {"key": "no-such-label", "operator": "Exists"}


def required(*terms):
    return {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    }


def daemonset(namespace, affinity=None, **pod_spec):
    labels = {"app": "old-cni"}
    spec = {"containers": [{"name": "main", "image": "registry.example/cni:1"}], **pod_spec}
    if affinity is not None:
        spec["affinity"] = affinity
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": "old-cni",
            "namespace": namespace,
            "labels": labels,
            "annotations": {"by": "hand"},
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def pod_spec(cluster, namespace):
    return cluster.kube.get(DAEMON_SETS, "old-cni", namespace)["spec"]["template"]["spec"]


# --- the fence ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        None,
        required({"matchExpressions": [LINUX]}),
        required({"matchExpressions": [LINUX]}, {"matchExpressions": [ELSEWHERE]}),
        required({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["x"]}]}),
        {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
        | required({"matchExpressions": [LINUX]}),
    ],
    ids=["no affinity", "one term", "two terms", "by field", "with other affinity"],
)
def test_the_fence_goes_into_every_term_and_comes_out_without_a_trace(
    cluster, migrate, told, namespace, before
):
    cluster.kube.create(DAEMON_SETS, daemonset(namespace, before))
    original = pod_spec(cluster, namespace)
    fence = FenceDaemonSet(namespace, "old-cni", "cni", "aws-cni")
    migrate(fence, fence)
    assert affinity.is_required(cluster.kube.get(DAEMON_SETS, "old-cni", namespace), "cni", "aws-cni")
    assert told() == ["change-started", "change-done", "change-held"]
    migrate.undo(fence)
    assert pod_spec(cluster, namespace) == original


def test_a_daemonset_that_was_fenced_already_is_left_alone_and_stays_fenced(cluster, migrate, namespace):
    cluster.kube.create(DAEMON_SETS, daemonset(namespace, required({"matchExpressions": [LINUX, FENCE]})))
    fence = FenceDaemonSet(namespace, "old-cni", "cni", "aws-cni")
    migrate(fence)
    migrate.undo(fence)
    assert affinity.is_required(cluster.kube.get(DAEMON_SETS, "old-cni", namespace), "cni", "aws-cni")
    assert cluster.kube.get(DAEMON_SETS, "old-cni", namespace)["metadata"]["generation"] == 1


class Meddling:
    """A client before whose patch somebody else changes the object."""

    def __init__(self, kube, before):
        self._kube = kube
        self._before = before

    def patch(self, *arguments, **keywords):
        self._before()
        return self._kube.patch(*arguments, **keywords)

    def __getattr__(self, name):
        return getattr(self._kube, name)


def meddle(cluster, journal, before):
    return Migration(dataclasses.replace(cluster, kube=Meddling(cluster.kube, before)), journal)


def test_the_fence_does_not_overwrite_what_somebody_else_puts_in_at_the_same_time(
    cluster, journal, namespace
):
    cluster.kube.create(DAEMON_SETS, daemonset(namespace))
    theirs = {"spec": {"template": {"spec": {"affinity": required({"matchExpressions": [LINUX]})}}}}
    migrate = meddle(cluster, journal, lambda: cluster.kube.patch(DAEMON_SETS, "old-cni", theirs, namespace))
    with pytest.raises(ChangeError, match=f"somebody else has changed DaemonSet {namespace}/old-cni"):
        migrate(FenceDaemonSet(namespace, "old-cni", "cni", "aws-cni"))
    assert pod_spec(cluster, namespace)["affinity"] == required({"matchExpressions": [LINUX]})


def test_the_fence_does_not_mind_that_the_status_changes_meanwhile(cluster, journal, namespace):
    """Every pod that becomes ready changes the object's resource version."""
    cluster.kube.create(DAEMON_SETS, daemonset(namespace))
    status = {"metadata": {"labels": {"touched": "yes"}}}
    migrate = meddle(cluster, journal, lambda: cluster.kube.patch(DAEMON_SETS, "old-cni", status, namespace))
    fence = FenceDaemonSet(namespace, "old-cni", "cni", "aws-cni")
    migrate(fence)
    assert fence.holds(cluster)


def test_a_patch_that_the_server_refuses_is_not_blamed_on_somebody_else(cluster, migrate, namespace):
    cluster.kube.create(DAEMON_SETS, daemonset(namespace))
    with pytest.raises(ChangeError, match="could not require not a key In"):
        migrate(FenceDaemonSet(namespace, "old-cni", "not a key", "aws-cni"))


# --- deleting the old CNI ----------------------------------------------------------------------------------


def pod(name, node, namespace, **more):
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "registry.example/web:1"}], **more}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def test_a_daemonset_is_deleted_once_and_comes_back_as_it_was(cluster, migrate, told, namespace):
    volumes = [
        {"name": "ca", "secret": {"secretName": "cni-ca"}},
        {
            "name": "token",
            "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "cni"}}]},
        },
    ]
    environment = [{"name": "API_TOKEN", "value": "t0p-s3cret"}]
    containers = [{"name": "main", "image": "registry.example/cni:1", "env": environment}]
    manifest = daemonset(namespace, required({"matchExpressions": [ELSEWHERE]}), volumes=volumes)
    manifest["spec"]["template"]["spec"]["containers"] = containers
    cluster.kube.create(DAEMON_SETS, manifest)
    before = cluster.kube.get(DAEMON_SETS, "old-cni", namespace)
    deletion = DeleteDaemonSet(namespace, "old-cni", nodes="no-such-label")
    migrate(deletion, deletion)
    assert cluster.kube.find(DAEMON_SETS, "old-cni", namespace) is None
    assert told() == ["change-started", "change-done", "change-held"]
    migrate.undo(deletion)
    after = cluster.kube.get(DAEMON_SETS, "old-cni", namespace)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["metadata"]["annotations"]["by"] == "hand"
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


@pytest.fixture
def pods_on(cluster, node, namespace):
    """Creates pods on a labelled node."""
    cluster.kube.patch(NODES, node, {"metadata": {"labels": {"test": namespace}}})

    def create(*names, **spec):
        for name in names:
            cluster.kube.create(PODS, pod(name, node, namespace, **spec))

    return create


def test_the_old_cni_is_not_deleted_while_a_pod_depends_on_it(
    cluster, migrate, told, namespace, node, pods_on
):
    cluster.kube.create(DAEMON_SETS, daemonset(namespace, required({"matchExpressions": [ELSEWHERE]})))
    pods_on("web")
    deletion = DeleteDaemonSet(namespace, "old-cni", nodes=f"test={namespace}")
    with pytest.raises(ChangeRefusedError) as caught:
        migrate(deletion)
    assert str(caught.value) == (
        f"refused to delete DaemonSet {namespace}/old-cni: 1 pod still depends on it "
        f"({namespace}/web on {node}); drain those nodes first"
    )
    assert told() == ["change-failed"]
    assert cluster.kube.find(DAEMON_SETS, "old-cni", namespace)
    pods_on("web-2", "web-3", "web-4")
    assert "4 pods still depend on it" in deletion.refusal(cluster)
    assert "and 1 more" in deletion.refusal(cluster)


def test_the_old_cni_is_not_deleted_while_a_pod_depends_on_it_on_a_node_that_nobody_thought_of(
    cluster, migrate, namespace, pods_on
):
    """On a node outside the group there is a pod of the DaemonSet all the same: it serves that node too."""
    cluster.kube.create(DAEMON_SETS, daemonset(namespace, required({"matchExpressions": [LINUX]})))
    pods_on("web")
    deletion = DeleteDaemonSet(namespace, "old-cni", nodes="no-such-label")
    eventually(lambda: deletion.refusal(cluster), lambda reason: f"{namespace}/web on " in reason)
    with pytest.raises(ChangeRefusedError, match="drain those nodes first"):
        migrate(deletion)


def test_pods_on_the_hosts_network_do_not_depend_on_it(cluster, migrate, namespace, pods_on):
    cluster.kube.create(DAEMON_SETS, daemonset(namespace, required({"matchExpressions": [ELSEWHERE]})))
    pods_on("proxy", hostNetwork=True)
    migrate(DeleteDaemonSet(namespace, "old-cni", nodes=f"test={namespace}"))
    assert cluster.kube.find(DAEMON_SETS, "old-cni", namespace) is None


def test_undoing_a_deletion_leaves_one_alone_that_somebody_else_has_made(cluster, migrate, namespace):
    elsewhere = required({"matchExpressions": [ELSEWHERE]})
    cluster.kube.create(DAEMON_SETS, daemonset(namespace, elsewhere))
    deletion = DeleteDaemonSet(namespace, "old-cni", nodes="no-such-label")
    migrate(deletion)
    cluster.kube.create(DAEMON_SETS, daemonset(namespace, elsewhere, hostNetwork=True))
    migrate.undo(deletion)
    assert pod_spec(cluster, namespace)["hostNetwork"] is True


# --- network policies --------------------------------------------------------------------------------------

POLICY = {
    "podSelector": {"matchLabels": {"app": "ledger"}},
    "policyTypes": ["Ingress"],
    "ingress": [
        {
            "from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
            "ports": [{"port": 8080, "protocol": "TCP"}],
        }
    ],
}


def policy(namespace):
    metadata = {"name": "ledger", "namespace": namespace, "labels": {"team": "money"}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": POLICY,
    }


def test_a_network_policy_is_held_and_comes_back_word_for_word(cluster, migrate, told, namespace):
    cluster.kube.create(NETWORK_POLICIES, policy(namespace))
    hold = HoldNetworkPolicy(namespace, "ledger")
    migrate(hold, hold)
    assert cluster.kube.list(NETWORK_POLICIES, namespace) == []
    assert told() == ["change-started", "change-done", "change-held"]
    migrate.undo(hold)
    (back,) = cluster.kube.list(NETWORK_POLICIES, namespace)
    assert back["spec"] == POLICY
    assert back["metadata"]["labels"] == {"team": "money"}


def test_a_policy_that_was_never_there_is_not_made_by_putting_it_back(cluster, migrate, namespace):
    migrate(HoldNetworkPolicy(namespace, "ledger"))
    migrate.undo(HoldNetworkPolicy(namespace, "ledger"))
    assert cluster.kube.list(NETWORK_POLICIES, namespace) == []


def test_a_policy_that_somebody_has_put_back_is_not_overwritten(cluster, migrate, namespace):
    cluster.kube.create(NETWORK_POLICIES, policy(namespace))
    hold = HoldNetworkPolicy(namespace, "ledger")
    migrate(hold)
    theirs = policy(namespace) | {"spec": {"podSelector": {}, "policyTypes": ["Egress"]}}
    cluster.kube.create(NETWORK_POLICIES, theirs)
    migrate.undo(hold)
    assert cluster.kube.get(NETWORK_POLICIES, "ledger", namespace)["spec"]["policyTypes"] == ["Egress"]


# --- manifests ---------------------------------------------------------------------------------------------


def config(namespace, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "probe", "namespace": namespace},
        "data": data,
    }


def test_an_object_is_created_once_and_removed_again(cluster, migrate, told, namespace):
    change = ApplyObject(config(namespace, a="1"))
    assert change.describe() == f"apply ConfigMap {namespace}/probe"
    migrate(change, change)
    assert cluster.kube.get(CONFIG_MAPS, "probe", namespace)["data"] == {"a": "1"}
    assert told() == ["change-started", "change-done", "change-held"]
    migrate.undo(change)
    assert cluster.kube.find(CONFIG_MAPS, "probe", namespace) is None
    migrate.undo(change)  # nothing is left to undo
    assert told()[-1] == "change-undone"


def test_an_object_that_was_there_says_again_what_it_said(cluster, migrate, namespace):
    before = config(namespace, a="0", b="kept") | {
        "metadata": {"name": "probe", "namespace": namespace, "labels": {"x": "y"}}
    }
    migrate(ApplyObject(before))
    change = ApplyObject(config(namespace, a="1", c="new"))
    migrate(change)
    assert cluster.kube.get(CONFIG_MAPS, "probe", namespace)["data"]["a"] == "1"
    migrate.undo(change)
    after = cluster.kube.get(CONFIG_MAPS, "probe", namespace)
    assert after["data"] == {"a": "0", "b": "kept"}
    assert after["metadata"]["labels"] == {"x": "y"}


def test_an_object_that_was_removed_meanwhile_is_made_anew_by_the_undo(cluster, migrate, namespace):
    migrate(ApplyObject(config(namespace, a="0")))
    change = ApplyObject(config(namespace, a="1"))
    migrate(change)
    cluster.kube.delete(CONFIG_MAPS, "probe", namespace)
    migrate.undo(change)
    assert cluster.kube.get(CONFIG_MAPS, "probe", namespace)["data"] == {"a": "0"}


def test_a_secret_comes_back_whole_and_is_not_in_the_journal(cluster, migrate, journal, namespace):
    metadata = {"name": "probe", "namespace": namespace}
    before = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"key": "dDBwLXMzY3JldA=="}}
    cluster.kube.create(SECRETS, before)
    change = ApplyObject(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"more": "bmV3"}}
    )
    migrate(change)
    migrate.undo(change)
    assert cluster.kube.get(SECRETS, "probe", namespace)["data"] == {"key": "dDBwLXMzY3JldA=="}
    assert b"dDBwLXMzY3JldA" not in journal.path.read_bytes()


@pytest.fixture
def probe(namespace):
    """A Deployment's manifest, by image."""
    labels = {"app": "probe"}

    def manifest(image):
        containers = [{"name": "main", "image": f"registry.example/{image}"}]
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "probe", "namespace": namespace},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
            },
        }

    return manifest


def test_a_deployment_is_put_back_and_can_be_applied_again(cluster, migrate, namespace, probe):
    migrate(ApplyObject(probe("probe:1")))
    before = cluster.kube.get(DEPLOYMENTS, "probe", namespace)["spec"]
    change = ApplyObject(probe("probe:2"))
    for _ in range(2):
        migrate(change)
        assert cluster.kube.get(DEPLOYMENTS, "probe", namespace)["spec"] != before
        migrate.undo(change)
        assert cluster.kube.get(DEPLOYMENTS, "probe", namespace)["spec"] == before


def test_what_somebody_else_has_set_is_not_taken_from_them(cluster, migrate, namespace, probe):
    created = subprocess.run(
        ["kubectl", "--kubeconfig", cluster.kubeconfig, "create", "--field-manager=gitops", "-f", "-"],
        input=json.dumps(probe("probe:1")),
        text=True,
        capture_output=True,
        check=False,
    )
    assert created.returncode == 0, created.stderr
    with pytest.raises(ChangeError, match=r'could not apply Deployment .*conflict with "gitops"'):
        migrate(ApplyObject(probe("probe:2")))
    template = cluster.kube.get(DEPLOYMENTS, "probe", namespace)["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "registry.example/probe:1"


def test_an_object_of_the_cluster_is_applied_too(cluster, migrate, namespace):
    change = ApplyObject(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": f"probe-{namespace}"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
        }
    )
    assert change.describe() == f"apply ClusterRole probe-{namespace}"
    migrate(change)
    assert change.holds(cluster)
    migrate.undo(change)
    with pytest.raises(NotFound):
        cluster.kube.get(CLUSTER_ROLES, f"probe-{namespace}")


def test_a_kind_that_the_server_does_not_know_is_named(migrate, namespace):
    unknown = {
        "apiVersion": "v1",
        "kind": "ConfigMapp",
        "metadata": {"name": "probe", "namespace": namespace},
    }
    with pytest.raises(ChangeError, match="the server does not serve ConfigMapp in v1"):
        migrate(ApplyObject(unknown))


@pytest.mark.parametrize(
    ("wanted", "present"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": None}, {}),
        ({"a": {}, "b": []}, {}),
        ({"a": [{"x": 1}]}, {"a": [{"x": 1, "y": 2}]}),
    ],
)
def test_what_the_server_has_added_is_no_difference(wanted, present):
    assert is_contained(wanted, present)


@pytest.mark.parametrize(
    ("wanted", "present"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": {"b": 1}}, {"a": None}),
        ({"a": [1]}, {"a": [1, 2]}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": []}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": "b"}),
    ],
)
def test_what_the_manifest_says_otherwise_is_a_difference(wanted, present):
    assert not is_contained(wanted, present)


@pytest.mark.parametrize(
    "change",
    [
        FenceDaemonSet("kube-system", "aws-node", "cni", "aws-cni"),
        DeleteDaemonSet("kube-system", "aws-node", nodes="a=b"),
        HoldNetworkPolicy("shop", "ledger"),
        ApplyObject(config("shop", a="1")),
    ],
)
def test_a_change_can_be_read_back_from_the_journal(change):
    assert change_from(change.kind, json.loads(json.dumps(change.parameters))) == change
