"""Questions about a pod that checks, changes and rules all ask: in one place, so that they mean the same."""

from __future__ import annotations

from pytest_cnimigrate.model.objects import Object, annotations_of, controller_of

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


def is_finished(pod: Object) -> bool:
    """Succeeded or Failed: it holds no address any more and will not come back.

    A node that refuses a pod leaves it behind as Failed (`TaintToleration`, `NodeAffinity`, `Evicted`, …) and
    the controller makes another: with NoExecute taints this is normal (cilium#43872), and nobody's failure.
    """
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def is_static(pod: Object) -> bool:
    """A mirror of a static pod: kubelet's own, cannot be evicted."""
    return MIRROR_ANNOTATION in annotations_of(pod)


def is_of_daemonset(pod: Object) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner["kind"] == "DaemonSet"


def uses_host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def uses_empty_dir(pod: Object) -> bool:
    return any("emptyDir" in volume for volume in pod["spec"].get("volumes") or ())
