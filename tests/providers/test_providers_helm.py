"""The stand-in for Helm: releases, revisions and Secrets as Helm 3 keeps them."""

from __future__ import annotations

import base64
import gzip
import json

import pytest

from pytest_cnimigrate.kube.errors import KubeError
from pytest_cnimigrate.model.objects import labels_of, name_of
from pytest_cnimigrate.model.resources import CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, NAMESPACES, SECRETS
from pytest_cnimigrate.providers.helm import HelmError
from pytest_cnimigrate.providers.stand_in_helm import StandInHelm

VALUES = {
    "cluster": {"name": "dc-migrate"},
    "nodeSelector": {"no-such-label": "here"},
    "operator": {"replicas": 0},
}
CHART = {"chart": "cilium/cilium", "version": "1.18.4"}


@pytest.fixture
def helm(cluster):
    return cluster.helm


def secrets(cluster, namespace):
    """The release's revisions as they are stored: name -> (status, what is packed in it)."""
    found = {}
    for secret in cluster.kube.list(SECRETS, namespace, label_selector="owner=helm"):
        assert secret["type"] == "helm.sh/release.v1"
        packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        found[name_of(secret)] = (labels_of(secret)["status"], json.loads(gzip.decompress(packed)))
    return found


def test_a_release_is_stored_as_helm_stores_it(cluster, helm, namespace):
    assert helm.find("cilium", namespace) is None
    release = helm.upgrade("cilium", namespace, values=VALUES, **CHART)
    assert helm.find("cilium", namespace) == release
    assert (release.revision, release.status, release.chart) == (1, "deployed", "cilium")
    assert (release.version, release.values) == ("1.18.4", VALUES)
    ((name, (status, record)),) = secrets(cluster, namespace).items()
    assert (name, status) == ("sh.helm.release.v1.cilium.v1", "deployed")
    assert record["chart"]["metadata"] == {"name": "cilium", "version": "1.18.4"}
    assert record["config"] == VALUES


def test_what_is_installed_says_whose_it_is(cluster, helm, namespace):
    helm.upgrade("cilium", namespace, values=VALUES, **CHART)
    metadata = cluster.kube.get(DAEMON_SETS, "cilium", namespace)["metadata"]
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert metadata["annotations"]["meta.helm.sh/release-name"] == "cilium"
    assert metadata["annotations"]["meta.helm.sh/release-namespace"] == namespace


def test_an_upgrade_is_a_new_revision_and_removes_what_the_chart_makes_no_more(cluster, helm, namespace):
    helm.upgrade("cilium", namespace, values=VALUES, **CHART)
    assert cluster.kube.find(DAEMON_SETS, "cilium-envoy", namespace)
    release = helm.upgrade("cilium", namespace, values=VALUES | {"envoy": {"enabled": False}}, **CHART)
    assert release.revision == 2
    assert cluster.kube.find(DAEMON_SETS, "cilium-envoy", namespace) is None
    assert [status for status, _ in secrets(cluster, namespace).values()] == ["superseded", "deployed"]


def test_a_rollback_is_a_new_revision_with_the_old_values(cluster, helm, namespace):
    helm.upgrade("cilium", namespace, values=VALUES, **CHART)
    helm.upgrade("cilium", namespace, values=VALUES | {"envoy": {"enabled": False}}, **CHART)
    release = helm.rollback("cilium", namespace, 1)
    assert (release.revision, release.status, release.values) == (3, "deployed", VALUES)
    assert cluster.kube.find(DAEMON_SETS, "cilium-envoy", namespace)


def test_an_uninstall_leaves_nothing_of_the_release(cluster, helm, namespace):
    helm.upgrade("cilium", namespace, values=VALUES, **CHART)
    helm.uninstall("cilium", namespace)
    assert helm.find("cilium", namespace) is None
    assert secrets(cluster, namespace) == {}
    for resource in (DAEMON_SETS, DEPLOYMENTS):
        assert cluster.kube.list(resource, namespace) == []
    assert cluster.kube.find(CONFIG_MAPS, "cilium-config", namespace) is None


def test_what_somebody_has_removed_by_hand_does_not_stop_an_uninstall(cluster, helm, namespace):
    helm.upgrade("cilium", namespace, values=VALUES, **CHART)
    cluster.kube.delete(DEPLOYMENTS, "cilium-operator", namespace)
    helm.uninstall("cilium", namespace)
    assert helm.find("cilium", namespace) is None


def test_releases_of_other_names_and_namespaces_are_left_alone(cluster, helm, namespace):
    helm.upgrade("cilium", namespace, values=VALUES, **CHART)
    assert helm.find("other", namespace) is None
    assert helm.find("cilium", "default") is None


class Breaking(StandInHelm):
    """Helm that loses the API server while it applies the operator."""

    def _resource(self, obj):
        if obj["kind"] == "Deployment":
            self._kube.get(NAMESPACES, "no-such-namespace")
        return super()._resource(obj)


def test_a_release_that_broke_off_is_kept_as_failed_and_can_be_repaired_or_removed(cluster, helm, namespace):
    breaking = Breaking(cluster.kube)
    with pytest.raises(HelmError, match="Release 'cilium' failed: cannot get namespace no-such-namespace"):
        breaking.upgrade("cilium", namespace, values=VALUES, **CHART)
    assert helm.find("cilium", namespace).status == "failed"
    assert cluster.kube.find(DAEMON_SETS, "cilium", namespace)
    release = helm.upgrade("cilium", namespace, values=VALUES, **CHART)
    assert (release.revision, release.status) == (2, "deployed")
    with pytest.raises(HelmError):
        breaking.upgrade("cilium", namespace, values=VALUES | {"envoy": {"enabled": False}}, **CHART)
    helm.uninstall("cilium", namespace)
    assert cluster.kube.list(DAEMON_SETS, namespace) == []


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda helm, namespace: helm.upgrade(
                "x", namespace, chart="bitnami/redis", version="1.0.0", values={}
            ),
            "the embedded cluster has stand-ins for cilium, none for chart bitnami/redis",
        ),
        (
            lambda helm, namespace: helm.upgrade("x", namespace, values={"no": {"such": 1}}, **CHART),
            "the stand-in chart does not know the value no; it knows beside it: affinity",
        ),
        (lambda helm, namespace: helm.rollback("x", namespace, 3), "has no revision 3"),
        (lambda helm, namespace: helm.uninstall("x", namespace), "there is no release "),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing_behind(cluster, helm, namespace, call, words):
    with pytest.raises(HelmError) as caught:
        call(helm, namespace)
    assert words in str(caught.value)
    assert secrets(cluster, namespace) == {}


@pytest.mark.parametrize("chart", ["cilium/cilium", "oci://quay.io/cilium/charts/cilium", "./cilium"])
def test_a_chart_is_known_by_its_name_wherever_it_comes_from(helm, namespace, chart):
    assert helm.upgrade("cilium", namespace, chart=chart, version="1.18.4", values=VALUES).chart == "cilium"


def test_an_api_server_that_refuses_the_release_itself_is_not_hidden(cluster, helm):
    with pytest.raises((HelmError, KubeError), match="no-such-namespace"):
        helm.upgrade("cilium", "no-such-namespace", values=VALUES, **CHART)
