"""Columns and rows of kubectl's tables, kind by kind (`pkg/printers/internalversion/printers.go`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_cnimigrate.model.objects import Object, condition, labels_of, parse_timestamp
from pytest_cnimigrate.model.selectors import format_label_selector
from pytest_cnimigrate.simulator.apiserver.pod_rows import pod_row
from pytest_cnimigrate.simulator.apiserver.printing import (
    NONE,
    UNKNOWN,
    age,
    containers_of,
    human_duration,
    joined,
    pairs,
    since,
)

Row = Callable[[Object], list[Any]]


@dataclass(frozen=True, slots=True)
class TableKind:
    """The columns of a kind and how its row is made; wide columns come last."""

    columns: tuple[str, ...]
    row: Row
    wide: tuple[str, ...] = ()


def _selector(spec: Object) -> str:
    return format_label_selector(spec.get("selector")) or NONE


def _node(node: Object) -> list[Any]:
    status = node.get("status") or {}
    ready = condition(node, "Ready")
    words = [UNKNOWN if ready is None else "Ready" if ready["status"] == "True" else "NotReady"]
    if (node.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(
        key.removeprefix(prefix) or value if key.startswith(prefix) else value
        for key, value in labels_of(node).items()
        if key.startswith(prefix) or key == "kubernetes.io/role"
    )
    addresses = {entry["type"]: entry["address"] for entry in status.get("addresses") or ()}
    info = status.get("nodeInfo") or {}
    return [
        node["metadata"]["name"],
        ",".join(words),
        joined(role for role in roles if role),
        age(node),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _daemon_set(obj: Object) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    template = spec["template"].get("spec") or {}
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    return [
        obj["metadata"]["name"],
        *(status.get(field, 0) for field in (*counts, "numberAvailable")),
        pairs(template.get("nodeSelector")),
        age(obj),
        *containers_of(template),
        _selector(spec),
    ]


def _deployment(obj: Object) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj),
        *containers_of(spec["template"].get("spec") or {}),
        _selector(spec),
    ]


def _replica_set(obj: Object) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj),
        *containers_of(spec["template"].get("spec") or {}),
        _selector(spec),
    ]


def _stateful_set(obj: Object) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        age(obj),
        *containers_of(spec["template"].get("spec") or {}),
    ]


def _external_address(service: Object) -> str:
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    addresses = [entry.get("ip") or entry.get("hostname", "") for entry in ingress]
    addresses += spec.get("externalIPs") or []
    if not addresses and spec.get("type") == "LoadBalancer":
        return "<pending>"
    return joined(addresses)


def _service(obj: Object) -> list[Any]:
    spec = obj["spec"]
    ports = [
        f"{port['port']}:{port['nodePort']}/{port.get('protocol', 'TCP')}"
        if port.get("nodePort")
        else f"{port['port']}/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports") or ()
    ]
    return [
        obj["metadata"]["name"],
        spec.get("type", "ClusterIP"),
        spec.get("clusterIP") or NONE,
        _external_address(obj),
        joined(ports),
        age(obj),
        pairs(spec.get("selector")),
    ]


def _budget(obj: Object) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        status.get("disruptionsAllowed", 0),
        age(obj),
    ]


def _network_policy(obj: Object) -> list[Any]:
    selector = format_label_selector((obj.get("spec") or {}).get("podSelector") or {})
    return [obj["metadata"]["name"], selector or NONE, age(obj)]


def _job(obj: Object) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    wanted = spec.get("completions")
    completions = (
        f"{status.get('succeeded', 0)}/{wanted}" if wanted is not None else f"{status.get('succeeded', 0)}"
    )
    finished = {entry["type"] for entry in status.get("conditions") or () if entry["status"] == "True"}
    word = next((kind for kind in ("Complete", "Failed", "Suspended") if kind in finished), "Running")
    duration = ""
    if status.get("startTime"):
        duration = since(status["startTime"])
        if status.get("completionTime"):
            start, end = parse_timestamp(status["startTime"]), parse_timestamp(status["completionTime"])
            duration = human_duration((end - start).total_seconds())
    template = spec["template"].get("spec") or {}
    return [
        obj["metadata"]["name"],
        word,
        completions,
        duration,
        age(obj),
        *containers_of(template),
        _selector(spec),
    ]


def _event(obj: Object) -> list[Any]:
    seen = obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("firstTimestamp")
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    about = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    return [
        since(seen),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        ", ".join(word for word in (source.get("component", ""), source.get("host", "")) if word),
        str(obj.get("message", "")).strip(),
        since(first),
        obj.get("count", 1),
        obj["metadata"]["name"],
    ]


def _endpoint_slice(obj: Object) -> list[Any]:
    ports = [str(port.get("port", "")) for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint["addresses"]]
    more = f" + {len(addresses) - 3} more..." if len(addresses) > 3 else ""
    return [
        obj["metadata"]["name"],
        obj.get("addressType", ""),
        ",".join(ports) or "<unset>",
        (",".join(addresses[:3]) or "<unset>") + more,
        age(obj),
    ]


def _endpoints(obj: Object) -> list[Any]:
    listed = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    more = f" + {len(listed) - 3} more..." if len(listed) > 3 else ""
    return [obj["metadata"]["name"], joined(listed[:3]) + more, age(obj)]


def _claim(obj: Object) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        "Terminating" if "deletionTimestamp" in obj["metadata"] else status.get("phase", ""),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", ""),
        ",".join(status.get("accessModes") or ()),
        spec.get("storageClassName", ""),
        age(obj),
    ]


def _lease(obj: Object) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("spec") or {}).get("holderIdentity", ""), age(obj)]


def _binding(obj: Object) -> list[Any]:
    reference = obj["roleRef"]
    return [obj["metadata"]["name"], f"{reference['kind']}/{reference['name']}", age(obj)]


def _ingress(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    hosts = joined(rule.get("host") or "*" for rule in spec.get("rules") or ())
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    address = ",".join(entry.get("ip") or entry.get("hostname", "") for entry in ingress)
    ports = "80, 443" if spec.get("tls") else "80"
    return [obj["metadata"]["name"], spec.get("ingressClassName") or NONE, hosts, address, ports, age(obj)]


def _definition(obj: Object) -> list[Any]:
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", "")]


def name_and_age(obj: Object) -> list[Any]:
    """The row of a kind without columns of its own."""
    return [obj["metadata"]["name"], age(obj)]


def _data(obj: Object) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj)]


def _secret(obj: Object) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data") or ()), age(obj)]


def _namespace(obj: Object) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), age(obj)]


def _service_account(obj: Object) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("secrets") or ()), age(obj)]


def _priority_class(obj: Object) -> list[Any]:
    shared = [obj["metadata"]["name"], obj.get("value", 0), str(bool(obj.get("globalDefault"))).lower()]
    return [*shared, age(obj), obj.get("preemptionPolicy", "")]


_WORKLOAD = ("Containers", "Images", "Selector")

KINDS: dict[str, TableKind] = {
    "nodes": TableKind(
        ("Name", "Status", "Roles", "Age", "Version"),
        _node,
        ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
    ),
    "pods": TableKind(
        ("Name", "Ready", "Status", "Restarts", "Age"),
        pod_row,
        ("IP", "Node", "Nominated Node", "Readiness Gates"),
    ),
    "namespaces": TableKind(("Name", "Status", "Age"), _namespace),
    "services": TableKind(
        ("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"), _service, ("Selector",)
    ),
    "endpoints": TableKind(("Name", "Endpoints", "Age"), _endpoints),
    "configmaps": TableKind(("Name", "Data", "Age"), _data),
    "secrets": TableKind(("Name", "Type", "Data", "Age"), _secret),
    "serviceaccounts": TableKind(("Name", "Secrets", "Age"), _service_account),
    "events": TableKind(
        (
            "Last Seen",
            "Type",
            "Reason",
            "Object",
            "Subobject",
            "Source",
            "Message",
            "First Seen",
            "Count",
            "Name",
        ),
        _event,
    ),
    "persistentvolumeclaims": TableKind(
        ("Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "Age"), _claim
    ),
    "daemonsets.apps": TableKind(
        ("Name", "Desired", "Current", "Ready", "Up-to-date", "Available", "Node Selector", "Age"),
        _daemon_set,
        _WORKLOAD,
    ),
    "deployments.apps": TableKind(
        ("Name", "Ready", "Up-to-date", "Available", "Age"), _deployment, _WORKLOAD
    ),
    "replicasets.apps": TableKind(("Name", "Desired", "Current", "Ready", "Age"), _replica_set, _WORKLOAD),
    "statefulsets.apps": TableKind(("Name", "Ready", "Age"), _stateful_set, ("Containers", "Images")),
    "jobs.batch": TableKind(("Name", "Status", "Completions", "Duration", "Age"), _job, _WORKLOAD),
    "poddisruptionbudgets.policy": TableKind(
        ("Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"), _budget
    ),
    "networkpolicies.networking.k8s.io": TableKind(("Name", "Pod-Selector", "Age"), _network_policy),
    "ingresses.networking.k8s.io": TableKind(("Name", "Class", "Hosts", "Address", "Ports", "Age"), _ingress),
    "endpointslices.discovery.k8s.io": TableKind(
        ("Name", "AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice
    ),
    "leases.coordination.k8s.io": TableKind(("Name", "Holder", "Age"), _lease),
    "priorityclasses.scheduling.k8s.io": TableKind(
        ("Name", "Value", "Global-Default", "Age", "PreemptionPolicy"), _priority_class
    ),
    "rolebindings.rbac.authorization.k8s.io": TableKind(("Name", "Role", "Age"), _binding),
    "clusterrolebindings.rbac.authorization.k8s.io": TableKind(("Name", "Role", "Age"), _binding),
    "customresourcedefinitions.apiextensions.k8s.io": TableKind(("Name", "Created At"), _definition),
}

DEFAULT = TableKind(("Name", "Age"), name_and_age)

WIDE_EVENT_COLUMNS = frozenset({"Subobject", "Source", "First Seen", "Count", "Name"})
