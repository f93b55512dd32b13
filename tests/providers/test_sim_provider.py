"""The embedded cluster as a process: it comes, it goes, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.kube.errors import ServerEnded, ServerError
from pytest_cnimigrate.model.resources import NODES
from pytest_cnimigrate.providers.cluster import Cluster, ClusterRequest, ProviderError
from pytest_cnimigrate.providers.eksctl import ClusterConfig
from pytest_cnimigrate.providers.node_groups import CloudError
from pytest_cnimigrate.providers.sim import SimProvider
from pytest_cnimigrate.simulator import registry

CONFIG = ClusterConfig.model_validate(
    {
        "apiVersion": "eksctl.io/v1alpha5",
        "kind": "ClusterConfig",
        "metadata": {"name": "small", "region": "us-west-1"},
        "managedNodeGroups": [
            {"name": "ng-1", "desiredCapacity": 1},
            {"name": "ng-2", "desiredCapacity": 1},
        ],
    }
)


@pytest.fixture(autouse=True)
def _own_registry(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def request(folder: Path, **changes: object) -> ClusterRequest:
    settings: dict[str, object] = {
        "name": "small",
        "region": "us-west-1",
        "config": CONFIG,
        "absent_groups": ("ng-2",),
        "folder": folder,
        "run_id": "test",
        "speed": 200.0,
        "faults": (),
        "port": 0,
    }
    return ClusterRequest(**(settings | changes))


def provision(provider: SimProvider, folder: Path, **changes: object) -> Cluster:
    return provider.provision(request(folder, **changes), lambda text: None)


def prune(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_cnimigrate.providers.prune", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie is dead; only its parent has not been told yet.
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 15
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def test_the_cluster_is_there_with_ready_nodes_and_without_the_group_that_the_migration_makes(tmp_path):
    provider = SimProvider()
    try:
        cluster = provision(provider, tmp_path)
        assert len(cluster.kube.list(NODES)) == 1
        group = cluster.node_groups.find("ng-1")
        assert group is not None
        assert group.desired == 1
        assert cluster.node_groups.find("ng-2") is None
    finally:
        provider.release(keep=False)


def test_the_kubeconfig_is_for_its_owner_only(tmp_path):
    provider = SimProvider()
    try:
        cluster = provision(provider, tmp_path)
        assert stat.S_IMODE(cluster.kubeconfig.stat().st_mode) == 0o600
    finally:
        provider.release(keep=False)


def test_a_released_cluster_leaves_no_process(tmp_path):
    provider = SimProvider()
    provision(provider, tmp_path)
    (entry,) = registry.entries()
    provider.release(keep=False)
    wait_until_gone(entry.pid)
    assert list(registry.entries()) == []


def test_a_kept_cluster_lives_on_says_how_to_reach_it_and_can_be_pruned(tmp_path):
    provider = SimProvider()
    cluster = provision(provider, tmp_path)
    words = provider.release(keep=True)
    assert str(cluster.kubeconfig) in words
    assert "make prune" in words
    (entry,) = registry.entries()
    with connect(cluster.kubeconfig) as kube:
        assert len(kube.list(NODES)) == 1

    pruned = subprocess.run(
        [sys.executable, "-m", "pytest_cnimigrate.providers.prune"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert pruned.returncode == 0
    assert f"removed embedded cluster small (pid {entry.pid}" in pruned.stdout
    wait_until_gone(entry.pid)
    assert list(registry.entries()) == []


def test_prune_lists_what_there_is_and_removes_nothing_when_asked_to(tmp_path):
    provider = SimProvider()
    provision(provider, tmp_path)
    try:
        listed = prune("--list")
        assert "embedded cluster small" in listed.stdout
        assert len(list(registry.entries())) == 1
    finally:
        provider.release(keep=False)


def test_prune_says_when_there_is_nothing(tmp_path):
    pruned = subprocess.run(
        [sys.executable, "-m", "pytest_cnimigrate.providers.prune"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert pruned.stdout == "nothing is left of earlier runs\n"


def test_a_killed_parent_takes_its_cluster_with_it(tmp_path):
    program = (
        "import json, sys, time\n"
        "from pathlib import Path\n"
        "from pytest_cnimigrate.simulator.process import SimulatorProcess\n"
        "from pytest_cnimigrate.simulator.settings import ClusterSettings\n"
        "process = SimulatorProcess.start(ClusterSettings(groups=(), workloads=()), Path(sys.argv[1]))\n"
        "print(process.address.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until_gone(pid)


def test_a_port_that_is_taken_is_one_clear_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ProviderError) as caught:
            provision(SimProvider(), tmp_path, port=port)
    assert f"port {port} of 127.0.0.1 is in use" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fault_that_nobody_knows_is_answered_with_those_there_are(tmp_path):
    with pytest.raises(
        ProviderError, match=r"no fault is named 'typo'; known are: .*cilium-taint-never-removed"
    ):
        provision(SimProvider(), tmp_path, faults=("typo",))


def test_a_cluster_that_does_not_come_up_says_where_to_look(tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_cnimigrate.simulator.process.START_SECONDS", 0.01)
    with pytest.raises(ProviderError) as caught:
        provision(SimProvider(), tmp_path)
    assert "cluster.log" in str(caught.value)
    assert list(registry.entries()) == [] or not next(registry.entries()).alive


def test_a_fault_is_on_once_the_cluster_is_up_and_does_not_keep_it_from_coming_up(tmp_path):
    provider = SimProvider()
    try:
        cluster = provision(provider, tmp_path, faults=("api-unavailable", "node-never-registers"))
        with pytest.raises(ServerError):
            cluster.kube.list(NODES)
    finally:
        provider.release(keep=False)


def test_a_cluster_that_has_died_is_not_waited_for(tmp_path):
    provider = SimProvider()
    try:
        cluster = provision(provider, tmp_path)
        (entry,) = registry.entries()
        os.kill(entry.pid, signal.SIGKILL)
        words = r"the embedded cluster was killed by SIGKILL; what it said last is in .*cluster\.log"
        # The connection breaks a moment before the process counts as ended; the request is then repeated.
        with pytest.raises(ServerEnded, match=words) as of_kubernetes:
            cluster.view.kube.list(NODES)
        with pytest.raises(CloudError, match=words) as of_aws:
            cluster.node_groups.find("ng-1")
        assert not of_kubernetes.value.retriable
        assert not of_aws.value.retriable
    finally:
        provider.release(keep=False)


def test_prune_leaves_the_cluster_of_a_run_alone_unless_it_is_told_not_to(tmp_path):
    provider = SimProvider()
    try:
        provision(provider, tmp_path)
        (entry,) = registry.entries()
        result = prune()
        assert result.returncode == 0
        assert f"in use by process {os.getpid()}; --all ends it" in result.stdout
        assert is_alive(entry.pid)
        assert "removed embedded cluster small" in prune("--all").stdout
        assert list(registry.entries()) == []
    finally:
        provider.release(keep=False)


def test_no_token_is_logged(tmp_path):
    provider = SimProvider()
    try:
        cluster = provision(provider, tmp_path)
        token = json.loads(cluster.kubeconfig.read_text())["users"][0]["user"]["token"]
        assert token not in (tmp_path / "cluster.log").read_text()
        assert token not in repr(cluster)
    finally:
        provider.release(keep=False)


STRANGE = {
    "AWS_PROFILE": "nobody",
    "AWS_CONFIG_FILE": "{folder}/not-a-config",
    "AWS_SHARED_CREDENTIALS_FILE": "{folder}/not-a-config",
    "AWS_CA_BUNDLE": "{folder}/missing.pem",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ENDPOINT_URL_EKS": "http://127.0.0.1:1",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_RETRY_MODE": "bogus",
    "AWS_SESSION_TOKEN": "somebody",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
    "https_proxy": "http://127.0.0.1:1",
    "KUBECONFIG": "{folder}/not-a-config",
}


def test_the_settings_of_somebody_elses_cluster_and_account_do_not_matter(tmp_path, monkeypatch):
    (tmp_path / "not-a-config").write_text("this is no configuration")
    for name, value in STRANGE.items():
        monkeypatch.setenv(name, value.format(folder=tmp_path))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    provider = SimProvider()
    try:
        cluster = provision(provider, tmp_path)
        assert cluster.node_groups.find("ng-1").desired == 1
        assert cluster.node_groups.capacity("ng-1", "m5.large").pods_per_node == 29
        assert len(cluster.kube.list(NODES)) == 1
    finally:
        provider.release(keep=False)
    assert (tmp_path / "not-a-config").read_text() == "this is no configuration"


def test_without_a_home_that_can_be_written_a_kept_cluster_is_still_found_and_removed(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    provider = SimProvider()
    try:
        provision(provider, tmp_path)
    finally:
        provider.release(keep=True)
    (entry,) = registry.entries()
    assert entry.alive
    assert prune().returncode == 0
    wait_until_gone(entry.pid)
    assert list(registry.entries()) == []
