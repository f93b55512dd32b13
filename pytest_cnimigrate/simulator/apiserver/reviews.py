"""Reviews: what am I, what may I (`authorization.k8s.io`, `authentication.k8s.io`). Nothing is stored."""

from __future__ import annotations

from collections.abc import Callable

from pytest_cnimigrate.model.objects import Object, timestamp
from pytest_cnimigrate.simulator.apiserver.authentication import User
from pytest_cnimigrate.simulator.apiserver.authorization import Access, Authorizer
from pytest_cnimigrate.simulator.apiserver.errors import bad_request

AUTHORIZATION = "authorization.k8s.io"
AUTHENTICATION = "authentication.k8s.io"

Review = Callable[[Authorizer, User, Object, str], Object]


def _access(spec: Object) -> Access:
    resource: Object = spec.get("resourceAttributes") or {}
    other: Object = spec.get("nonResourceAttributes") or {}
    if bool(resource) == bool(other):
        raise bad_request("exactly one of spec.resourceAttributes and spec.nonResourceAttributes is needed")
    if other:
        return Access(other.get("verb", ""), path=other.get("path", ""))
    plural = resource.get("resource", "")
    if resource.get("subresource"):
        plural += f"/{resource['subresource']}"
    return Access(
        resource.get("verb", ""),
        resource.get("group", ""),
        plural,
        resource.get("namespace", ""),
        resource.get("name", ""),
    )


def _judged(authorizer: Authorizer, user: User, spec: Object, namespace: str) -> Object:
    access = _access(spec)
    if namespace and access.namespace != namespace:
        raise bad_request(
            f"spec.resourceAttributes.namespace must be {namespace!r}, the namespace of the review"
        )
    return {"allowed": authorizer.allows(user, access)}


def _self_access(authorizer: Authorizer, user: User, spec: Object, namespace: str) -> Object:
    return _judged(authorizer, user, spec, namespace)


def _subject_access(authorizer: Authorizer, user: User, spec: Object, namespace: str) -> Object:
    subject = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
    return _judged(authorizer, subject, spec, namespace)


def _self_rules(authorizer: Authorizer, user: User, spec: Object, namespace: str) -> Object:
    resources: list[Object] = []
    paths: list[Object] = []
    rules = list(authorizer.rules(user, spec.get("namespace", "")))
    if user.is_master:
        rules.append({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
        rules.append({"nonResourceURLs": ["*"], "verbs": ["*"]})
    for rule in rules:
        (paths if rule.get("nonResourceURLs") else resources).append(rule)
    return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}


def _self_subject(authorizer: Authorizer, user: User, spec: Object, namespace: str) -> Object:
    return {"userInfo": {"username": user.name, "groups": list(user.groups)}}


REVIEWS: dict[tuple[str, str], tuple[str, bool, Review]] = {
    (AUTHORIZATION, "selfsubjectaccessreviews"): ("SelfSubjectAccessReview", False, _self_access),
    (AUTHORIZATION, "selfsubjectrulesreviews"): ("SelfSubjectRulesReview", False, _self_rules),
    (AUTHORIZATION, "subjectaccessreviews"): ("SubjectAccessReview", False, _subject_access),
    (AUTHORIZATION, "localsubjectaccessreviews"): ("LocalSubjectAccessReview", True, _subject_access),
    (AUTHENTICATION, "selfsubjectreviews"): ("SelfSubjectReview", False, _self_subject),
}
"""By group and plural: the kind, whether it is namespaced, and what answers it."""


def answer(
    authorizer: Authorizer, user: User, *, group: str, plural: str, body: Object, namespace: str
) -> Object:
    """The review with its status filled in."""
    kind, _, review = REVIEWS[group, plural]
    spec = body.get("spec") or {}
    return {
        "kind": kind,
        "apiVersion": f"{group}/v1",
        "metadata": {"creationTimestamp": timestamp()},
        "spec": spec,
        "status": review(authorizer, user, spec, namespace),
    }
