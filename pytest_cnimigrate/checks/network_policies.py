"""NetworkPolicies while two CNIs are in the cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pytest_cnimigrate.model.objects import Object, key_of


def not_held(policies: Iterable[Object], hold: Collection[str]) -> list[str]:
    """Problems: policies that the scenario does not say to hold back."""
    return [
        f"NetworkPolicy {key_of(policy)} would be enforced by Cilium on the new nodes at once, and drop "
        "pods of the old CNI for want of an identity; list it under network_policies.hold in scenario.yaml"
        for policy in policies
        if key_of(policy) not in hold
    ]


def not_there(policies: Iterable[Object], hold: Collection[str]) -> list[str]:
    """Problems: policies that the scenario says to hold back and that do not exist: a name mistyped?"""
    present = {key_of(policy) for policy in policies}
    return [
        f"NetworkPolicy {name} is listed under network_policies.hold in scenario.yaml, but there is none; "
        "correct the name or take it off the list"
        for name in hold
        if name not in present
    ]


def still_present(policies: Iterable[Object]) -> list[str]:
    """Problems: policies that are there although two CNIs are."""
    return [f"NetworkPolicy {key_of(policy)} has not been held back" for policy in policies]


def missing(policies: Iterable[Object], expected: Collection[str]) -> list[str]:
    """Problems: policies that should be back and are not."""
    present = {key_of(policy) for policy in policies}
    return [f"NetworkPolicy {name} is not back" for name in expected if name not in present]
