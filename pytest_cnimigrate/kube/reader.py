"""Reading a cluster: everything a check needs, and nothing that could change anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

from pytest_cnimigrate.kube import executing, paths
from pytest_cnimigrate.kube.errors import KubeError, NotFound, NotServed
from pytest_cnimigrate.kube.executing import ExecResult
from pytest_cnimigrate.kube.listing import list_all, list_pages
from pytest_cnimigrate.kube.proxying import ProxyAnswer, proxy_get
from pytest_cnimigrate.kube.retrying import RetryPolicy, Timeouts
from pytest_cnimigrate.kube.transport import Request, Transport
from pytest_cnimigrate.kube.watching import Watch
from pytest_cnimigrate.model.objects import Object
from pytest_cnimigrate.model.resources import PODS, SERVICES, Resource


@dataclass(frozen=True, slots=True)
class User:
    """Who the API server takes us for."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerVersion:
    major: int
    minor: int
    git_version: str
    """E.g. `v1.36.2` or `v1.33.4-eks-99bf7`."""


class KubeReader:
    """Reads one cluster; safe to use from several threads.

    Its transport refuses whatever could change the cluster (`MutationRefusedError`); `exec` is left to the
    caller's good intent. Objects are plain dictionaries. Every call has time limits and raises `KubeError`.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport.derive(read_only=True)
        self._kinds: dict[tuple[str, str], Resource] = {}

    @property
    def server(self) -> str:
        """The API server's address."""
        return self._transport.server

    def with_settings(self, *, timeouts: Timeouts | None = None, retries: RetryPolicy | None = None) -> Self:
        """The same client over the same connections with other limits."""
        return type(self)(self._transport.derive(timeouts=timeouts, retries=retries))

    def close(self) -> None:
        """Close the connections, also those of every client derived from the same one."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """The object; raises `NotFound` when there is none."""
        return self._read("get", resource, name, namespace)

    def find(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """The object, or None if there is none (or the server does not know its kind yet)."""
        try:
            return self.get(resource, name, namespace)
        except NotFound:
            return None

    def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[Object]:
        """All matching objects, in one namespace or (without one) in all; each with apiVersion and kind."""
        return list_all(self._transport, resource, namespace, _selection(label_selector, field_selector))[0]

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        on_interruption: Callable[[KubeError], None] | None = None,
        on_connected: Callable[[], None] | None = None,
        keep: Callable[[Object], Object] | None = None,
    ) -> Watch:
        """List and watch without end: iterate over it, `stop()` it (see `watching.Watch`)."""
        selection = _selection(label_selector, field_selector)
        return Watch(
            self._transport,
            lambda: list_pages(self._transport, resource, namespace, selection),
            resource,
            namespace=namespace,
            query=selection,
            on_interruption=on_interruption,
            on_connected=on_connected,
            keep=keep,
        )

    def proxy_pod(
        self,
        name: str,
        namespace: str,
        *,
        port: int | str,
        path: str = "/",
        timeouts: Timeouts | None = None,
    ) -> ProxyAnswer:
        """GET `path` (with its query, percent-encoded) from a pod's port, through the API server.

        One attempt. Raises `PodUnreachable` when the API server cannot get through to the pod, other
        `KubeError`s when it refuses to try.
        """
        return proxy_get(self._transport, PODS, name, namespace, port=port, path=path, timeouts=timeouts)

    def proxy_service(
        self,
        name: str,
        namespace: str,
        *,
        port: int | str,
        path: str = "/",
        timeouts: Timeouts | None = None,
    ) -> ProxyAnswer:
        """As `proxy_pod`, by way of a Service: the API server picks one endpoint, possibly a dead one."""
        return proxy_get(self._transport, SERVICES, name, namespace, port=port, path=path, timeouts=timeouts)

    def exec(
        self,
        name: str,
        namespace: str,
        command: Sequence[str],
        *,
        container: str = "",
        timeout: float = 30.0,
    ) -> ExecResult:
        """Run a command (no shell) in a container and wait for its end. Meant for commands that only look.

        A non-zero exit code is a result. Raises `ApiTimeout` when it has not ended after `timeout` seconds.
        """
        query = [("command", quote(word, safe="")) for word in command]
        if container:
            query.append(("container", container))
        query += [("stdout", "true"), ("stderr", "true")]
        request = Request(
            "exec in",
            paths.spoken(PODS, name, namespace),
            paths.single(PODS, name, namespace, subresource="exec"),
        )
        _, url, headers, _, _ = self._transport.prepare(request)
        return executing.execute(
            self._transport.api_client.configuration,
            f"{url}?{'&'.join(f'{key}={value}' for key, value in query)}",
            headers,
            attempt=self._transport.attempt_of(request),
            timeout=timeout,
        )

    def logs(
        self,
        name: str,
        namespace: str,
        *,
        container: str = "",
        previous: bool = False,
        tail: int | None = None,
    ) -> str:
        """What a container has written, all or the `tail` last lines; `previous`: in its life before this."""
        query = [("container", container)] if container else []
        if previous:
            query.append(("previous", "true"))
        if tail is not None:
            query.append(("tailLines", str(tail)))
        request = Request(
            "get",
            paths.spoken(PODS, name, namespace, subresource="log"),
            paths.single(PODS, name, namespace, subresource="log"),
            query=query,
        )
        return self._transport.send(request).body.decode("utf-8", "replace")

    def can_i(
        self, verb: str, resource: Resource, name: str = "", namespace: str = "", *, subresource: str = ""
    ) -> bool:
        """Whether our user may do this (`SelfSubjectAccessReview`); without a name, to any object."""
        attributes = {
            "verb": verb,
            "group": resource.group,
            "version": resource.version,
            "resource": resource.plural,
            "subresource": subresource,
            "name": name,
            "namespace": namespace,
        }
        review = self._review(
            "authorization.k8s.io",
            "SelfSubjectAccessReview",
            {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        )
        return bool((review.get("status") or {}).get("allowed"))

    def who_am_i(self) -> User:
        """Who the server takes us for (`SelfSubjectReview`, Kubernetes 1.28 or newer)."""
        review = self._review("authentication.k8s.io", "SelfSubjectReview", {})
        info = (review.get("status") or {}).get("userInfo") or {}
        return User(info.get("username", ""), tuple(info.get("groups") or ()))

    def server_version(self) -> ServerVersion:
        """The server's version; a minor like `33+` counts as 33."""
        found = self._transport.fetch(Request("get", "version", "/version"))
        return ServerVersion(
            int(found["major"].rstrip("+")), int(found["minor"].rstrip("+")), found["gitVersion"]
        )

    def serves(self, resource: Resource) -> bool:
        """Whether the server knows this resource in exactly this version (asked anew every time)."""
        path = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
        try:
            found = self._transport.fetch(Request("get", f"API {resource.api_version}", path))
        except NotFound:
            return False
        return any(entry["name"] == resource.plural for entry in found.get("resources") or ())

    def resource_of(self, api_version: str, kind: str) -> Resource:
        """Where the server keeps objects of this kind, e.g. of `apps/v1` and `DaemonSet`, by discovery.

        What has been found is remembered; what has not may be there the next time (a CRD that was installed
        meanwhile). Raises `NotServed` when the server does not know the kind in this version.
        """
        known = self._kinds.get((api_version, kind))
        if known is not None:
            return known
        group, _, version = api_version.rpartition("/")
        request = Request("get", f"API {api_version}", f"/apis/{api_version}" if group else f"/api/{version}")
        message = f"the server does not serve {kind} in {api_version}"
        try:
            entries = self._transport.fetch(request).get("resources") or ()
        except NotFound as error:
            raise NotServed(error.attempt, message, status=error.status) from error
        for entry in entries:
            # Subresources (`deployments/scale`, `pods/eviction`) have kinds of their own and are no objects.
            if entry["kind"] == kind and "/" not in entry["name"]:
                found = Resource(group, version, entry["name"], kind, namespaced=entry["namespaced"])
                self._kinds[api_version, kind] = found
                return found
        raise NotServed(self._transport.attempt_of(request), message, status=404)

    def preferred_version(self, group: str) -> str | None:
        """The version of an API group that the server prefers, or None if it does not know the group."""
        try:
            found = self._transport.fetch(Request("get", f"API group {group}", f"/apis/{group}"))
        except NotFound:
            return None
        version: str = found["preferredVersion"]["version"]
        return version

    def _read(self, verb: str, resource: Resource, name: str, namespace: str) -> Object:
        request = Request(
            verb, paths.spoken(resource, name, namespace), paths.single(resource, name, namespace)
        )
        return self._transport.fetch(request)

    def _review(self, group: str, kind: str, spec: Object) -> Object:
        body: dict[str, Any] = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {}}
        if spec:
            body["spec"] = spec
        request = Request(
            "create", kind.lower(), f"/apis/{group}/v1/{kind.lower()}s", method="POST", body=body
        )
        return self._transport.fetch(request)


def _selection(label_selector: str, field_selector: str) -> list[tuple[str, str]]:
    pairs = (("labelSelector", label_selector), ("fieldSelector", field_selector))
    return [(key, value) for key, value in pairs if value]
