"""Addresses behind Services, and load balancers in front of them."""

from __future__ import annotations

import re

from straw_cluster import Cluster, bare_pod, template, workload

from pytest_cnimigrate.model.objects import Object, labels_of, name_of, namespace_of
from pytest_cnimigrate.model.resources import DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from pytest_cnimigrate.simulator.controllers.endpoints import MANAGED_BY

PORTS = [{"name": "http", "containerPort": 8080}]


def service(name: str = "web", **spec: object) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    body = {"selector": {"app": "web"}, "ports": ports, **spec}
    metadata = {"name": name, "namespace": "default", "labels": {"team": "net"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body}


def slices(cluster: Cluster, name: str = "web") -> list[Object]:
    return cluster.all(ENDPOINT_SLICES, labels=f"kubernetes.io/service-name={name}")


def endpoints(cluster: Cluster, name: str = "web") -> list[Object]:
    return [endpoint for each in slices(cluster, name) for endpoint in each.get("endpoints") or ()]


def addresses(cluster: Cluster, kind: str = "addresses") -> list[str]:
    if not cluster.exists(ENDPOINTS, "web"):
        return []
    subsets = cluster.get(ENDPOINTS, "web").get("subsets") or ()
    return [address["ip"] for subset in subsets for address in subset.get(kind) or ()]


async def serve(cluster: Cluster, replicas: int = 2, **spec: object) -> None:
    await cluster.create(SERVICES, service(**spec))
    body = workload(DEPLOYMENTS, "web", replicas=replicas, pod=template("web", ports=PORTS))
    await cluster.create(DEPLOYMENTS, body)
    await cluster.until(
        lambda: [e["conditions"]["ready"] for e in endpoints(cluster)] == [True] * replicas, "endpoints"
    )


async def test_ready_pods_are_listed_in_the_recorded_shape(cluster: Cluster) -> None:
    await cluster.add_node("node", labels={"topology.kubernetes.io/zone": "eu-west-1a"})
    await serve(cluster, 1)
    (pod,) = cluster.running("web")
    (found,) = slices(cluster)
    assert found["addressType"] == "IPv4"
    assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert found["endpoints"] == [
        {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "node",
            "targetRef": {
                "kind": "Pod",
                "name": name_of(pod),
                "namespace": namespace_of(pod),
                "uid": pod["metadata"]["uid"],
            },
            "zone": "eu-west-1a",
        }
    ]
    assert labels_of(found) == {
        "team": "net",
        MANAGED_BY: "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": "web",
    }
    await cluster.until(lambda: addresses(cluster) == [pod["status"]["podIP"]], "Endpoints")


async def test_the_slice_made_empty_with_the_service_is_used_for_its_first_endpoints(
    cluster: Cluster,
) -> None:
    await cluster.add_nodes(1)
    await cluster.create(SERVICES, service())
    await cluster.until(lambda: slices(cluster), "an empty slice")
    (empty,) = slices(cluster)
    await cluster.create(PODS, bare_pod("a", labels={"app": "web"}, ports=PORTS))
    await cluster.until(lambda: endpoints(cluster), "an endpoint")
    assert [name_of(each) for each in slices(cluster)] == [name_of(empty)]


async def test_a_terminating_pod_still_serves_but_is_not_ready(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await serve(cluster)
    cluster.kubelet.stop_delay = 0.1
    leaving = cluster.running("web")[0]
    await cluster.api.delete(PODS, name_of(leaving), "default")

    def conditions() -> list[Object]:
        found = endpoints(cluster)
        return [e["conditions"] for e in found if e["targetRef"]["name"] == name_of(leaving)]

    expected = [{"ready": False, "serving": True, "terminating": True}]
    await cluster.until(lambda: conditions() == expected, "terminating")
    await cluster.until(lambda: leaving["status"]["podIP"] not in addresses(cluster), "out of the Endpoints")
    await cluster.until(lambda: not conditions(), "gone")


async def test_unready_pods_are_listed_apart(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await serve(cluster)
    sick = cluster.running("web")[0]
    await cluster.kubelet.set_ready(sick, False)
    await cluster.until(
        lambda: addresses(cluster, "notReadyAddresses") == [sick["status"]["podIP"]], "not ready"
    )
    assert len(addresses(cluster)) == 1


async def test_headless_services_that_publish_unready_addresses_do(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await serve(cluster, clusterIP="None", publishNotReadyAddresses=True)
    await cluster.kubelet.set_ready(cluster.running("web")[0], False)
    await cluster.until(
        lambda: (
            sorted((e["conditions"]["ready"], e["conditions"]["serving"]) for e in endpoints(cluster))
            == [(True, False), (True, True)]
        ),
        "both published",
    )
    assert "service.kubernetes.io/headless" in labels_of(slices(cluster)[0])


async def test_pods_that_differ_in_a_named_port_get_slices_of_their_own(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await cluster.create(SERVICES, service())
    for name, number in (("a", 8080), ("b", 9090)):
        ports = [{"name": "http", "containerPort": number}]
        await cluster.create(PODS, bare_pod(name, labels={"app": "web"}, ports=ports))
    await cluster.until(
        lambda: (
            sorted(each["ports"][0]["port"] for each in slices(cluster) if each["endpoints"]) == [8080, 9090]
        ),
        "two slices",
    )


async def test_slices_hold_a_hundred_endpoints_and_are_filled_up(cluster: Cluster) -> None:
    await cluster.add_node("node", cpu="100", pods=200)
    await serve(cluster, 120)
    sizes = sorted(len(each["endpoints"]) for each in slices(cluster))
    assert sizes == [20, 100]
    await cluster.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}})
    await cluster.until(lambda: len(endpoints(cluster)) == 1, "one left")
    await cluster.until(lambda: len(slices(cluster)) <= 2, "no more slices than before")


async def test_a_service_that_is_deleted_leaves_nothing(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    await serve(cluster, 1)
    await cluster.until(lambda: cluster.exists(ENDPOINTS, "web"), "Endpoints")
    await cluster.api.delete(SERVICES, "web", "default")
    await cluster.until(lambda: not slices(cluster) and not cluster.exists(ENDPOINTS, "web"), "all gone")


async def test_a_load_balancer_gets_an_aws_name_after_a_while_and_is_cleaned_up(cluster: Cluster) -> None:
    await cluster.add_node("node", labels={"topology.kubernetes.io/region": "eu-central-1"})
    await cluster.create(SERVICES, service(type="LoadBalancer"))
    assert not cluster.get(SERVICES, "web")["status"]["loadBalancer"]

    def ingress() -> list[Object]:
        return cluster.get(SERVICES, "web")["status"]["loadBalancer"].get("ingress") or []

    await cluster.until(ingress, "the name")
    assert re.fullmatch(r"a[0-9a-f]{31}-\d+\.eu-central-1\.elb\.amazonaws\.com", ingress()[0]["hostname"])
    await cluster.until(
        lambda: cluster.events("EnsuredLoadBalancer") == ["Ensured load balancer"], "the event"
    )
    await cluster.patch(SERVICES, "web", {"spec": {"type": "ClusterIP"}})
    await cluster.until(lambda: not ingress(), "the name gone")
    await cluster.until(
        lambda: not cluster.get(SERVICES, "web")["metadata"].get("finalizers"), "the finalizer gone"
    )


async def test_a_deleted_load_balancer_service_goes(cluster: Cluster) -> None:
    await cluster.create(SERVICES, service(type="LoadBalancer"))
    await cluster.until(lambda: cluster.get(SERVICES, "web")["metadata"].get("finalizers"), "the finalizer")
    await cluster.api.delete(SERVICES, "web", "default")
    await cluster.until(lambda: not cluster.exists(SERVICES, "web"), "gone")


async def test_a_load_balancer_of_another_class_is_left_to_its_controller(cluster: Cluster) -> None:
    await cluster.create(SERVICES, service(type="LoadBalancer", loadBalancerClass="io.cilium/l2"))
    await cluster.settled()
    assert not cluster.get(SERVICES, "web")["metadata"].get("finalizers")
