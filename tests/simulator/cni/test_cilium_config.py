"""How Cilium's settings are read."""

from __future__ import annotations

import pytest

from pytest_cnimigrate.simulator.cni.cilium_config import CiliumConfig, CiliumConfigError, parse_duration


@pytest.mark.parametrize(
    ("interfaces", "device", "masquerades"),
    [("", "ens5", True), ("eth0", "eth0", True), ("eth0", "ens5", False), ("eth+ ens+", "ens5", True)],
)
def test_masquerading_depends_on_the_device_that_packets_leave_by(
    interfaces: str, device: str, masquerades: bool
) -> None:
    config = CiliumConfig({"enable-ipv4-masquerade": "true", "egress-masquerade-interfaces": interfaces})
    assert config.masquerades_on(device) is masquerades


def test_masquerading_can_be_off() -> None:
    assert not CiliumConfig({"enable-ipv4-masquerade": "false"}).masquerades_on("eth0")


def test_a_mode_that_is_not_simulated_is_refused_by_name() -> None:
    with pytest.raises(CiliumConfigError, match="ipam=azure is not simulated"):
        _ = CiliumConfig({"ipam": "azure"}).ipam


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m0s", 300), ("15s", 15), ("1h30m", 5400), ("200ms", 0.2), ("0", 0)]
)
def test_go_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_what_is_no_duration_is_said() -> None:
    with pytest.raises(CiliumConfigError, match="'soon' is not a duration"):
        parse_duration("soon")


def test_custom_conf_means_no_file_even_if_one_is_named() -> None:
    raw = {"custom-cni-conf": "true", "write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist"}
    assert CiliumConfig(raw).cni_file == ""
    assert CiliumConfig(raw | {"custom-cni-conf": "false"}).cni_file == "05-cilium.conflist"
