"""Subresources with bodies of their own: scale, eviction, binding, token, log."""

from __future__ import annotations

import datetime as dt
from typing import Any

from aiohttp import web

from pytest_cnimigrate.model.objects import Object, condition, copy, timestamp
from pytest_cnimigrate.model.resources import PODS
from pytest_cnimigrate.model.selectors import format_label_selector
from pytest_cnimigrate.simulator.apiserver.authentication import Authenticator, service_account
from pytest_cnimigrate.simulator.apiserver.binding import bind
from pytest_cnimigrate.simulator.apiserver.calls import Call, json_response
from pytest_cnimigrate.simulator.apiserver.deletion import DeleteOptions
from pytest_cnimigrate.simulator.apiserver.errors import bad_request, conflict, method_not_allowed
from pytest_cnimigrate.simulator.apiserver.eviction import evict
from pytest_cnimigrate.simulator.apiserver.negotiation import patch_type
from pytest_cnimigrate.simulator.apiserver.patch import json_patch, merge_patch
from pytest_cnimigrate.simulator.apiserver.requests import is_true
from pytest_cnimigrate.simulator.apiserver.tables import json_path
from pytest_cnimigrate.simulator.apiserver.verbs import ApiServer

SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def scale_of(server: ApiServer, call: Call) -> Object:
    """`autoscaling/v1` Scale of a workload, or of a custom resource that declares one."""
    obj = server.get(call.resource, call.info.name, call.info.namespace)
    metadata = obj["metadata"]
    paths = call.served.scale_paths
    if paths is None:
        spec, status = obj["spec"], obj.get("status") or {}
        wanted, present = spec.get("replicas", 0), status.get("replicas", 0)
        selector = format_label_selector(spec.get("selector"))
    else:
        wanted, present = (
            _found(obj, paths, field, 0) for field in ("specReplicasPath", "statusReplicasPath")
        )
        selector = _found(obj, paths, "labelSelectorPath", "")
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": {"replicas": wanted},
        "status": {"replicas": present, "selector": selector},
    }


def _found(obj: Object, paths: Object, field: str, default: Any) -> Any:
    path = paths.get(field)
    return next(iter(json_path(obj, path)), default) if path else default


async def scale(server: ApiServer, call: Call) -> web.Response:
    """GET, PUT and PATCH of a scale."""
    current = scale_of(server, call)
    if call.info.verb == "get":
        return json_response(current)
    if call.info.verb not in ("update", "patch"):
        raise method_not_allowed()
    wanted = await call.body()
    if call.info.verb == "patch":
        kind = patch_type(call.request.headers.get("Content-Type", ""))
        wanted = json_patch(copy(current), wanted) if kind == "json" else merge_patch(current, wanted)
    if not isinstance(wanted, dict):
        raise bad_request("the body of the request must be a Scale")
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request(f"spec.replicas of a Scale must be a number of at least 0, not {replicas!r}")
    metadata = wanted.get("metadata") or {}
    version = metadata.get("resourceVersion") or current["metadata"]["resourceVersion"]
    if version != current["metadata"]["resourceVersion"]:
        raise conflict(call.resource, call.info.name)
    path = (call.served.scale_paths or {}).get("specReplicasPath", ".spec.replicas")
    change: Any = replicas
    for step in reversed(path.strip(".").split(".")):
        change = {step: change}
    server.patch(
        call.resource, call.info.name, change, call.info.namespace, kind="merge", options=call.write_options()
    )
    return json_response(scale_of(server, call))


async def eviction(server: ApiServer, call: Call) -> web.Response:
    """POST `pods/eviction`."""
    body = await call.body()
    name = (body.get("metadata") or {}).get("name", call.info.name)
    if name != call.info.name:
        raise bad_request(f"name in URL ({call.info.name}) does not match name in Eviction object ({name})")
    options = DeleteOptions.parse(body.get("deleteOptions") or {}, dry_run=call.dry_run)
    evict(server, call.info.name, call.info.namespace, options=options)
    return json_response(SUCCESS, status=201)


async def binding(server: ApiServer, call: Call) -> web.Response:
    """POST `pods/binding`."""
    body = await call.body()
    node = (body.get("target") or {}).get("name", "")
    if not node:
        raise bad_request("target.name of a Binding is required")
    uid = (body.get("metadata") or {}).get("uid", "")
    if not call.dry_run:
        bind(server, call.info.name, call.info.namespace, node, uid=uid)
    return json_response(SUCCESS, status=201)


async def token(server: ApiServer, call: Call, authenticator: Authenticator) -> web.Response:
    """POST `serviceaccounts/token`: a token with the account's rights; it lives as long as the server."""
    server.get(call.resource, call.info.name, call.info.namespace)
    body = await call.body()
    spec = (body.get("spec") or {}) if isinstance(body, dict) else {}
    seconds = spec.get("expirationSeconds") or 3600
    issued = authenticator.issue(service_account(call.info.namespace, call.info.name))
    expires = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": call.info.name,
            "namespace": call.info.namespace,
            "creationTimestamp": timestamp(),
        },
        "spec": {"audiences": spec.get("audiences") or [], "expirationSeconds": seconds},
        "status": {"token": issued, "expirationTimestamp": timestamp(expires)},
    }
    return json_response(answer, status=201)


def container_of(server: ApiServer, call: Call) -> tuple[Object, str]:
    """The pod and the container that exec or log is about; raises 400 when that is not clear."""
    pod = server.get(PODS, call.info.name, call.info.namespace)
    names = [c["name"] for c in pod["spec"]["containers"]]
    others = [c["name"] for c in pod["spec"].get("initContainers") or ()]
    name = call.query.get("container", "")
    if not name:
        if len(names) > 1:
            raise bad_request(
                f"a container name must be specified for pod {call.info.name}, "
                f"choose one of: [{' '.join(names)}]"
                + (f" or one of the init containers: [{' '.join(others)}]" if others else "")
            )
        name = names[0]
    if name not in names and name not in others:
        raise bad_request(f"container {name} is not valid for pod {call.info.name}")
    return pod, name


def log_options(call: Call) -> tuple[int | None, int | None, bool]:
    """`tailLines`, `limitBytes` and `previous`; raises 400 for what the embedded cluster's logs cannot do."""
    for name in ("timestamps", "sinceSeconds", "sinceTime"):
        if is_true(call.query, name) or (name.startswith("since") and call.query.get(name)):
            raise bad_request(f"{name} is not supported: lines in the embedded cluster carry no times")
    numbers = []
    for name in ("tailLines", "limitBytes"):
        text = call.query.get(name)
        if text is not None and not text.isdigit():
            raise bad_request(f"invalid {name} {text!r}: must be a number of at least 0")
        numbers.append(int(text) if text is not None else None)
    return numbers[0], numbers[1], is_true(call.query, "previous")


def waiting_reason(pod: Object, container: str) -> str:
    """Why a container has no log yet, or an empty text."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    state = next((c.get("state") or {} for c in statuses if c["name"] == container), None)
    if state is None:
        scheduled = condition(pod, "PodScheduled")
        if scheduled is None or scheduled["status"] != "True":
            return f"pod {pod['metadata']['name']} does not have a host assigned"
        state = {"waiting": {"reason": "ContainerCreating"}}
    waiting = state.get("waiting")
    if not waiting:
        return ""
    reason = waiting.get("reason", "ContainerCreating")
    return f'container "{container}" in pod "{pod["metadata"]["name"]}" is waiting to start: {reason}'
