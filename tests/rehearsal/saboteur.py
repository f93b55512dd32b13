"""A pytest plugin that breaks something in the cluster right before one test of a scenario.

`CNIMIGRATE_TEST_SABOTAGE` names what to break, `CNIMIGRATE_TEST_BEFORE` the test before which to do it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from pytest_cnimigrate.model.objects import name_of
from pytest_cnimigrate.model.resources import (
    CONFIG_MAPS,
    DAEMON_SETS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    NODES,
    PODS,
    ROLES,
)
from pytest_cnimigrate.observe.waiting import NotYet, Ready, wait_for
from pytest_cnimigrate.providers.cluster import Cluster

OLD, NEW = "ng-1", "ng-cilium"


def _nodes(cluster: Cluster, group: str) -> list[str]:
    selector = cluster.node_groups.selector(group)
    return [name_of(node) for node in cluster.kube.list(NODES, label_selector=selector)]


def _until(condition: Callable[[], bool]) -> None:
    wait_for(
        lambda: Ready(None) if condition() else NotYet("not yet"),
        what="the sabotage to be done",
        timeout=20,
        interval=0.02,
    )


def a_pod_without_a_controller(cluster: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "by-hand"},
        "spec": {"containers": [{"name": "main", "image": "registry.example/by-hand:1"}]},
    }
    cluster.kube.create(PODS, pod, "shop")
    _until(lambda: "nodeName" in cluster.kube.get(PODS, "by-hand", "shop")["spec"])


def a_second_cni(cluster: Cluster) -> None:
    labels = {"k8s-app": "calico-node"}
    containers = [{"name": "calico-node", "image": "registry.example/calico/node:3"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    daemonset = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "calico-node"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    cluster.kube.create(DAEMON_SETS, daemonset, "kube-system")


def _daemonset(name: str, **pod_spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    containers = [{"name": "main", "image": f"registry.example/{name}:1", **pod_spec.pop("container", {})}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers, **pod_spec}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template}}


def a_daemonset_that_is_pinned_to_the_old_group(cluster: Cluster) -> None:
    daemonset = _daemonset("logs", nodeSelector={"eks.amazonaws.com/nodegroup": OLD})
    cluster.kube.create(DAEMON_SETS, daemonset, "shop")
    _until(lambda: any("nodeName" in pod["spec"] for pod in _pods(cluster, "app=logs")))


def a_daemonset_that_does_not_fit(cluster: Cluster) -> None:
    daemonset = _daemonset("heavy", container={"resources": {"requests": {"cpu": "1000"}}})
    cluster.kube.create(DAEMON_SETS, daemonset, "shop")
    _until(lambda: bool(_pods(cluster, "app=heavy")))


def _pods(cluster: Cluster, selector: str) -> list[dict[str, Any]]:
    return cluster.kube.list(PODS, "shop", label_selector=selector)


def a_pod_that_does_not_fit(cluster: Cluster) -> None:
    resources = {"requests": {"cpu": "1000"}}
    container = {"name": "main", "image": "registry.example/kafka:1", "resources": resources}
    pod = {"metadata": {"name": "kafka-0"}, "spec": {"containers": [container]}}
    cluster.kube.create(PODS, pod, "shop")


def a_policy_that_nobody_holds(cluster: Cluster) -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny-all"},
        "spec": {"podSelector": {}},
    }
    cluster.kube.create(NETWORK_POLICIES, policy, "shop")


def a_budget_that_allows_nothing(cluster: Cluster) -> None:
    patch = {"spec": {"minAvailable": 4}}
    cluster.kube.patch(DISRUPTION_BUDGETS, "storefront", patch, "shop")


def the_group_loses_its_label(cluster: Cluster) -> None:
    cluster.node_groups.label(OLD, add={}, remove=("cni",))
    # An update of a group takes a while to show.
    _until(lambda: "cni" not in getattr(cluster.node_groups.find(OLD), "labels", {}))


def the_probe_may_not_list_pods(cluster: Cluster) -> None:
    cluster.kube.patch(ROLES, "goldpinger-role", {"rules": []}, "default")


def a_node_loses_the_fence_label(cluster: Cluster) -> None:
    cluster.kube.patch(NODES, _nodes(cluster, OLD)[0], {"metadata": {"labels": {"cni": None}}})


def a_new_node_loses_its_taint(cluster: Cluster) -> None:
    cluster.kube.patch(NODES, _nodes(cluster, NEW)[0], {"spec": {"taints": None}})


def the_cilium_cli_patches_the_old_cni(cluster: Cluster) -> None:
    selector = {"nodeSelector": {"io.cilium/aws-node-enabled": "true"}}
    cluster.kube.patch(DAEMON_SETS, "aws-node", {"spec": {"template": {"spec": selector}}}, "kube-system")


def a_node_is_uncordoned(cluster: Cluster) -> None:
    cluster.kube.patch(NODES, _nodes(cluster, OLD)[0], {"spec": {"unschedulable": None}})


def the_policy_is_deleted_again(cluster: Cluster) -> None:
    cluster.kube.delete(NETWORK_POLICIES, "ledger-ingress", "shop")


def a_pod_comes_back_to_an_old_node(cluster: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "late"},
        "spec": {
            "nodeName": _nodes(cluster, OLD)[0],
            "containers": [{"name": "main", "image": "registry.example/late:1"}],
        },
    }
    cluster.kube.create(PODS, pod, "shop")


def the_watcher_is_switched_off_again(cluster: Cluster) -> None:
    patch = {"data": {"unmanaged-pod-watcher-interval": "0"}}
    cluster.kube.patch(CONFIG_MAPS, "cilium-config", patch, "kube-system")


def a_label_of_ours_is_left(cluster: Cluster) -> None:
    cluster.kube.patch(NODES, _nodes(cluster, NEW)[0], {"metadata": {"labels": {"cni": "aws-cni"}}})


def a_fault(name: str) -> Any:
    def switch_on(cluster: Cluster) -> None:
        import requests
        import yaml

        kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())
        token = kubeconfig["users"][0]["user"]["token"]
        answer = requests.post(
            f"{cluster.server}/simulator/faults",
            json={"name": name},
            headers={"Authorization": f"Bearer {token}"},
            verify=_authority(cluster, kubeconfig),
            timeout=10,
        )
        answer.raise_for_status()

    return switch_on


def _authority(cluster: Cluster, kubeconfig: Any) -> str | bool:
    import base64

    data = kubeconfig["clusters"][0]["cluster"].get("certificate-authority-data")
    if data is None:
        return True
    path = cluster.kubeconfig.with_name("authority.pem")
    path.write_bytes(base64.b64decode(data))
    return str(path)


def _sabotage(name: str) -> Any:
    return a_fault(name.removeprefix("fault:")) if name.startswith("fault:") else globals()[name]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    if item.name == os.environ["CNIMIGRATE_TEST_BEFORE"]:
        request = item._request  # type: ignore[attr-defined]
        _sabotage(os.environ["CNIMIGRATE_TEST_SABOTAGE"])(request.getfixturevalue("worksite"))
