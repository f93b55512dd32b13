"""Admission: rules for a new object that depend on other objects, or that add to it.

The plugins of kube-apiserver that a migration meets: NamespaceLifecycle, Priority, ServiceAccount,
DefaultTolerationSeconds, TaintNodesByCondition; and the allocation of service addresses.
"""

from __future__ import annotations

import ipaddress
import random
from typing import Final

from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import NAMESPACES, SERVICES
from pytest_cnimigrate.simulator.apiserver.errors import forbidden, invalid, invalid_value, not_found
from pytest_cnimigrate.simulator.apiserver.pod_defaults import NOT_READY, admit_pod
from pytest_cnimigrate.simulator.apiserver.resources import ResourceInfo
from pytest_cnimigrate.simulator.apiserver.store import Store

NODE_PORTS: Final = (30_000, 32_767)
PERMANENT_NAMESPACES: Final = ("default", "kube-system", "kube-public")


class Admission:
    """The plugins, over the objects of one store."""

    def __init__(self, store: Store, *, service_cidr: str) -> None:
        self._store = store
        self._service_network = ipaddress.IPv4Network(service_cidr)
        self._random = random.Random(0)

    def check_namespace(self, info: ResourceInfo, namespace: str, name: str) -> None:
        """Nothing new in a namespace that does not exist (404) or that is being deleted (403)."""
        entry = self._store.table("namespaces").get("", namespace)
        if entry is None:
            raise not_found(NAMESPACES, namespace)
        if "deletionTimestamp" in entry.obj["metadata"]:
            detail = f"unable to create new content in namespace {namespace} because it is being terminated"
            error = forbidden(info.resource, name, detail)
            cause = {"reason": "NamespaceTerminating", "field": "metadata.namespace"}
            cause["message"] = f"namespace {namespace} is being terminated"
            error.details["causes"] = [cause]
            raise error

    def check_namespace_deletion(self, name: str) -> None:
        """The namespaces that the cluster cannot live without are permanent."""
        if name in PERMANENT_NAMESPACES:
            raise forbidden(NAMESPACES, name, "this namespace may not be deleted")

    def admit_create(self, info: ResourceInfo, obj: Object) -> None:
        """Change or refuse a new object."""
        match info.resource.group_resource:
            case "pods":
                admit_pod(obj)
                self._set_priority(info, obj)
                self._check_service_account(info, obj)
            case "nodes":
                # A new node is not ready until its lifecycle controller has seen that it is.
                taints = obj.setdefault("spec", {}).setdefault("taints", [])
                if not any(taint.get("key") == NOT_READY for taint in taints):
                    taints.append({"key": NOT_READY, "effect": "NoSchedule"})
            case "services":
                self.allocate(info, obj)

    def _set_priority(self, info: ResourceInfo, pod: Object) -> None:
        spec = pod["spec"]
        class_name = spec.get("priorityClassName")
        if class_name:
            entry = self._store.table("priorityclasses.scheduling.k8s.io").get("", class_name)
            if entry is None:
                detail = f"no PriorityClass with name {class_name} was found"
                raise forbidden(info.resource, pod["metadata"]["name"], detail)
            spec["priority"] = entry.obj["value"]
            spec["preemptionPolicy"] = entry.obj.get("preemptionPolicy", "PreemptLowerPriority")
        else:
            spec.setdefault("priority", 0)
            spec.setdefault("preemptionPolicy", "PreemptLowerPriority")

    def _check_service_account(self, info: ResourceInfo, pod: Object) -> None:
        """Each namespace gets its `default` account a moment after it is made: that one is taken on trust."""
        account, namespace = pod["spec"]["serviceAccountName"], pod["metadata"]["namespace"]
        if account != "default" and self._store.table("serviceaccounts").get(namespace, account) is None:
            detail = (
                f"error looking up service account {namespace}/{account}: "
                f'serviceaccount "{account}" not found'
            )
            raise forbidden(info.resource, pod["metadata"]["name"], detail)

    def allocate(self, info: ResourceInfo, service: Object) -> None:
        """Give a service its ClusterIP and node ports; raises 422 when the asked one is taken or foreign."""
        spec = service["spec"]
        if spec["type"] == "ExternalName":
            return
        others = [
            entry.obj["spec"]
            for entry in self._store.table("services").select()
            if entry.obj["metadata"].get("uid") != service["metadata"].get("uid")
        ]
        self._allocate_address(info, service, {other.get("clusterIP") for other in others})
        if spec["type"] in ("NodePort", "LoadBalancer"):
            taken = {port.get("nodePort") for other in others for port in other.get("ports") or ()}
            for port in spec.get("ports") or ():
                if "nodePort" not in port:
                    port["nodePort"] = self._free_port(taken)
                taken.add(port["nodePort"])

    def _allocate_address(self, info: ResourceInfo, service: Object, taken: set[str | None]) -> None:
        spec = service["spec"]
        asked = spec.get("clusterIP")
        if not asked:
            while not asked or asked in taken:
                offset = self._random.randrange(256, self._service_network.num_addresses - 1)
                asked = str(self._service_network[offset])
        elif asked != "None":
            problem = ""
            if ipaddress.ip_address(asked) not in self._service_network:
                problem = f"the provided IP ({asked}) is not in the valid range. The range of valid IPs is "
                problem += str(self._service_network)
            elif asked in taken:
                problem = "failed to allocate IP " + asked + ": provided IP is already allocated"
            if problem:
                error = invalid_value("spec.clusterIPs", [asked], problem)
                raise invalid(SERVICES, service["metadata"]["name"], [error])
        spec["clusterIP"] = asked
        spec["clusterIPs"] = [asked]

    def _free_port(self, taken: set[int | None]) -> int:
        while (port := self._random.randint(*NODE_PORTS)) in taken:
            pass
        return port
