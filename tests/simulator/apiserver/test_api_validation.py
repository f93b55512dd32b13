"""What the server does not take, and how it says so."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver_samples import budget, daemon_set, definition, deployment, node, pod, template

from pytest_cnimigrate.model.objects import Object, copy
from pytest_cnimigrate.model.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NODES,
    PODS,
    Resource,
)
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer, WriteOptions
from pytest_cnimigrate.simulator.client.api import ApiError

STRICT = WriteOptions(manager="test", field_validation="Strict")


def refused(server: ApiServer, resource: Resource, obj: Object) -> list[tuple[str, str]]:
    """Reason and field of each cause."""
    with pytest.raises(ApiError) as error:
        server.create(resource, obj, "default")
    assert (error.value.code, error.value.reason) == (422, "Invalid")
    return [(cause["reason"], cause["field"]) for cause in error.value.details["causes"]]


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 254, ""])
def test_names_that_are_no_dns_names(server: ApiServer, name: str) -> None:
    [(_, field)] = refused(server, CONFIG_MAPS, {"metadata": {"name": name}})
    assert field == "metadata.name"


@pytest.mark.parametrize(
    ("labels", "good"),
    [
        ({"cni": "aws-cni"}, True),
        ({"io.cilium.migration/cilium-default": "true"}, True),
        ({"empty": ""}, True),
        ({"bad key": "x"}, False),
        ({"a/b/c": "x"}, False),
        ({"key": "two words"}, False),
        ({"key": "x" * 64}, False),
        ({"key": True}, False),
    ],
)
def test_labels(server: ApiServer, labels: Any, good: bool) -> None:
    obj = {"metadata": {"name": "n", "labels": labels}}
    if good:
        assert server.create(CONFIG_MAPS, obj, "default")
    else:
        assert {field for _, field in refused(server, CONFIG_MAPS, obj)} == {"metadata.labels"}


@pytest.mark.parametrize(
    ("taints", "causes"),
    [
        ([{"key": "a", "effect": "NoWay"}], [("FieldValueNotSupported", "spec.taints[0].effect")]),
        ([{"key": "a"}], [("FieldValueRequired", "spec.taints[0].effect")]),
        ([{"key": "a b", "effect": "NoExecute"}], [("FieldValueInvalid", "spec.taints[0].key")]),
        (
            [{"key": "a", "effect": "NoExecute"}, {"key": "a", "value": "b", "effect": "NoExecute"}],
            [("FieldValueDuplicate", "spec.taints[1]")],
        ),
    ],
)
def test_taints(server: ApiServer, taints: list[Object], causes: list[tuple[str, str]]) -> None:
    obj: Object = node("n1")
    obj["spec"] = {"taints": taints}
    assert refused(server, NODES, obj) == causes


def test_a_selector_that_does_not_match_its_template(server: ApiServer) -> None:
    obj = daemon_set()
    obj["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    with pytest.raises(ApiError, match="`selector` does not match template `labels`"):
        server.create(DAEMON_SETS, obj, "default")


def test_a_selector_never_changes(server: ApiServer) -> None:
    created = copy(server.create(DEPLOYMENTS, deployment(), "default"))
    created["spec"]["selector"] = {"matchLabels": {"app": "web", "more": "yes"}}
    created["spec"]["template"]["metadata"]["labels"]["more"] = "yes"
    with pytest.raises(ApiError, match="field is immutable"):
        server.update(DEPLOYMENTS, created)


def test_a_rollout_that_could_never_move(server: ApiServer) -> None:
    still = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}
    assert refused(server, DEPLOYMENTS, deployment(strategy=still))
    obj = daemon_set()
    obj["spec"]["updateStrategy"] = still
    assert refused(server, DAEMON_SETS, obj)


def test_containers_have_names_and_images_of_their_own(server: ApiServer) -> None:
    same = {"name": "a", "image": "x"}
    obj = deployment(template=template(same, same, {"name": "b"}))
    assert refused(server, DEPLOYMENTS, obj) == [
        ("FieldValueDuplicate", "spec.template.spec.containers[1].name"),
        ("FieldValueRequired", "spec.template.spec.containers[2].image"),
    ]


@pytest.mark.parametrize(
    ("toleration", "field"),
    [
        ({"key": "a", "operator": "Exists", "value": "b"}, "operator"),
        ({"operator": "Equal"}, "operator"),
        ({"key": "a", "operator": "Exists", "tolerationSeconds": 3}, "effect"),
        ({"key": "a", "operator": "Exists", "effect": "Never"}, "effect"),
    ],
)
def test_tolerations(server: ApiServer, toleration: Object, field: str) -> None:
    assert [at for _, at in refused(server, PODS, pod(tolerations=[toleration]))] == [
        f"spec.tolerations[0].{field}"
    ]


@pytest.mark.parametrize(
    "terms",
    [
        [],
        [{"matchExpressions": [{"key": "cni", "operator": "In", "values": []}]}],
        [{"matchExpressions": [{"key": "cni", "operator": "Is", "values": ["x"]}]}],
        [{"matchExpressions": [{"key": "cni", "operator": "Exists", "values": ["x"]}]}],
    ],
)
def test_affinity_terms(server: ApiServer, terms: list[Object]) -> None:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    assert refused(server, PODS, pod(affinity={"nodeAffinity": required}))


def test_a_running_pods_spec_is_fixed_but_for_its_images_and_tolerations(server: ApiServer) -> None:
    server.create(PODS, pod(), "default")
    with pytest.raises(ApiError, match="pod updates may not change fields other than"):
        server.patch(PODS, "web", {"spec": {"nodeName": "elsewhere"}}, "default")
    containers = {"spec": {"containers": [{"name": "main", "image": "example/web:2"}]}}
    changed = server.patch(PODS, "web", containers, "default", kind="strategic")
    assert changed["spec"]["containers"][0]["image"] == "example/web:2"


def test_a_budget_says_one_thing(server: ApiServer) -> None:
    assert refused(server, DISRUPTION_BUDGETS, budget(minAvailable=1, maxUnavailable=1))


def test_a_typing_error_in_a_manifest_is_an_error_when_strict_and_dropped_otherwise(
    server: ApiServer,
) -> None:
    obj = deployment(replica=3)
    with pytest.raises(ApiError, match=r'strict decoding error: unknown field "spec\.replica"') as error:
        server.create(DEPLOYMENTS, obj, "default", options=STRICT)
    assert error.value.code == 400
    warn = WriteOptions(field_validation="Warn", warnings=[])
    created = server.create(DEPLOYMENTS, obj, "default", options=warn)
    assert "replica" not in created["spec"]
    assert warn.warnings == ['unknown field "spec.replica"']


def test_a_value_of_the_wrong_type_is_never_taken(server: ApiServer) -> None:
    text = "cannot unmarshal string into Go struct field spec.replicas of type int32"
    options = WriteOptions(field_validation="Ignore")
    with pytest.raises(ApiError, match=text):
        server.create(DEPLOYMENTS, deployment(replicas="three"), "default", options=options)


def test_a_patch_is_not_blamed_for_what_was_there_before(server: ApiServer) -> None:
    server.create(NODES, node("n1") | {"madeUp": True})
    patched = server.patch(NODES, "n1", {"metadata": {"labels": {"a": "b"}}}, options=STRICT)
    assert patched["metadata"]["labels"]["a"] == "b"


def test_custom_resources_are_held_against_their_schema(server: ApiServer) -> None:
    server.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    pools = Resource("example.com", "v2", "pools", "Pool")

    def create(**spec: Any) -> Object:
        obj = {"metadata": {"name": "p"}, "spec": spec}
        return server.create(pools, obj, "default", options=WriteOptions(field_validation="Ignore"))

    for spec, field in (
        ({"mode": "flat"}, "spec.mode"),
        ({}, "spec.mode"),
        ({"mode": "eni", "limit": "x"}, "spec.limit"),
    ):
        with pytest.raises(ApiError) as error:
            create(**spec)
        assert [cause["field"] for cause in error.value.details["causes"]] == [field]
    created = create(mode="eni", unknown=1, free={"anything": ["goes"]})
    assert created["spec"] == {"mode": "eni", "free": {"anything": ["goes"]}}
