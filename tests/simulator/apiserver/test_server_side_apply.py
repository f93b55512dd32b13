"""Server-side apply: owners of fields, what they drop, and what they quarrel about."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver_samples import daemon_set, deployment, template

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import DAEMON_SETS, DEPLOYMENTS
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer, WriteOptions
from pytest_cnimigrate.simulator.client.api import ApiError


def apply(server: ApiServer, obj: Object, manager: str = "operator", *, force: bool = False) -> Object:
    options = WriteOptions(manager=manager, force=force)
    name = obj["metadata"]["name"]
    return server.patch(DEPLOYMENTS, name, obj, "default", kind="apply", options=options)


def owners(obj: Object) -> dict[tuple[str, str], Object]:
    return {
        (entry["manager"], entry["operation"]): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields") or ()
    }


def test_apply_creates_what_is_not_there_and_owns_what_it_said(server: ApiServer) -> None:
    created = apply(server, deployment(replicas=2))
    fields = owners(created)["operator", "Apply"]
    assert fields["f:spec"]["f:replicas"] == {}
    container = fields["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"main"}']
    assert container == {".": {}, "f:image": {}, "f:name": {}}
    assert "f:revisionHistoryLimit" not in fields["f:spec"], "a default is nobody's"


def test_applying_the_same_again_changes_nothing(server: ApiServer) -> None:
    first = apply(server, deployment(replicas=2))
    assert apply(server, deployment(replicas=2)) == first


def test_what_is_no_longer_applied_is_dropped_unless_somebody_else_owns_it(server: ApiServer) -> None:
    two = [{"name": "main", "image": "example/web:1"}, {"name": "side", "image": "example/side:1"}]
    with_labels = deployment(template=template(*two)) | {
        "metadata": {"name": "web", "labels": {"a": "1", "b": "2"}}
    }
    apply(server, with_labels)
    apply(server, {"metadata": {"name": "web", "labels": {"b": "2"}}}, "friend")
    after = apply(server, deployment())
    assert after["metadata"]["labels"] == {"b": "2"}
    assert [c["name"] for c in after["spec"]["template"]["spec"]["containers"]] == ["main"]


def test_two_managers_with_different_wishes_conflict_until_one_is_forced(server: ApiServer) -> None:
    apply(server, deployment(replicas=2), "operator")
    with pytest.raises(ApiError) as refused:
        apply(server, deployment(replicas=5), "admin")
    error = refused.value
    assert error.is_conflict
    assert (
        error.message
        == 'Apply failed with 1 conflict: conflict with "operator" using apps/v1: .spec.replicas'
    )
    assert error.details["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "operator" using apps/v1',
            "field": ".spec.replicas",
        }
    ]
    forced = apply(server, deployment(replicas=5), "admin", force=True)
    assert forced["spec"]["replicas"] == 5
    assert "f:replicas" not in owners(forced)["operator", "Apply"]["f:spec"]
    assert "f:replicas" in owners(forced)["admin", "Apply"]["f:spec"]


def test_the_same_wish_is_shared_ownership(server: ApiServer) -> None:
    apply(server, deployment(replicas=2), "operator")
    both = owners(apply(server, deployment(replicas=2), "admin"))
    assert all("f:replicas" in fields["f:spec"] for fields in both.values())
    assert len(both) == 2


def test_an_update_takes_a_field_over_and_a_later_apply_meets_it(server: ApiServer) -> None:
    """How an add-on's update and a patched DaemonSet come to quarrel (failure mode 5)."""
    options = WriteOptions(manager="eks")
    server.patch(DAEMON_SETS, "agent", daemon_set(), "default", kind="apply", options=options)
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "cni", "operator": "In", "values": ["aws-cni"]}]}]}}}  # fmt: skip
    patch = {"spec": {"template": {"spec": {"affinity": affinity}}}}
    mine = WriteOptions(manager="migration")
    patched = server.patch(DAEMON_SETS, "agent", patch, "default", kind="strategic", options=mine)
    fields = owners(patched)["migration", "Update"]["f:spec"]["f:template"]["f:spec"]
    assert "f:nodeAffinity" in fields["f:affinity"]
    theirs: Any = daemon_set()
    other = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [other]}]}
    theirs["spec"]["template"]["spec"]["affinity"] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    }
    with pytest.raises(ApiError, match='conflict with "migration" using apps/v1'):
        server.patch(DAEMON_SETS, "agent", theirs, "default", kind="apply", options=options)


def test_status_is_owned_under_its_subresource(server: ApiServer) -> None:
    apply(server, deployment())
    server.patch(DEPLOYMENTS, "web", {"status": {"replicas": 1}}, "default", subresource="status")
    entries = server.get(DEPLOYMENTS, "web", "default")["metadata"]["managedFields"]
    status = next(entry for entry in entries if entry.get("subresource") == "status")
    assert status["manager"] == "kube-controller-manager"
    assert status["fieldsV1"] == {"f:status": {"f:replicas": {}}}


def test_what_the_simulated_control_plane_makes_for_itself_is_not_tracked(server: ApiServer) -> None:
    created = server.create(DEPLOYMENTS, deployment(), "default")
    assert "managedFields" not in created["metadata"]


def test_apply_needs_a_manager_and_no_managed_fields(server: ApiServer) -> None:
    with pytest.raises(ApiError, match="fieldManager is required"):
        apply(server, deployment(), "")
    with pytest.raises(ApiError, match="managedFields must be nil"):
        apply(server, deployment() | {"metadata": {"name": "web", "managedFields": [{"manager": "x"}]}})
