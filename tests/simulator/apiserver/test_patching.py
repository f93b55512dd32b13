"""Patches: what is merged, what is replaced, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver_samples import daemon_set, definition, node

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import CUSTOM_RESOURCE_DEFINITIONS, DAEMON_SETS, NODES, Resource
from pytest_cnimigrate.simulator.apiserver.patch import json_patch, merge_patch, strategic_merge_patch
from pytest_cnimigrate.simulator.apiserver.schema import definition as built_in
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer
from pytest_cnimigrate.simulator.client.api import ApiError

POD = built_in("io.k8s.api.core.v1.Pod")
NODE = built_in("io.k8s.api.core.v1.Node")
A = {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}
B = {"name": "b", "image": "b:1"}


def containers(patch: list[Any], **more: Any) -> list[Object]:
    result = strategic_merge_patch(
        {"spec": {"containers": [A, B]}}, {"spec": {"containers": patch, **more}}, POD
    )
    return list(result["spec"]["containers"])


def test_a_strategic_patch_changes_the_container_of_that_name_and_leaves_the_others() -> None:
    assert containers([{"name": "b", "image": "b:2"}]) == [A, B | {"image": "b:2"}]


def test_a_merge_patch_replaces_the_whole_list() -> None:
    patched = merge_patch({"spec": {"containers": [A, B]}}, {"spec": {"containers": [B]}})
    assert patched == {"spec": {"containers": [B]}}


def test_lists_within_list_items_are_merged_by_their_own_keys() -> None:
    patch = [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "$patch": "delete"}]}]
    assert containers(patch)[0]["env"] == [{"name": "Y", "value": "2"}]


def test_an_item_is_deleted_by_directive() -> None:
    assert containers([{"name": "a", "$patch": "delete"}]) == [B]


def test_a_list_is_replaced_by_directive() -> None:
    assert containers([{"$patch": "replace"}, B]) == [B]


def test_items_take_the_order_that_the_patch_sets() -> None:
    order = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    assert [c["name"] for c in containers([{"name": "b", "image": "b:2"}], **order)] == ["b", "a"]


def test_lists_without_a_merge_key_are_replaced_as_node_selector_terms_are() -> None:
    """The trap of the fence: a strategic patch of affinity drops the terms that it does not repeat."""

    def affinity(*keys: str) -> Object:
        terms = [{"matchExpressions": [{"key": key, "operator": "Exists"}]} for key in keys]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        return {"spec": {"affinity": {"nodeAffinity": required}}}

    assert strategic_merge_patch(affinity("old"), affinity("new"), POD) == affinity("new")


def test_taints_are_replaced_as_a_whole() -> None:
    old, new = {"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoSchedule"}
    patched = strategic_merge_patch({"spec": {"taints": [old]}}, {"spec": {"taints": [new]}}, NODE)
    assert patched == {"spec": {"taints": [new]}}


def test_primitive_lists_are_united_and_emptied_by_directive() -> None:
    target = {"metadata": {"finalizers": ["a", "b"]}}
    united = strategic_merge_patch(target, {"metadata": {"finalizers": ["b", "c"]}}, POD)
    assert united["metadata"]["finalizers"] == ["a", "b", "c"]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic_merge_patch(target, patch, POD)["metadata"]["finalizers"] == ["b"]


def test_volumes_keep_only_the_source_that_the_patch_names() -> None:
    target = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    volume = {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}
    patched = strategic_merge_patch(target, {"spec": {"volumes": [volume]}}, POD)
    assert patched["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_null_removes_in_every_kind_of_merge() -> None:
    target = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    patch = {"metadata": {"labels": {"a": None}}}
    assert merge_patch(target, patch) == {"metadata": {"labels": {"b": "2"}}}
    assert strategic_merge_patch(target, patch, POD) == {"metadata": {"labels": {"b": "2"}}}


def test_patches_leave_what_they_are_given_untouched() -> None:
    target: Object = {"spec": {"containers": [dict(A), dict(B)]}}
    strategic_merge_patch(target, {"spec": {"containers": [{"name": "a", "image": "a:2"}]}}, POD)
    json_patch(target, [{"op": "remove", "path": "/spec/containers/0"}])
    assert target == {"spec": {"containers": [A, B]}}


def test_a_json_patch_appends_to_a_term_and_tests_what_it_relies_on(server: ApiServer) -> None:
    server.create(NODES, node("n1"))
    taints = server.get(NODES, "n1")["spec"]["taints"]
    operations = [
        {"op": "test", "path": "/spec/taints", "value": taints},
        {"op": "add", "path": "/spec/taints/-", "value": {"key": "k", "effect": "NoExecute"}},
    ]
    patched = server.patch(NODES, "n1", operations, kind="json")
    assert [taint["key"] for taint in patched["spec"]["taints"]] == ["node.kubernetes.io/not-ready", "k"]
    with pytest.raises(ApiError) as refused:
        server.patch(NODES, "n1", operations, kind="json")
    assert refused.value.code == 422
    assert len(server.get(NODES, "n1")["spec"]["taints"]) == 2


@pytest.mark.parametrize(
    ("kind", "patch", "code"),
    [
        ("json", {"op": "add"}, 400),
        ("json", [{"op": "fly", "path": "/a"}], 400),
        ("json", [{"op": "remove", "path": "/nothing/there"}], 422),
        ("merge", [], 400),
        ("strategic", {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}, 400),
        ("strategic", {"spec": {"$patch": "burn"}}, 400),
    ],
)
def test_a_patch_that_makes_no_sense_is_refused(server: ApiServer, kind: Any, patch: Any, code: int) -> None:
    server.create(DAEMON_SETS, daemon_set(), "default")
    with pytest.raises(ApiError) as refused:
        server.patch(DAEMON_SETS, "agent", patch, "default", kind=kind)
    assert refused.value.code == code


def test_custom_resources_know_no_strategic_patch(server: ApiServer) -> None:
    server.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    pools = Resource("example.com", "v2", "pools", "Pool")
    server.create(pools, {"metadata": {"name": "p"}, "spec": {"mode": "eni"}}, "default")
    with pytest.raises(ApiError) as refused:
        server.patch(pools, "p", {"spec": {"limit": 3}}, "default", kind="strategic")
    assert refused.value.code == 415


def test_a_patch_with_a_stale_version_is_refused(server: ApiServer) -> None:
    server.create(NODES, node("n1"))
    with pytest.raises(ApiError, match="the object has been modified"):
        server.patch(NODES, "n1", {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}})
