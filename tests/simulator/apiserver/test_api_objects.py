"""What the server makes of an object, and who wins when two write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from apiserver_samples import budget, config_map, daemon_set, definition, deployment, node, pod

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    PRIORITY_CLASSES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer, WriteOptions
from pytest_cnimigrate.simulator.client.api import ApiError

RECORDINGS = Path(__file__).parents[2] / "fixtures/recordings"
POOLS = Resource("example.com", "v2", "pools", "Pool")


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / name).read_text())


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "case",
    recorded("applied-and-stored.json"),
    ids=lambda case: f"{case['applied']['kind']}-{case['applied']['metadata']['name']}",
)
def test_an_applied_object_gets_the_defaults_that_a_real_cluster_gave_it(
    server: ApiServer, case: Object
) -> None:
    applied, stored = case["applied"], without_nulls(case["stored"]["spec"])
    info = server.registry.by_kind(applied["apiVersion"], applied["kind"])
    assert info is not None
    if "clusterIP" in stored:  # the rig's service network is another one
        stored["clusterIP"] = stored["clusterIPs"][0] = "10.100.9.9"
        applied["spec"]["clusterIP"] = "10.100.9.9"
        applied["spec"]["ports"][0]["nodePort"] = stored["ports"][0]["nodePort"]
    created = server.create(info.resource, applied, applied["metadata"]["namespace"])
    assert created["spec"] == stored


def test_a_pod_gets_what_admission_gave_the_recorded_one(server: ApiServer) -> None:
    case = recorded("template-and-pod.json")
    server.create(SERVICE_ACCOUNTS, {"metadata": {"name": "coredns"}}, "kube-system")
    made = server.create(
        PODS,
        {"metadata": {"generateName": "coredns-"}, "spec": without_nulls(case["template"])["spec"]},
        "kube-system",
    )["spec"]

    def comparable(spec: Object) -> Object:
        text = json.dumps(spec)
        name = next(v["name"] for v in spec["volumes"] if "projected" in v)
        return dict(json.loads(text.replace(name, "kube-api-access")))

    assert comparable(made) == comparable(without_nulls(case["pod"]["spec"]))


def test_objects_keep_to_kubernetes_own_schemas(server: ApiServer) -> None:
    made = [
        server.create(NODES, node("n1")),
        server.create(PODS, pod(), "default"),
        server.create(DAEMON_SETS, daemon_set(), "default"),
        server.create(DEPLOYMENTS, deployment(), "default"),
        server.create(DISRUPTION_BUDGETS, budget(minAvailable=1), "default"),
        server.create(CUSTOM_RESOURCE_DEFINITIONS, definition()),
        server.get(SERVICES, "kubernetes", "default"),
        server.get(NAMESPACES, "default"),
    ]
    for obj in made:
        kubernetes_validate.validate(obj, "1.36", strict=True)


def test_the_cluster_has_its_namespaces_accounts_and_service_from_the_start(server: ApiServer) -> None:
    names = [obj["metadata"]["name"] for obj in server.list(NAMESPACES)[0]]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    accounts = [obj["metadata"]["namespace"] for obj in server.list(SERVICE_ACCOUNTS)[0]]
    assert accounts == names
    assert server.get(SERVICES, "kubernetes", "default")["spec"]["clusterIP"] == "10.100.0.1"
    assert server.get(PRIORITY_CLASSES, "system-node-critical")["value"] == 2_000_001_000


def test_generation_counts_what_is_wanted_and_not_what_is(server: ApiServer) -> None:
    created = server.create(DAEMON_SETS, daemon_set(), "default")
    assert created["metadata"]["generation"] == 1
    labelled = server.patch(DAEMON_SETS, "agent", {"metadata": {"labels": {"a": "b"}}}, "default")
    assert labelled["metadata"]["generation"] == 1
    status = {"status": {"numberReady": 3}}
    server.patch(DAEMON_SETS, "agent", status, "default", subresource="status")
    patch = {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}
    changed = server.patch(DAEMON_SETS, "agent", patch, "default")
    assert changed["metadata"]["generation"] == 2
    # The annotation that pods of a DaemonSet are labelled by, as in the recordings.
    assert changed["metadata"]["annotations"]["deprecated.daemonset.template.generation"] == "2"
    assert "generation" not in server.create(NODES, node("n1"))["metadata"]


def test_status_is_written_through_its_subresource_only(server: ApiServer) -> None:
    server.create(PODS, pod() | {"status": {"phase": "Running"}}, "default")
    assert server.get(PODS, "web", "default")["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    server.patch(PODS, "web", {"status": {"phase": "Running"}}, "default")
    assert server.get(PODS, "web", "default")["status"]["phase"] == "Pending"
    both = {"spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}
    after = server.patch(PODS, "web", both, "default", subresource="status")
    assert after["status"]["phase"] == "Running"
    assert "nodeName" not in after["spec"]


def test_a_node_registers_with_its_status_and_repels_pods_until_it_is_seen_to_be_ready(
    server: ApiServer,
) -> None:
    created = server.create(NODES, node("n1"))
    assert created["status"]["conditions"] == [{"type": "Ready", "status": "True"}]
    assert created["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


def test_the_second_of_two_writers_of_one_version_is_refused(server: ApiServer) -> None:
    first = server.create(CONFIG_MAPS, config_map(a="1"), "default")
    server.update(CONFIG_MAPS, first | {"data": {"a": "2"}})
    with pytest.raises(ApiError, match="the object has been modified; please apply your changes") as refused:
        server.update(CONFIG_MAPS, first | {"data": {"a": "3"}})
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert server.get(CONFIG_MAPS, "settings", "default")["data"] == {"a": "2"}


def test_a_write_to_an_object_that_was_replaced_by_a_namesake_is_refused(server: ApiServer) -> None:
    first = server.create(CONFIG_MAPS, config_map(), "default")
    server.delete(CONFIG_MAPS, "settings", "default")
    server.create(CONFIG_MAPS, config_map(), "default")
    stale = {**first, "metadata": {**first["metadata"], "resourceVersion": ""}}
    with pytest.raises(ApiError, match="Precondition failed: UID in precondition"):
        server.update(CONFIG_MAPS, stale)


def test_a_write_that_changes_nothing_makes_no_version(server: ApiServer) -> None:
    created = server.create(DEPLOYMENTS, deployment(), "default")
    same = server.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}}, "default")
    again = server.update(DEPLOYMENTS, created)
    assert same["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert again["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


def test_a_dry_run_answers_and_leaves_everything_as_it_was(server: ApiServer) -> None:
    before = server.store.version
    dry = WriteOptions(dry_run=True)
    answered = server.create(CONFIG_MAPS, config_map(), "default", options=dry)
    assert answered["metadata"]["uid"]
    assert server.store.version == before
    server.create(CONFIG_MAPS, config_map(a="1"), "default")
    server.patch(CONFIG_MAPS, "settings", {"data": {"a": "2"}}, "default", options=dry)
    assert server.get(CONFIG_MAPS, "settings", "default")["data"] == {"a": "1"}


def test_names_are_generated_with_a_suffix_of_five(server: ApiServer) -> None:
    first = server.create(PODS, pod() | {"metadata": {"generateName": "web-"}}, "default")
    second = server.create(PODS, pod() | {"metadata": {"generateName": "web-"}}, "default")
    names = {first["metadata"]["name"], second["metadata"]["name"]}
    assert len(names) == 2
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


def test_secrets_are_kept_encoded(server: ApiServer) -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"password": "open"}}
    created = server.create(SECRETS, secret, "default")
    assert created["data"] == {"password": "b3Blbg=="}
    assert "stringData" not in created


def test_a_job_selects_its_own_pods(server: ApiServer) -> None:
    job = {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod()["spec"]}}}
    created = server.create(JOBS, job, "default")
    uid = created["metadata"]["uid"]
    assert created["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert created["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"


def test_services_get_addresses_of_their_own_and_keep_them(server: ApiServer) -> None:
    def service(name: str, **spec: Any) -> Object:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    first = server.create(SERVICES, service("a"), "default")
    second = server.create(SERVICES, service("b", type="LoadBalancer"), "default")
    assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]
    assert 30_000 <= second["spec"]["ports"][0]["nodePort"] <= 32_767
    replaced = server.update(SERVICES, service("a") | {"metadata": {"name": "a", "namespace": "default"}})
    assert replaced["spec"]["clusterIP"] == first["spec"]["clusterIP"]
    with pytest.raises(ApiError, match="provided IP is already allocated"):
        server.create(SERVICES, service("c", clusterIP=first["spec"]["clusterIP"]), "default")
    with pytest.raises(ApiError, match="is not in the valid range"):
        server.create(SERVICES, service("c", clusterIP="192.168.0.1"), "default")
    assert server.create(SERVICES, service("d", clusterIP="None"), "default")["spec"]["clusterIP"] == "None"


def test_an_object_that_a_client_holds_never_changes_behind_its_back(server: ApiServer) -> None:
    sent = config_map(a="1")
    held = server.create(CONFIG_MAPS, sent, "default")
    sent["data"]["a"] = "mine"
    server.patch(CONFIG_MAPS, "settings", {"data": {"a": "2"}}, "default")
    assert held["data"] == {"a": "1"}
    assert server.get(CONFIG_MAPS, "settings", "default")["data"] == {"a": "2"}


@pytest.mark.parametrize(
    ("attempt", "code", "text"),
    [
        (lambda s: s.get(PODS, "none", "default"), 404, 'pods "none" not found'),
        (lambda s: s.get(DEPLOYMENTS, "none", "default"), 404, 'deployments.apps "none" not found'),
        (lambda s: s.create(PODS, pod(), "nowhere"), 404, 'namespaces "nowhere" not found'),
        (lambda s: s.create(PODS, pod(), ""), 400, "an empty namespace may not be set during creation"),
        (lambda s: s.list(POOLS), 404, "the server could not find the requested resource"),
        (
            lambda s: s.create(NAMESPACES, {"metadata": {"name": "default"}}),
            409,
            'namespaces "default" already exists',
        ),
        (lambda s: s.list(PODS, field_selector="spec.image=x"), 400, "field label not supported: spec.image"),
        (lambda s: s.list(PODS, label_selector="a in b"), 400, "unable to parse requirement"),
        (
            lambda s: s.create(PODS, pod(serviceAccountName="ghost"), "default"),
            403,
            'error looking up service account default/ghost: serviceaccount "ghost" not found',
        ),
        (
            lambda s: s.create(PODS, pod(priorityClassName="ghost"), "default"),
            403,
            "no PriorityClass with name ghost was found",
        ),
        (lambda s: s.delete(NAMESPACES, "kube-system"), 403, "this namespace may not be deleted"),
        (lambda s: s.create(PODS, pod() | {"kind": "Node"}, "default"), 400, "does not match the request"),
    ],
)
def test_refusals_come_in_the_words_of_the_real_server(
    server: ApiServer, attempt: Any, code: int, text: str
) -> None:
    with pytest.raises(ApiError) as refused:
        attempt(server)
    assert refused.value.code == code
    assert text in refused.value.message


def test_a_custom_resource_needs_a_version_to_be_replaced(server: ApiServer) -> None:
    server.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    pool = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"mode": "eni"}}
    server.create(POOLS, pool, "default")
    with pytest.raises(ApiError, match=r"metadata\.resourceVersion: Invalid value: 0: must be specified"):
        server.update(POOLS, pool)
