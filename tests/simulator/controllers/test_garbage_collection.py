"""Owners and dependents, namespaces, and what goes when."""

from __future__ import annotations

from straw_cluster import Cluster, bare_pod, workload

from pytest_cnimigrate.model.objects import Object, condition, name_of, owner_reference
from pytest_cnimigrate.model.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    Resource,
)

WIDGETS = Resource("example.com", "v1", "widgets", "Widget")


def config_map(name: str, *owners: Object, namespace: str = "default") -> Object:
    references = [owner_reference(owner, controller=False) for owner in owners]
    metadata = {"name": name, "namespace": namespace, "ownerReferences": references}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def test_a_dependent_goes_when_its_last_owner_goes(cluster: Cluster) -> None:
    first = await cluster.create(CONFIG_MAPS, config_map("first"))
    second = await cluster.create(CONFIG_MAPS, config_map("second"))
    await cluster.create(CONFIG_MAPS, config_map("both", first, second))
    await cluster.api.delete(CONFIG_MAPS, "first", "default")
    await cluster.until(
        lambda: len(cluster.get(CONFIG_MAPS, "both")["metadata"]["ownerReferences"]) == 1, "one owner left"
    )
    await cluster.api.delete(CONFIG_MAPS, "second", "default")
    await cluster.until(lambda: not cluster.exists(CONFIG_MAPS, "both"), "the dependent gone")


async def test_an_object_whose_owner_never_was_is_collected(cluster: Cluster) -> None:
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "never"}}
    await cluster.create(CONFIG_MAPS, config_map("haunted", ghost))
    await cluster.until(lambda: not cluster.exists(CONFIG_MAPS, "haunted"), "collected")


async def test_an_owner_of_the_same_name_but_another_uid_does_not_count(cluster: Cluster) -> None:
    owner = await cluster.create(CONFIG_MAPS, config_map("owner"))
    impostor = {**owner, "metadata": {**owner["metadata"], "uid": "other"}}
    await cluster.create(CONFIG_MAPS, config_map("child", impostor))
    await cluster.until(lambda: not cluster.exists(CONFIG_MAPS, "child"), "collected")


async def test_foreground_deletion_waits_for_the_dependents(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=2))
    await cluster.until(lambda: len(cluster.ready("web")) == 2, "two replicas")
    cluster.kubelet.stop_delay = 0.1
    order: list[str] = []
    for resource in (DEPLOYMENTS, REPLICA_SETS, PODS):
        cluster.informers.of(resource).add_handler(
            lambda old, new, plural=resource.plural: order.append(plural) if new is None else None
        )
    await cluster.api.delete(DEPLOYMENTS, "web", "default", propagation_policy="Foreground")
    await cluster.until(lambda: not cluster.exists(DEPLOYMENTS, "web"), "the Deployment gone")
    await cluster.until(lambda: len(order) == 4, "all reported")
    assert order == ["pods", "pods", "replicasets", "deployments"]


async def test_orphaning_leaves_the_dependents_free(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(DEPLOYMENTS, workload(DEPLOYMENTS, "web", replicas=1))
    await cluster.until(lambda: len(cluster.ready("web")) == 1, "a replica")
    await cluster.api.delete(DEPLOYMENTS, "web", "default", propagation_policy="Orphan")
    await cluster.until(lambda: not cluster.exists(DEPLOYMENTS, "web"), "the Deployment gone")
    await cluster.settled()
    (replica_set,) = cluster.all(REPLICA_SETS)
    assert not replica_set["metadata"].get("ownerReferences")
    assert len(cluster.ready("web")) == 1


async def test_the_lease_of_a_deleted_node_goes(cluster: Cluster) -> None:
    node = await cluster.add_node("node")
    reference = owner_reference(node, controller=False)
    patch = {"metadata": {"ownerReferences": [reference]}}
    await cluster.until(lambda: cluster.exists(LEASES, "node", "kube-node-lease"), "a lease")
    await cluster.api.patch(LEASES, "node", patch, "kube-node-lease")
    cluster.kubelet.silent.add("node")
    await cluster.api.delete(NODES, "node")
    await cluster.until(lambda: not cluster.exists(LEASES, "node", "kube-node-lease"), "the lease gone")


async def test_custom_objects_are_collected_with_their_pods(cluster: Cluster) -> None:
    """CiliumEndpoints belong to pods: this is how they go."""
    definition = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    await cluster.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
    await cluster.until(
        lambda: condition(cluster.get(CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.com"), "Established"),
        "the definition established",
    )
    pod = await cluster.create(PODS, bare_pod("web"))
    metadata = {"name": "web", "namespace": "default", "ownerReferences": [owner_reference(pod)]}
    await cluster.create(WIDGETS, {"metadata": metadata})
    await cluster.api.delete(PODS, "web", "default")
    await cluster.until(lambda: not cluster.exists(WIDGETS, "web"), "the widget gone")


async def test_a_new_namespace_gets_its_service_account(cluster: Cluster) -> None:
    await cluster.create(NAMESPACES, {"metadata": {"name": "shop"}})
    await cluster.until(lambda: cluster.exists(SERVICE_ACCOUNTS, "default", "shop"), "the service account")
    await cluster.api.delete(SERVICE_ACCOUNTS, "default", "shop")
    await cluster.until(lambda: cluster.exists(SERVICE_ACCOUNTS, "default", "shop"), "it again")


async def test_deleting_a_namespace_empties_it_first(cluster: Cluster) -> None:
    await cluster.create(NAMESPACES, {"metadata": {"name": "shop"}})
    await cluster.create(CONFIG_MAPS, config_map("free", namespace="shop"))
    held = config_map("held", namespace="shop")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await cluster.create(CONFIG_MAPS, held)
    await cluster.api.delete(NAMESPACES, "shop")

    def remaining() -> Object:
        return condition(cluster.get(NAMESPACES, "shop"), "NamespaceContentRemaining") or {}

    await cluster.until(remaining, "what keeps it")
    assert remaining()["message"] == ("Some resources are remaining: configmaps has 1 resource instances")
    assert [name_of(each) for each in cluster.all(CONFIG_MAPS, "shop")] == ["held"]
    await cluster.api.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, "shop")
    await cluster.until(lambda: not cluster.exists(NAMESPACES, "shop"), "the namespace gone")
