"""The stand-in for Cilium's chart: what the real one makes, refuses and takes for what is not said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pytest_cnimigrate.simulator.charts import cilium

RECORDINGS = Path(__file__).parents[2] / "fixtures" / "recordings" / "cilium"
SCENARIO = Path(__file__).parents[3] / "scenarios" / "node_pool" / "cilium-values.yaml"


def render(values=None, version="1.18.4"):
    """The objects by `Kind/name`."""
    objects = cilium.render(values or {}, version=version, release="cilium", namespace="kube-system")
    return {f"{obj['kind']}/{obj['metadata']['name']}": obj for obj in objects}


def config(values=None, version="1.18.4"):
    return render(values, version)["ConfigMap/cilium-config"]["data"]


def pod_of(obj):
    return obj["spec"]["template"]["spec"]


def recorded(name):
    return json.loads((RECORDINGS / name).read_text("utf-8"))


# --- against the real chart's objects ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def as_recorded():
    values = yaml.safe_load((RECORDINGS / "cilium-values-a2.yaml").read_text("utf-8"))
    return render(values, "1.18.0")


def test_every_key_of_the_configuration_is_what_the_real_chart_made_of_the_same_values(as_recorded):
    real = recorded("70-final-A-cilium-config.json")["data"]
    ours = as_recorded["ConfigMap/cilium-config"]["data"]
    assert len(ours) > 20
    assert {key: real.get(key) for key in ours} == ours


@pytest.mark.parametrize(
    "field",
    ["affinity", "tolerations", "hostNetwork", "priorityClassName", "serviceAccountName"],
)
@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("DaemonSet/cilium", "70-final-A-cilium-daemonset.json"),
        ("Deployment/cilium-operator", "70-final-A-cilium-operator.json"),
    ],
)
def test_agents_and_operator_go_where_the_real_ones_went(as_recorded, name, recording, field):
    # Not their nodeSelectors: the rig's operator ran without the one in these values.
    real = recorded(recording)
    assert pod_of(as_recorded[name]).get(field) == pod_of(real).get(field)
    assert as_recorded[name]["spec"]["selector"] == real["spec"]["selector"]


def test_the_agents_update_as_the_real_ones(as_recorded):
    real = recorded("70-final-A-cilium-daemonset.json")["spec"]["updateStrategy"]
    ours = as_recorded["DaemonSet/cilium"]["spec"]["updateStrategy"]
    assert ours["type"] == real["type"]
    assert ours["rollingUpdate"]["maxUnavailable"] == real["rollingUpdate"]["maxUnavailable"]


def test_the_containers_are_those_of_the_real_agent_as_far_as_they_matter(as_recorded):
    real = pod_of(recorded("70-final-A-cilium-daemonset.json"))
    ours = pod_of(as_recorded["DaemonSet/cilium"])
    assert [one["name"] for one in ours["containers"]] == [one["name"] for one in real["containers"]]
    assert {one["name"] for one in ours["initContainers"]} <= {one["name"] for one in real["initContainers"]}
    assert ours["containers"][0]["image"] == real["containers"][0]["image"]


def test_the_other_recorded_values_are_taken_too():
    values = yaml.safe_load((RECORDINGS / "cilium-values-final.yaml").read_text("utf-8"))
    data = config(values, "1.18.0")
    assert (data["routing-mode"], data["tunnel-port"]) == ("tunnel", "8473")
    assert (data["cluster-pool-ipv4-cidr"], data["unmanaged-pod-watcher-interval"]) == ("10.245.0.0/16", "15")


# --- the scenario's values ---------------------------------------------------------------------------------


def test_the_scenarios_values_make_what_the_migration_needs():
    values = yaml.safe_load(SCENARIO.read_text("utf-8"))
    objects = render(values)
    data = objects["ConfigMap/cilium-config"]["data"]
    assert (data["ipam"], data["routing-mode"], data["enable-ipv4-masquerade"]) == ("eni", "native", "true")
    assert data["unmanaged-pod-watcher-interval"] == "0"
    assert data["write-cni-conf-when-ready"] == "/host/etc/cni/net.d/05-cilium.conflist"
    assert pod_of(objects["Deployment/cilium-operator"])["containers"][0]["image"] == (
        "quay.io/cilium/operator-aws:v1.18.4"
    )
    assert objects["Deployment/cilium-operator"]["spec"]["replicas"] == 1
    assert "Deployment/hubble-relay" in objects
    affinity = pod_of(objects["DaemonSet/cilium"])["affinity"]
    assert affinity["nodeAffinity"] == values["affinity"]["nodeAffinity"]
    # Helm merges mappings: the chart's own part stays.
    assert affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]


# --- defaults by version -----------------------------------------------------------------------------------

ENI = {"eni": {"enabled": True}}


@pytest.mark.parametrize(
    ("values", "version", "expected"),
    [
        (ENI, "1.18.0", "false"),
        (ENI, "1.17.9", "true"),
        (ENI | {"upgradeCompatibility": "1.17"}, "1.18.0", "true"),
        (ENI | {"upgradeCompatibility": "1.18"}, "1.18.0", "false"),
        (ENI | {"enableIPv4Masquerade": True}, "1.18.0", "true"),
        ({"enableIPv4Masquerade": False}, "1.17.0", "false"),
        ({}, "1.18.0", "true"),
    ],
)
def test_the_default_of_masquerading_changed_in_eni_mode_with_1_18(values, version, expected):
    assert config(values, version)["enable-ipv4-masquerade"] == expected


def test_eni_mode_brings_its_own_routing_and_addresses_whatever_ipam_mode_says():
    data = config(ENI)
    assert (data["ipam"], data["routing-mode"]) == ("eni", "native")
    assert (data["auto-create-cilium-node-resource"], data["enable-endpoint-routes"]) == ("true", "true")
    assert "aws-enable-prefix-delegation" not in data
    more = config(
        {"eni": {"enabled": True, "awsEnablePrefixDelegation": True, "subnetTagsFilter": ["a=b", "c=d"]}}
    )
    assert (more["aws-enable-prefix-delegation"], more["subnet-tags-filter"]) == ("true", "a=b,c=d")


@pytest.mark.parametrize(
    ("watcher", "version", "expected"),
    [
        ({}, "1.18.0", "15"),
        ({}, "1.19.0", "15s"),
        ({"intervalSeconds": 30}, "1.18.0", "30"),
        ({"restart": False}, "1.18.0", "0"),
        ({"restart": False}, "1.19.0", "0"),
    ],
)
def test_the_watchers_interval(watcher, version, expected):
    data = config({"operator": {"unmanagedPodWatcher": watcher}}, version)
    assert data["unmanaged-pod-watcher-interval"] == expected
    assert "pod-restart-selector" not in data


def test_the_watchers_selector_is_written_when_it_is_said_even_an_empty_one():
    data = config({"operator": {"unmanagedPodWatcher": {"selector": ""}}})
    assert data["pod-restart-selector"] == ""


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ({}, {"remove-cilium-node-taints": "true", "set-cilium-node-taints": "true"}),
        ({"setNodeTaints": False}, {"remove-cilium-node-taints": "true"}),
        ({"removeNodeTaints": False}, {}),
    ],
)
def test_what_the_operator_does_with_taints_is_written_only_when_it_does(operator, expected):
    data = config({"operator": operator})
    assert {key: value for key, value in data.items() if "node-taints" in key} == expected


@pytest.mark.parametrize("cni", [{"customConf": True}, {"install": False}])
def test_without_managing_the_cni_files_nothing_is_said_of_them(cni):
    data = config({"cni": cni})
    assert "write-cni-conf-when-ready" not in data
    assert "cni-exclusive" not in data


def test_chaining_is_written_down():
    assert config({"cni": {"chainingMode": "aws-cni", "exclusive": False}})["cni-chaining-mode"] == "aws-cni"
    assert config({"cni": {"chainingTarget": "aws-cni"}})["cni-chaining-mode"] == "generic-veth"
    assert "cni-chaining-mode" not in config()


# --- objects by values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"envoy": {"enabled": False}}, "DaemonSet/cilium-envoy"),
        ({"operator": {"enabled": False}}, "Deployment/cilium-operator"),
        ({"serviceAccounts": {"cilium": {"create": False}}}, "ServiceAccount/cilium"),
    ],
)
def test_what_is_switched_off_is_not_made(values, name):
    assert name in render()
    assert name not in render(values)


def test_relay_and_interface_are_made_when_they_are_switched_on():
    assert "Deployment/hubble-relay" not in render()
    both = render({"hubble": {"relay": {"enabled": True}, "ui": {"enabled": True}}})
    assert {"Deployment/hubble-relay", "Deployment/hubble-ui", "ServiceAccount/hubble-relay"} <= both.keys()


def test_mappings_are_merged_and_null_takes_a_key_away():
    agent = render({"nodeSelector": {"pool": "new"}})["DaemonSet/cilium"]
    assert pod_of(agent)["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "new"}
    bare = render({"affinity": {"podAntiAffinity": None}, "nodeSelector": None})["DaemonSet/cilium"]
    assert pod_of(bare)["affinity"] == {}
    assert pod_of(bare)["nodeSelector"] == {}
    operator = render({"operator": {"affinity": {"nodeAffinity": {"x": 1}}}})["Deployment/cilium-operator"]
    assert set(pod_of(operator)["affinity"]) == {"podAntiAffinity", "nodeAffinity"}


def test_another_api_server_is_told_to_agents_and_operator():
    objects = render({"k8sServiceHost": "api.example", "k8sServicePort": 6443})
    for name in ("DaemonSet/cilium", "Deployment/cilium-operator"):
        environment = {one["name"]: one.get("value") for one in pod_of(objects[name])["containers"][0]["env"]}
        assert environment["KUBERNETES_SERVICE_HOST"] == "api.example"
        assert environment["KUBERNETES_SERVICE_PORT"] == "6443"
    plain = pod_of(render()["DaemonSet/cilium"])["containers"][0]["env"]
    assert "KUBERNETES_SERVICE_HOST" not in {one["name"] for one in plain}


@pytest.mark.parametrize(
    ("switch", "name"),
    [
        ({"rollOutCiliumPods": True}, "DaemonSet/cilium"),
        ({"operator": {"rollOutPods": True}}, "Deployment/cilium-operator"),
    ],
)
def test_a_change_of_the_configuration_restarts_pods_only_where_that_is_asked_for(switch, name):
    def template(values):
        return render(values)[name]["spec"]["template"]

    change = {"policyEnforcementMode": "never"}
    assert template(change) == template({})
    assert template(switch | change) != template(switch)


def test_rendering_does_not_change_the_values_and_does_not_remember_them():
    values = {"nodeSelector": {"pool": "new"}, "eni": {"enabled": True}}
    before = json.dumps(values)
    render(values)
    assert json.dumps(values) == before
    assert pod_of(render()["DaemonSet/cilium"])["nodeSelector"] == {"kubernetes.io/os": "linux"}


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "version", "words"),
    [
        ({"tunnel": "disabled"}, "1.15.0", "tunnel was deprecated in v1.14 and has been removed in v1.15"),
        (
            {"kubeProxyReplacement": "strict"},
            "1.16.0",
            "kubeProxyReplacement must be explicitly set to a valid",
        ),
        ({"cluster": {"name": "Prod"}}, "1.17.0", "The cluster name is invalid"),
        ({"cluster": {"name": "a" * 33}}, "1.17.0", "The cluster name is invalid"),
        (
            {"operator": {"setNodeTaints": True, "removeNodeTaints": False}},
            "1.18.0",
            "operator.removeNodeTaints",
        ),
        ({"hubble": {"enabled": False, "relay": {"enabled": True}}}, "1.18.0", "Hubble Relay requires"),
        ({"hubble": {"ui": {"enabled": True}}}, "1.18.0", "Hubble UI requires"),
        (
            {"routingMode": "native", "enableIPv4Masquerade": True},
            "1.18.0",
            "ipv4NativeRoutingCIDR must be set",
        ),
        ({"routingMode": "native"}, "1.17.0", "ipv4NativeRoutingCIDR must be set"),
    ],
)
def test_what_the_real_chart_refuses_is_refused_in_its_words(values, version, words):
    with pytest.raises(cilium.ChartError, match=r"execution error at \(cilium/templates/") as caught:
        render(values, version)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("values", "version"),
    [
        ({"kubeProxyReplacement": "strict"}, "1.15.0"),
        ({"kubeProxyReplacement": True}, "1.18.0"),
        ({"cluster": {"name": "Prod"}}, "1.16.0"),
        ({"routingMode": "native"}, "1.18.0"),
        ({"routingMode": "native", "enableIPv4Masquerade": True, **ENI}, "1.18.0"),
        ({"routingMode": "native", "ipv4NativeRoutingCIDR": "10.0.0.0/8"}, "1.17.0"),
        ({"upgradeCompatibility": "1.17"}, "v1.18.0-dev"),
    ],
)
def test_what_the_real_chart_takes_is_taken(values, version):
    assert render(values, version)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"no": {"such": 1}}, "does not know the value no; it knows beside it: affinity"),
        (
            {"operator": {"replica": 1}},
            "does not know the value operator.replica; it knows beside it: affinity",
        ),
        ({"tunnel": "vxlan"}, "does not know the value tunnel"),
        ({"operator": 1}, "the value operator must be a mapping, not 1"),
        ({"operator": None}, "the value operator must not be null"),
        ({"affinity": "x"}, "the value affinity must be a mapping, not 'x'"),
        # A quoted "false" is a text, and a text is true to a template.
        ({"envoy": {"enabled": "false"}}, "envoy.enabled: Invalid type. Expected: bool, given: str"),
        ({"operator": {"replicas": "1"}}, "operator.replicas: Invalid type. Expected: int, given: str"),
        ({"operator": {"replicas": True}}, "operator.replicas: Invalid type. Expected: int, given: bool"),
        ({"tolerations": {"operator": "Exists"}}, "tolerations: Invalid type. Expected: list, given: dict"),
        ({"cluster": {"name": 5}}, "cluster.name: Invalid type. Expected: str, given: int"),
    ],
)
def test_a_value_that_would_have_no_effect_or_another_one_is_refused_by_name(values, words):
    with pytest.raises(cilium.ChartError) as caught:
        render(values, "1.14.0" if "tunnel" in values else "1.18.4")
    assert words in str(caught.value)


def test_what_is_no_version_is_refused():
    with pytest.raises(cilium.ChartError, match="'latest' is not a version of the chart"):
        render({}, "latest")
