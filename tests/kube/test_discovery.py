"""From what a manifest says (apiVersion and kind) to where the server keeps such objects."""

from __future__ import annotations

import pytest

from pytest_cnimigrate.kube.errors import NotServed, ServerError
from pytest_cnimigrate.model.resources import DAEMON_SETS, SERVICE_ACCOUNTS, Resource

APPS = {
    "kind": "APIResourceList",
    "groupVersion": "apps/v1",
    "resources": [
        {"name": "daemonsets/status", "kind": "DaemonSet", "namespaced": True},
        {"name": "daemonsets", "kind": "DaemonSet", "namespaced": True},
        {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
    ],
}


def test_a_kind_of_a_group_is_found_and_its_subresources_are_not_taken_for_it(api, client):
    api.will(api.json(APPS))
    assert client.resource_of("apps/v1", "DaemonSet") == DAEMON_SETS
    assert api.seen[0].path == "/apis/apps/v1"


def test_a_kind_of_the_core_group_is_found(api, client):
    api.will(
        api.json({"resources": [{"name": "serviceaccounts", "kind": "ServiceAccount", "namespaced": True}]})
    )
    assert client.resource_of("v1", "ServiceAccount") == SERVICE_ACCOUNTS
    assert api.seen[0].path == "/api/v1"


def test_a_kind_of_the_cluster_is_known_as_such(api, client):
    api.will(api.json({"resources": [{"name": "ciliumnodes", "kind": "CiliumNode", "namespaced": False}]}))
    found = client.resource_of("cilium.io/v2", "CiliumNode")
    assert found == Resource("cilium.io", "v2", "ciliumnodes", "CiliumNode", namespaced=False)


def test_what_has_been_found_is_not_asked_for_again(api, client):
    api.will(api.json(APPS))
    assert client.resource_of("apps/v1", "DaemonSet") is client.resource_of("apps/v1", "DaemonSet")
    assert len(api.seen) == 1


@pytest.mark.parametrize(("kind", "why"), [("Scale", "only a subresource"), ("DeamonSet", "misspelt")])
def test_a_kind_that_is_not_served_is_named(api, client, kind, why):
    api.will(api.json(APPS))
    with pytest.raises(NotServed, match=rf"does not serve {kind} in apps/v1.*CustomResourceDefinition"):
        client.resource_of("apps/v1", kind)


def test_a_group_that_is_not_served_may_be_there_the_next_time(api, client):
    api.will(
        api.text("404 page not found", 404),
        api.json({"resources": [{"name": "ciliumnodes", "kind": "CiliumNode", "namespaced": False}]}),
    )
    with pytest.raises(NotServed, match=r"does not serve CiliumNode in cilium\.io/v2"):
        client.resource_of("cilium.io/v2", "CiliumNode")
    assert client.resource_of("cilium.io/v2", "CiliumNode").plural == "ciliumnodes"


def test_a_server_in_trouble_is_not_taken_for_one_that_lacks_the_kind(api, tmp_path):
    from pytest_cnimigrate.kube.retrying import RetryPolicy

    api.will(api.status(500, "InternalError"))
    with api.client(tmp_path, retries=RetryPolicy(attempts=1)) as client, pytest.raises(ServerError):
        client.resource_of("apps/v1", "DaemonSet")
