"""Which cluster this is, and who we are there."""

from __future__ import annotations

from typing import Any

from pytest_cnimigrate.providers.cluster import ClusterView


def facts(cluster: ClusterView) -> dict[str, Any]:
    """What can be said of the cluster and of us, without any secret."""
    user = cluster.kube.who_am_i()
    return {
        "cluster": cluster.name,
        "provider": cluster.provider,
        "server": cluster.server,
        "version": cluster.kube.server_version().git_version,
        "account": cluster.node_groups.account(),
        "cloud server": cluster.node_groups.server(),
        "user": user.name,
        "groups": list(user.groups),
    }


def differs(cluster: ClusterView, *, name: str, account: str | None) -> list[str]:
    """Problems: this is not the cluster `name`, or not in the AWS account `account` (if one is given).

    The cloud is asked for the API server of the cluster of that name: it must be the one we speak to.
    """
    problems = []
    if cluster.name != name:
        problems.append(f"the cluster is {cluster.name}, the scenario names {name}")
    server = cluster.node_groups.server()
    if _comparable(server) != _comparable(cluster.server):
        problems.append(f"we speak to {cluster.server}, but cluster {name} is served at {server}")
    if account is not None and (present := cluster.node_groups.account()) != account:
        problems.append(f"the credentials are of AWS account {present}, the scenario names {account}")
    return problems


def _comparable(url: str) -> str:
    # EKS writes a part of its host names in upper case, kubeconfigs need not.
    return url.rstrip("/").lower()
