"""Reading: what is asked of the server, and what comes back."""

from __future__ import annotations

import pytest

from pytest_cnimigrate.kube.client import KubeClient
from pytest_cnimigrate.kube.errors import MutationRefusedError, PodUnreachable
from pytest_cnimigrate.kube.retrying import Timeouts
from pytest_cnimigrate.model.resources import (
    CILIUM_NODE_CONFIGS,
    CILIUM_NODES,
    DAEMON_SETS,
    NODES,
    PODS,
    SERVICES,
)


def test_an_object_comes_back_as_the_plain_json_that_the_server_sent(api, client):
    odd = {"metadata": {"name": "a"}, "spec": {"unknownToTheTypedClient": [1]}}
    api.will(api.json(odd))
    assert client.get(DAEMON_SETS, "aws-node", "kube-system") == odd
    assert api.seen[0].path == "/apis/apps/v1/namespaces/kube-system/daemonsets/aws-node"


def test_requests_are_authenticated_and_name_the_tool(api, client):
    api.will(api.json({}))
    client.get(NODES, "a")
    assert api.seen[0].headers["authorization"] == "Bearer very-secret-token"
    assert api.seen[0].headers["User-Agent"].startswith("pytest-cnimigrate/")


def test_names_with_special_characters_address_one_object(api, client):
    api.will(api.json({}))
    client.get(NODES, "a/b?c")
    assert api.seen[0].path == "/api/v1/nodes/a%2Fb%3Fc"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_address_something_else_is_refused(client, api, name):
    with pytest.raises(ValueError, match="no name of an object"):
        client.get(NODES, name)
    assert api.seen == []


def test_a_pod_without_a_namespace_is_refused_before_anything_is_sent(api, client):
    with pytest.raises(ValueError, match="Pod 'x' lives in a namespace"):
        client.get(PODS, "x")
    assert api.seen == []


def test_find_tells_absence_by_none(api, client):
    api.will(api.status(404, "NotFound", 'nodes "a" not found', details={"name": "a"}))
    api.will(api.text("404 page not found", 404))
    assert client.find(NODES, "a") is None
    assert client.find(CILIUM_NODES, "a") is None


def test_a_long_list_is_read_page_by_page_and_its_items_are_whole_objects(api, client):
    api.will(
        api.json({"metadata": {"resourceVersion": "7", "continue": "t1"}, "items": [{"metadata": {}}]}),
        api.json({"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]}),
    )
    found = client.list(PODS, "default", label_selector="a=b,c", field_selector="spec.nodeName=n")
    assert [item["kind"] for item in found] == ["Pod", "Pod"]
    assert [item["apiVersion"] for item in found] == ["v1", "v1"]
    assert api.seen[0].query == {
        "labelSelector": "a=b,c",
        "fieldSelector": "spec.nodeName=n",
        "limit": "500",
    }
    assert api.seen[1].query["continue"] == "t1"
    assert api.seen[1].query["labelSelector"] == "a=b,c"


def test_a_list_whose_pages_expire_is_read_again_in_one_piece(api, client):
    api.will(
        api.json({"metadata": {"continue": "t1"}, "items": [{"metadata": {"name": "old"}}]}),
        api.status(410, "Expired", "The provided continue parameter is too old"),
        api.json({"metadata": {}, "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}),
    )
    assert [item["metadata"]["name"] for item in client.list(NODES)] == ["a", "b"]
    assert api.seen[2].query == {}


def test_a_pods_answer_through_the_proxy_is_an_answer_whatever_its_status(api, client):
    api.will(api.json({"OK": False}, 418))
    answer = client.proxy_pod("goldpinger-x", "default", port=8080, path="/cluster_health?a=1")
    assert (answer.status, answer.body) == (418, b'{"OK": false}')
    assert answer.headers["content-type"] == "application/json"
    assert api.seen[0].path == "/api/v1/namespaces/default/pods/goldpinger-x:8080/proxy/cluster_health"
    assert api.seen[0].query == {"a": "1"}


def test_a_pods_own_503_is_not_taken_for_the_api_servers(api, client):
    api.will(api.text("passive", 503))
    assert client.proxy_pod("p", "default", port=8080).status == 503
    assert len(api.seen) == 1


@pytest.mark.parametrize("plain", [True, False])
def test_a_pod_that_the_api_server_cannot_reach_is_told_from_a_pod_that_fails(api, client, plain):
    words = "error trying to reach service: dial tcp 10.0.0.1:8080: i/o timeout"
    api.will(api.text(words, 503) if plain else api.status(503, "ServiceUnavailable", words))
    with pytest.raises(PodUnreachable, match="i/o timeout") as caught:
        client.proxy_service("goldpinger", "default", port="http", path="/check")
    assert caught.value.retriable
    assert "service default/goldpinger:http/check" in str(caught.value)
    assert len(api.seen) == 1


def test_logs_are_text(api, client):
    api.will(api.text("a\nb\n", 200))
    assert client.logs("p", "default", container="c", previous=True, tail=2) == "a\nb\n"
    assert api.seen[0].query == {"container": "c", "previous": "true", "tailLines": "2"}


def test_asking_for_rights_and_for_oneself(api, client):
    api.will(
        api.json({"status": {"allowed": True}}, 201),
        api.json({"status": {"userInfo": {"username": "ops", "groups": ["system:masters"]}}}, 201),
    )
    reader = client.read_only()
    assert reader.can_i("create", PODS, "a", "b", subresource="eviction")
    assert api.seen[0].body["spec"]["resourceAttributes"] == {
        "verb": "create",
        "version": "v1",
        "resource": "pods",
        "subresource": "eviction",
        "name": "a",
        "namespace": "b",
    }
    assert reader.who_am_i().name == "ops"


def test_the_servers_version_may_carry_a_plus(api, client):
    api.will(api.json({"major": "1", "minor": "33+", "gitVersion": "v1.33.4-eks-99bf7"}))
    version = client.server_version()
    assert (version.major, version.minor, version.git_version) == (1, 33, "v1.33.4-eks-99bf7")
    assert api.seen[0].path == "/version"


def test_discovery_says_which_version_of_a_resource_is_served(api, client):
    api.will(
        api.json({"resources": [{"name": "ciliumnodes"}, {"name": "ciliumnodeconfigs/status"}]}),
        api.text("404 page not found", 404),
        api.json({"preferredVersion": {"version": "v2alpha1"}}),
        api.text("404 page not found", 404),
    )
    assert not client.serves(CILIUM_NODE_CONFIGS)
    assert not client.serves(CILIUM_NODE_CONFIGS)
    assert client.preferred_version("cilium.io") == "v2alpha1"
    assert client.preferred_version("cilium.io") is None
    assert [request.path for request in api.seen[:2]] == ["/apis/cilium.io/v2"] * 2


def _mutations(client):
    pod = {"metadata": {"name": "p", "namespace": "default"}}
    return {
        "create": lambda: client.create(PODS, pod),
        "replace": lambda: client.replace(PODS, pod),
        "patch": lambda: client.patch(PODS, "p", {}, "default"),
        "apply": lambda: client.apply(PODS, pod),
        "delete": lambda: client.delete(PODS, "p", "default"),
        "evict": lambda: client.evict("p", "default"),
    }


def test_a_reader_has_no_verb_that_changes_anything(client):
    reader = client.read_only()
    assert [verb for verb in _mutations(client) if hasattr(reader, verb)] == []


@pytest.mark.parametrize("verb", ["create", "replace", "patch", "apply", "delete", "evict"])
def test_a_readers_transport_refuses_to_carry_a_mutation(api, client, verb):
    client._transport = client.read_only()._transport  # what a reader would have to use
    with pytest.raises(MutationRefusedError, match="only a Change may"):
        _mutations(client)[verb]()
    assert api.seen == []


def test_a_reader_stays_a_reader_under_other_settings(api, client):
    reader = client.read_only().with_settings(timeouts=Timeouts(read=1.0))
    for transport in (reader._transport, reader._transport.derive(timeouts=Timeouts())):
        with pytest.raises(MutationRefusedError):
            KubeClient(transport).delete(SERVICES, "a", "b")
    assert api.seen == []
