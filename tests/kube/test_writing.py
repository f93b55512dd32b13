"""Changing: exactly what was meant is sent, once."""

from __future__ import annotations

import pytest

from pytest_cnimigrate.kube.errors import AlreadyExists, Conflict, TooManyRequests
from pytest_cnimigrate.model.resources import CONFIG_MAPS, DAEMON_SETS, NODES, PODS

BUDGET = {
    "causes": [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget web needs 3 healthy pods and has 3 currently",
        }
    ]
}


@pytest.mark.parametrize(
    ("kind", "patch", "content_type"),
    [
        ("json", [{"op": "add", "path": "/a", "value": 1}], "application/json-patch+json"),
        ("merge", {"a": None}, "application/merge-patch+json"),
        ("strategic", {"a": 1}, "application/strategic-merge-patch+json"),
        ("apply", {"a": 1}, "application/apply-patch+yaml"),
    ],
)
def test_each_kind_of_patch_arrives_as_such(api, client, kind, patch, content_type):
    api.will(api.json({"metadata": {}}))
    client.patch(NODES, "a", patch, kind=kind)
    (seen,) = api.seen
    assert (seen.method, seen.headers["Content-Type"], seen.body) == ("PATCH", content_type, patch)
    assert seen.query == {"fieldManager": "cnimigrate"}


def test_an_empty_list_of_operations_stays_a_json_patch(api, client):
    api.will(api.json({"metadata": {}}))
    client.patch(NODES, "a", [], kind="json")
    assert (api.seen[0].headers["Content-Type"], api.seen[0].body) == ("application/json-patch+json", [])


def test_a_patch_of_the_wrong_shape_is_refused(client, api):
    with pytest.raises(ValueError, match="a json patch of nodes cannot be a dict"):
        client.patch(NODES, "a", {}, kind="json")
    with pytest.raises(ValueError, match="only an apply patch can be forced"):
        client.patch(NODES, "a", {}, force=True)
    assert api.seen == []


def test_server_side_apply_carries_our_name_and_force_when_asked(api, client):
    api.will(api.json({"metadata": {}}))
    client.apply(
        CONFIG_MAPS, {"metadata": {"name": "c", "namespace": "n"}, "data": {}}, force=True, dry_run=True
    )
    assert api.seen[0].query == {"fieldManager": "cnimigrate", "force": "true", "dryRun": "All"}
    assert api.seen[0].body["kind"] == "ConfigMap"
    assert api.seen[0].path == "/api/v1/namespaces/n/configmaps/c"


def test_the_status_is_patched_through_its_subresource(api, client):
    api.will(api.json({"metadata": {}}))
    client.patch(NODES, "a", {}, kind="strategic", subresource="status")
    assert api.seen[0].path == "/api/v1/nodes/a/status"


def test_create_takes_the_namespace_from_the_object(api, client):
    api.will(api.json({"metadata": {}}, 201))
    client.create(PODS, {"metadata": {"generateName": "a-", "namespace": "n"}})
    assert (api.seen[0].method, api.seen[0].path) == ("POST", "/api/v1/namespaces/n/pods")


def test_deleting_names_the_very_object_that_was_seen(api, client):
    api.will(api.json({"kind": "Status"}))
    client.delete(DAEMON_SETS, "aws-node", "kube-system", uid="u1", propagation="Orphan", grace_period=0)
    assert api.seen[0].body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Orphan",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u1"},
    }


def test_an_eviction_that_a_budget_forbids_says_which_and_is_not_repeated(api, client):
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    api.will(api.status(429, "TooManyRequests", message, details=BUDGET, Retry_After="1"))
    with pytest.raises(TooManyRequests) as caught:
        client.evict("web-1", "shop", uid="u1")
    assert caught.value.cause.message.startswith("The disruption budget web needs 3")
    assert "evict pod shop/web-1" in str(caught.value)
    assert "needs 3 healthy pods" in str(caught.value)
    assert api.seen[0].path == "/api/v1/namespaces/shop/pods/web-1/eviction"
    assert api.seen[0].body["deleteOptions"] == {"preconditions": {"uid": "u1"}}
    assert len(api.seen) == 1


def test_a_conflict_on_creation_is_told_from_a_lost_race(api, client):
    api.will(
        api.status(409, "AlreadyExists", 'pods "a" already exists', details={"name": "a"}),
        api.status(409, "Conflict", "the object has been modified", details={"name": "a"}),
    )
    pod = {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "1"}}
    with pytest.raises(AlreadyExists):
        client.create(PODS, pod)
    with pytest.raises(Conflict, match="the object has been modified") as caught:
        client.replace(PODS, pod)
    assert not isinstance(caught.value, AlreadyExists)


def test_an_apply_conflict_names_the_fields_and_their_owners(api, client):
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "eks" using apps/v1',
            "field": ".spec.template.spec.affinity",
        }
    ]
    api.will(api.status(409, "Conflict", "Apply failed with 1 conflict", details={"causes": causes}))
    with pytest.raises(Conflict) as caught:
        client.apply(DAEMON_SETS, {"metadata": {"name": "aws-node", "namespace": "kube-system"}})
    assert str(caught.value.causes[0]) == '.spec.template.spec.affinity: conflict with "eks" using apps/v1'
