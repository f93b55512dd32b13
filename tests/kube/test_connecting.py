"""From a kubeconfig to a cluster; every way that can go wrong is one line that says what to mend."""

from __future__ import annotations

import os

import pytest
import yaml
from kubernetes.client import Configuration

from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.kube.errors import KubeConfigError
from pytest_cnimigrate.model.resources import NODES


def refusal(path, context=None):
    with pytest.raises(KubeConfigError) as caught:
        connect(path, context)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.fixture
def edited(tmp_path, write_kubeconfig):
    """Writes a kubeconfig with some of its entries changed, or left out if None."""

    def edit(**changes):
        path = write_kubeconfig(tmp_path, "http://127.0.0.1:1")
        loaded = yaml.safe_load(path.read_text()) | changes
        path.write_text(yaml.safe_dump({key: value for key, value in loaded.items() if value is not None}))
        return path

    return edit


def test_a_context_that_is_not_there_is_refused_with_the_names_of_those_that_are(edited):
    contexts = [
        {"name": name, "context": {"cluster": "main", "user": "main"}} for name in ("main", "staging")
    ]
    text = refusal(edited(contexts=contexts), "production")
    assert "no context 'production'; it has: main, staging" in text


def test_a_file_without_a_current_context_wants_one_named(edited):
    assert "no context is named and none is current; it has: main" in refusal(
        edited(**{"current-context": None})
    )


def test_a_missing_file_a_broken_one_and_an_empty_one(tmp_path):
    assert "no such kubeconfig" in refusal(tmp_path / "nowhere")
    broken = tmp_path / "broken"
    broken.write_text("a: 1\ntoken: secret-of-mine: x\n")
    text = refusal(broken)
    assert ", line 2: the kubeconfig is not valid YAML" in text
    assert "secret-of-mine" not in text
    empty = tmp_path / "empty"
    empty.write_text("")
    assert "empty" in refusal(empty)


@pytest.mark.parametrize("kind", ["cluster", "user"])
def test_a_context_whose_cluster_or_user_is_missing(edited, kind):
    assert f"the {kind} of context 'main' is missing" in refusal(edited(**{f"{kind}s": []}))


def test_a_login_command_that_fails_is_no_anonymous_login(edited):
    login = {"apiVersion": "client.authentication.k8s.io/v1", "command": "false", "interactiveMode": "Never"}
    text = refusal(edited(users=[{"name": "main", "user": {"exec": login}}]))
    assert "login command 'false' of context 'main' gave no credentials" in text


def test_certificates_are_looked_for_beside_the_kubeconfig(edited, tmp_path):
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority": "ca.pem"}
    path = edited(clusters=[{"name": "main", "cluster": cluster}])
    assert "ca.pem" in refusal(path)
    (tmp_path / "ca.pem").write_text("")
    with connect(path) as client:
        assert client._transport.api_client.configuration.ssl_ca_cert == str(tmp_path / "ca.pem")


def test_two_clusters_at_once_and_no_global_state(tmp_path, write_kubeconfig):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    before = Configuration._default
    with (
        connect(write_kubeconfig(tmp_path / "a", "http://127.0.0.1:1")) as one,
        connect(write_kubeconfig(tmp_path / "b", "http://127.0.0.1:2")) as other,
    ):
        assert (one.server, other.server) == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert Configuration._default is before


def test_a_cluster_on_this_machine_is_not_asked_through_the_environments_proxy(api, tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    api.will(api.json({"ok": 1}))
    with api.client(tmp_path) as client:
        assert client.get(NODES, "a") == {"ok": 1}
    assert os.environ["http_proxy"]
