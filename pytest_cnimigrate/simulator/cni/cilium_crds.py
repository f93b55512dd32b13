"""The resources that the operator makes known to the API server when it becomes the leader."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_cnimigrate.model.objects import Object

GROUP = "cilium.io"


@dataclass(frozen=True, slots=True)
class Definition:
    kind: str
    plural: str
    versions: tuple[str, ...] = ("v2",)
    """The first one is stored."""
    namespaced: bool = False
    short_names: tuple[str, ...] = ()
    status: bool = True
    columns: tuple[tuple[str, str, str], ...] = ()
    """(name, type, JSONPath) of what `kubectl get` shows."""


_AGE = ("Age", "date", ".metadata.creationTimestamp")

DEFINITIONS = (
    Definition(
        "CiliumEndpoint",
        "ciliumendpoints",
        namespaced=True,
        short_names=("cep", "ciliumep"),
        status=False,
        columns=(
            ("Security Identity", "integer", ".status.identity.id"),
            ("Endpoint State", "string", ".status.state"),
            ("IPv4", "string", ".status.networking.addressing[0].ipv4"),
            ("IPv6", "string", ".status.networking.addressing[0].ipv6"),
        ),
    ),
    Definition(
        "CiliumNode",
        "ciliumnodes",
        short_names=("cn", "ciliumn"),
        columns=(
            ("CiliumInternalIP", "string", '.spec.addresses[?(@.type=="CiliumInternalIP")].ip'),
            ("InternalIP", "string", '.spec.addresses[?(@.type=="InternalIP")].ip'),
            _AGE,
        ),
    ),
    Definition(
        "CiliumIdentity",
        "ciliumidentities",
        short_names=("ciliumid",),
        status=False,
        columns=(("Namespace", "string", r".metadata.labels.io\.kubernetes\.pod\.namespace"), _AGE),
    ),
    Definition("CiliumNodeConfig", "ciliumnodeconfigs", ("v2", "v2alpha1"), namespaced=True, status=False),
    Definition(
        "CiliumNetworkPolicy", "ciliumnetworkpolicies", namespaced=True, short_names=("cnp", "ciliumnp")
    ),
    Definition("CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies", short_names=("ccnp",)),
    Definition("CiliumCIDRGroup", "ciliumcidrgroups", ("v2", "v2alpha1"), short_names=("ccg",), status=False),
    Definition(
        "CiliumLoadBalancerIPPool", "ciliumloadbalancerippools", ("v2", "v2alpha1"), short_names=("lbippool",)
    ),
    Definition(
        "CiliumL2AnnouncementPolicy",
        "ciliuml2announcementpolicies",
        ("v2alpha1",),
        short_names=("l2announcement",),
    ),
    Definition("CiliumPodIPPool", "ciliumpodippools", ("v2alpha1",), short_names=("cpip",), status=False),
)


def definitions() -> list[Object]:
    """The CustomResourceDefinitions to create."""
    return [_object(definition) for definition in DEFINITIONS]


def _object(definition: Definition) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{definition.plural}.{GROUP}",
            "labels": {"io.cilium.k8s.crd.schema.version": "1.31.11"},
        },
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["cilium"],
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "shortNames": list(definition.short_names),
                "singular": definition.kind.lower(),
            },
            "scope": "Namespaced" if definition.namespaced else "Cluster",
            "versions": [_version(definition, index) for index in range(len(definition.versions))],
        },
    }


def _version(definition: Definition, index: int) -> Object:
    return {
        "name": definition.versions[index],
        "served": True,
        "storage": index == 0,
        "deprecated": index > 0,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path}
            for name, kind, path in definition.columns or (_AGE,)
        ],
        **({"subresources": {"status": {}}} if definition.status else {}),
    }
