"""Which CNI configuration is in force on a node."""

from __future__ import annotations

import pytest

from pytest_cnimigrate.simulator.nodes.cni_files import CniFiles


def conflist(kind: str) -> str:
    return f'{{"name": "{kind}", "plugins": [{{"type": "{kind}"}}, {{"type": "portmap"}}]}}'


def test_the_first_configuration_by_name_is_in_force() -> None:
    files = CniFiles()
    files.write("10-aws.conflist", conflist("aws-cni"))
    files.write("05-cilium.conflist", conflist("cilium-cni"))
    assert files.active() == "05-cilium.conflist"
    assert files.plugin_type() == "cilium-cni"


def test_hidden_and_foreign_files_do_not_count() -> None:
    files = CniFiles()
    files.write("00-notes.txt", "not a configuration")
    files.write("10-aws.conflist.cilium_bak", conflist("aws-cni"))
    assert files.active() is None
    assert files.plugin_type() is None
    files.write("99-loopback.conf", '{"type": "loopback"}')
    assert files.plugin_type() == "loopback"


def test_watchers_hear_of_real_changes_only() -> None:
    files, heard = CniFiles(), []
    files.watch(lambda: heard.append(files.names()))
    files.write("a.conf", "1")
    files.write("a.conf", "1")
    files.rename("a.conf", "b.conf")
    files.remove("b.conf")
    assert heard == [["a.conf"], ["b.conf"], []]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"/etc/cni/net\.d/05-cilium\.conflist"):
        CniFiles().read("05-cilium.conflist")
