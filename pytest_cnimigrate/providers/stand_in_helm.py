"""Helm for the embedded cluster: the same releases in the same Secrets, from a stand-in chart.

Releases are stored as Helm 3 stores them (Secrets of type `helm.sh/release.v1`, one a revision), so that
history and rollback work and a real `helm list` would find them.
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
from collections.abc import Mapping
from typing import Any

from pytest_cnimigrate.kube.client import KubeClient
from pytest_cnimigrate.kube.errors import KubeError, NotFound
from pytest_cnimigrate.model.objects import Object, name_of, namespace_of
from pytest_cnimigrate.model.resources import SECRETS, Resource
from pytest_cnimigrate.providers.helm import HelmError, Release, Values
from pytest_cnimigrate.simulator.charts import cilium

CHARTS = {"cilium": cilium}

# Helm installs in this order (its releaseutil/kind_sorter.go), as far as the stand-ins need it.
_INSTALL_ORDER = ("ServiceAccount", "ConfigMap", "DaemonSet", "Deployment")


class StandInHelm:
    """`providers.helm.Helm` on the embedded cluster."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube

    def find(self, release: str, namespace: str) -> Release | None:
        revisions = self._revisions(release, namespace)
        return _as_release(revisions[-1]) if revisions else None

    def upgrade(self, release: str, namespace: str, *, chart: str, version: str, values: Values) -> Release:
        name = chart.rpartition("/")[2]
        if name not in CHARTS:
            raise HelmError(
                f"the embedded cluster has stand-ins for {', '.join(CHARTS)}, none for chart {chart}"
            )
        try:
            objects = CHARTS[name].render(values, version=version, release=release, namespace=namespace)
        except cilium.ChartError as error:
            raise HelmError(str(error)) from error
        revisions = self._revisions(release, namespace)
        record = {
            "name": release,
            "namespace": namespace,
            "version": revisions[-1]["version"] + 1 if revisions else 1,
            "info": {"status": "deployed", "last_deployed": dt.datetime.now(dt.UTC).isoformat()},
            "chart": {"metadata": {"name": name, "version": version}},
            "config": values,
            "manifest": json.dumps(objects),
        }
        return self._deploy(record, revisions)

    def rollback(self, release: str, namespace: str, revision: int) -> Release:
        revisions = self._revisions(release, namespace)
        target = next((record for record in revisions if record["version"] == revision), None)
        if target is None:
            raise HelmError(f"release {namespace}/{release} has no revision {revision}")
        record = target | {
            "version": revisions[-1]["version"] + 1,
            "info": {"status": "deployed", "description": f"Rollback to {revision}"},
        }
        return self._deploy(record, revisions)

    def uninstall(self, release: str, namespace: str) -> None:
        revisions = self._revisions(release, namespace)
        if not revisions:
            raise HelmError(f"there is no release {namespace}/{release}")
        # Also what a deployed revision had and a failed upgrade after it has not.
        left = {
            (obj["kind"], name_of(obj)): obj
            for record in revisions
            if record["info"]["status"] in {"deployed", "failed"}
            for obj in json.loads(record["manifest"])
        }
        for obj in sorted(left.values(), key=_install_order, reverse=True):
            self._delete(obj)
        for record in revisions:
            self._kube.delete(SECRETS, _secret_name(record), namespace)

    def _deploy(self, record: dict[str, Any], revisions: list[dict[str, Any]]) -> Release:
        """Bring the cluster to what the record says, and store it as the newest revision.

        As with Helm a revision whose objects could not all be applied is kept as `failed`: it is what an
        uninstall or the next upgrade has to clean up.
        """
        namespace = record["namespace"]
        objects = json.loads(record["manifest"])
        try:
            for obj in sorted(objects, key=_install_order):
                self._kube.apply(self._resource(obj), obj, force=True)
        except KubeError as error:
            description = f"Release {record['name']!r} failed: {error}"
            failed = record | {"info": record["info"] | {"status": "failed", "description": description}}
            self._kube.create(SECRETS, _as_secret(failed), namespace)
            raise HelmError(description) from error
        kept = {(obj["kind"], name_of(obj)) for obj in objects}
        for previous in revisions:
            if previous["info"]["status"] in {"deployed", "failed"}:
                for obj in json.loads(previous["manifest"]):
                    if (obj["kind"], name_of(obj)) not in kept:
                        self._delete(obj)
            if previous["info"]["status"] == "deployed":
                superseded = previous | {"info": previous["info"] | {"status": "superseded"}}
                self._kube.replace(SECRETS, _as_secret(superseded))
        self._kube.create(SECRETS, _as_secret(record), namespace)
        return _as_release(record)

    def _revisions(self, release: str, namespace: str) -> list[dict[str, Any]]:
        """Every stored revision, oldest first."""
        secrets = self._kube.list(SECRETS, namespace, label_selector=f"owner=helm,name={release}")
        return sorted((_decode(secret) for secret in secrets), key=lambda record: int(record["version"]))

    def _resource(self, obj: Object) -> Resource:
        return self._kube.resource_of(obj["apiVersion"], obj["kind"])

    def _delete(self, obj: Object) -> None:
        try:
            self._kube.delete(self._resource(obj), name_of(obj), namespace_of(obj))
        except NotFound:
            return


def _install_order(obj: Object) -> int:
    return _INSTALL_ORDER.index(obj["kind"])


def _secret_name(record: Mapping[str, Any]) -> str:
    return f"sh.helm.release.v1.{record['name']}.v{record['version']}"


def _as_secret(record: Mapping[str, Any]) -> Object:
    # Helm packs a release as base64(gzip(JSON)), and a Secret's data is base64 once more.
    packed = base64.b64encode(gzip.compress(json.dumps(record).encode()))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {
            "name": _secret_name(record),
            "namespace": record["namespace"],
            "labels": {
                "owner": "helm",
                "name": record["name"],
                "status": record["info"]["status"],
                "version": str(record["version"]),
            },
        },
        "data": {"release": base64.b64encode(packed).decode()},
    }


def _decode(secret: Object) -> dict[str, Any]:
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    record: dict[str, Any] = json.loads(gzip.decompress(packed))
    return record


def _as_release(record: Mapping[str, Any]) -> Release:
    return Release(
        name=record["name"],
        namespace=record["namespace"],
        revision=record["version"],
        status=record["info"]["status"],
        chart=record["chart"]["metadata"]["name"],
        version=record["chart"]["metadata"]["version"],
        values=record["config"],
    )
