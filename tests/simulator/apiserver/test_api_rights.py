"""Who may do what: tokens, roles, bindings, and the words of a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
import urllib3
from apiserver_rig import Cluster
from apiserver_samples import pod
from kubernetes import client as k8s
from kubernetes.client.exceptions import ApiException

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
)
from pytest_cnimigrate.simulator.apiserver.authentication import User, service_account
from pytest_cnimigrate.simulator.apiserver.authorization import Access, Authorizer
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer


def role(name: str, *rules: Object) -> Object:
    return {"metadata": {"name": name}, "rules": list(rules)}


def rule(verbs: str, resources: str, groups: str = "", **more: Any) -> Object:
    return {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": groups.split(",")} | more


def bound(name: str, subject: Object, kind: str = "ClusterRole") -> Object:
    return {"metadata": {"name": name}, "roleRef": {"kind": kind, "name": name}, "subjects": [subject]}


JANE = User("jane", ("system:authenticated",))


@pytest.fixture
def authorizer(server: ApiServer) -> Authorizer:
    return Authorizer(server)


def test_a_cluster_role_reaches_every_namespace_and_a_role_only_its_own(
    server: ApiServer, authorizer: Authorizer
) -> None:
    jane = {"kind": "User", "name": "jane"}
    server.create(CLUSTER_ROLES, role("nodes", rule("get list", "nodes")))
    server.create(CLUSTER_ROLE_BINDINGS, bound("nodes", jane))
    server.create(ROLES, role("pods", rule("get", "pods")), "default")
    server.create(ROLE_BINDINGS, bound("pods", jane, "Role"), "default")
    assert authorizer.allows(JANE, Access("list", "", "nodes"))
    assert not authorizer.allows(JANE, Access("patch", "", "nodes"))
    assert authorizer.allows(JANE, Access("get", "", "pods", "default"))
    assert not authorizer.allows(JANE, Access("get", "", "pods", "kube-system"))
    assert not authorizer.allows(JANE, Access("get", "", "pods"))


@pytest.mark.parametrize(
    ("given", "access", "allowed"),
    [
        (rule("get", "pods"), Access("get", "", "pods/log", "default", "web"), False),
        (rule("get", "pods/log"), Access("get", "", "pods/log", "default", "web"), True),
        (rule("get", "pods/*"), Access("get", "", "pods/log", "default", "web"), True),
        (rule("get", "*/log"), Access("get", "", "pods/log", "default", "web"), True),
        (rule("*", "*", "*"), Access("create", "", "pods/eviction", "default", "web"), True),
        (rule("get", "daemonsets", "apps"), Access("get", "apps", "daemonsets", "default", "d"), True),
        (rule("get", "daemonsets"), Access("get", "apps", "daemonsets", "default", "d"), False),
        (rule("get", "pods", resourceNames=["web"]), Access("get", "", "pods", "default", "web"), True),
        (rule("get", "pods", resourceNames=["web"]), Access("get", "", "pods", "default", "db"), False),
        (rule("list", "pods", resourceNames=["web"]), Access("list", "", "pods", "default"), False),
    ],
)
def test_rules(
    server: ApiServer, authorizer: Authorizer, given: Object, access: Access, allowed: bool
) -> None:
    server.create(CLUSTER_ROLES, role("r", given))
    server.create(CLUSTER_ROLE_BINDINGS, bound("r", {"kind": "Group", "name": "system:authenticated"}))
    assert authorizer.allows(JANE, access) is allowed


def test_a_service_account_is_bound_by_its_name_and_namespace(
    server: ApiServer, authorizer: Authorizer
) -> None:
    server.create(CLUSTER_ROLES, role("r", rule("list", "pods")))
    subject = {"kind": "ServiceAccount", "name": "goldpinger", "namespace": "default"}
    server.create(CLUSTER_ROLE_BINDINGS, bound("r", subject))
    access = Access("list", "", "pods", "default")
    assert authorizer.allows(service_account("default", "goldpinger"), access)
    assert not authorizer.allows(service_account("kube-system", "goldpinger"), access)


def test_without_a_token_or_with_a_wrong_one_nothing_is_answered(cluster: Cluster) -> None:
    http = urllib3.PoolManager(ca_cert_data=cluster.http.credentials.certificate_authority.decode())
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
        for path in ("/api/v1/nodes", "/version", "/simulator/requests"):
            answer = http.request("GET", f"{cluster.http.url}{path}", headers=headers)
            assert answer.status == 401
            assert answer.json()["reason"] == "Unauthorized"
    http.clear()


def test_a_missing_right_is_told_in_kubernetes_words(cluster: Cluster) -> None:
    viewer = cluster.http.add_user("viewer")
    with cluster.client(viewer) as client, pytest.raises(ApiException) as refused:
        k8s.CoreV1Api(client).list_node()
    status = json.loads(refused.value.body)
    assert status["message"] == (
        'nodes is forbidden: User "viewer" cannot list resource "nodes" in API group "" at the cluster scope'
    )
    assert (status["code"], status["reason"]) == (403, "Forbidden")
    text = cluster.kubectl("-n", "default", "delete", "pod", "web", credentials=viewer, fails=True)
    assert (
        'pods "web" is forbidden: User "viewer" cannot delete resource "pods" in API group "" '
        'in the namespace "default"'
    ) in text


def test_discovery_is_open_to_everybody_who_is_somebody(cluster: Cluster) -> None:
    assert "nodes" in cluster.kubectl("api-resources", credentials=cluster.http.add_user("nobody"))


def test_reviews_say_what_one_may_do(cluster: Cluster) -> None:
    cluster.add(NAMESPACES, {"metadata": {"name": "shop"}})
    cluster.add(ROLES, role("reader", rule("get", "pods")), "shop")
    cluster.add(ROLE_BINDINGS, bound("reader", {"kind": "User", "name": "clerk"}, "Role"), "shop")
    with cluster.client(cluster.http.add_user("clerk")) as client:
        api = k8s.AuthorizationV1Api(client)

        def may(verb: str, namespace: str) -> bool:
            attributes = {"verb": verb, "resource": "pods", "namespace": namespace}
            review = {"spec": {"resourceAttributes": attributes}}
            return bool(api.create_self_subject_access_review(review).status.allowed)

        assert may("get", "shop")
        assert not may("delete", "shop")
        assert not may("get", "default")
        rules = api.create_self_subject_rules_review({"spec": {"namespace": "shop"}}).status.resource_rules
        assert (["get"], ["pods"]) in [(rule.verbs, rule.resources) for rule in rules]
        me = k8s.AuthenticationV1Api(client).create_self_subject_review({}).status.user_info
        assert (me.username, me.groups) == ("clerk", ["system:authenticated"])


def test_impersonation_shows_what_another_one_may_do(cluster: Cluster) -> None:
    text = cluster.kubectl("get", "nodes", "--as=system:serviceaccount:default:default", fails=True)
    assert 'User "system:serviceaccount:default:default" cannot list resource "nodes"' in text
    humble = cluster.http.add_user("humble")
    text = cluster.kubectl("get", "nodes", "--as=admin", credentials=humble, fails=True)
    assert 'User "humble" cannot impersonate resource "users"' in text


def test_a_service_accounts_token_carries_its_rights(cluster: Cluster) -> None:
    cluster.add(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    cluster.add(CLUSTER_ROLES, role("robots", rule("list", "namespaces")))
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
    cluster.add(CLUSTER_ROLE_BINDINGS, bound("robots", subject))
    with cluster.client() as client:
        api = k8s.CoreV1Api(client)
        body: Object = {"spec": {"audiences": []}}
        token = api.create_namespaced_service_account_token("robot", "default", body).status.token
    from pytest_cnimigrate.simulator.server import Credentials

    admin = cluster.http.credentials
    robot = Credentials(admin.url, token, admin.certificate_authority)
    with cluster.client(robot) as client:
        assert k8s.CoreV1Api(client).list_namespace().items
        with pytest.raises(ApiException):
            k8s.CoreV1Api(client).list_node()


def test_the_log_of_requests_is_for_the_administrator_only(cluster: Cluster) -> None:
    nosy = cluster.http.add_user("nosy")
    text = cluster.kubectl("get", "--raw", "/simulator/requests", credentials=nosy, fails=True)
    assert "forbidden" in text
    cluster.add(PODS, pod("seen"), "default")
    cluster.kubectl("-n", "default", "label", "pod", "seen", "a=b")
    written = [entry for entry in cluster.requests() if entry["verb"] == "patch"]
    assert [(e["resource"], e["name"], e["user"], e["code"]) for e in written] == [
        ("pods", "seen", "kubernetes-admin", 200)
    ]
    assert written[0]["userAgent"].startswith("kubectl")
    refused = [entry for entry in cluster.requests() if entry["user"] == "nosy"]
    assert all(cluster.http.credentials.token not in json.dumps(entry) for entry in cluster.requests())
    assert refused == [], "the simulator's own paths leave no trace"
