"""A large cluster answers quickly."""

from __future__ import annotations

import time

from apiserver_rig import Cluster
from apiserver_samples import node, pod

from pytest_cnimigrate.model.resources import NODES, PODS
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer


def test_a_thousand_nodes_and_ten_thousand_pods_are_listed_quickly(cluster: Cluster) -> None:
    """The promise is about the order of magnitude: a lost cache or index costs a hundred times as much."""

    def fill(server: ApiServer) -> None:
        for index in range(1_000):
            server.create(NODES, node(f"n{index}"))
        for index in range(10_000):
            server.create(PODS, pod(f"p{index}", nodeName=f"n{index % 1_000}"), "default")

    cluster.inside(fill)
    with cluster.client() as client:
        headers = {"Authorization": f"Bearer {cluster.http.credentials.token}"}

        def seconds(path: str, repeat: int) -> float:
            start = time.perf_counter()
            for _ in range(repeat):
                client.call_api("GET", f"{cluster.http.url}{path}", header_params=headers).read()
            return (time.perf_counter() - start) / repeat

        assert seconds("/api/v1/nodes/n5", 50) < 0.02
        assert seconds("/api/v1/pods?fieldSelector=spec.nodeName%3Dn5", 50) < 0.02
        seconds("/api/v1/pods", 1)  # the first list makes the JSON of every pod
        assert seconds("/api/v1/pods", 2) < 1.0
