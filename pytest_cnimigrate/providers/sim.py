"""The embedded cluster as a provider: a child process that speaks the Kubernetes API and the AWS API."""

from __future__ import annotations

from collections.abc import Callable

import boto3

from pytest_cnimigrate.kube.connect import connect
from pytest_cnimigrate.providers.aws import EksNodeGroups
from pytest_cnimigrate.providers.cluster import Cluster, ClusterRequest, ProviderError
from pytest_cnimigrate.providers.node_groups import CloudError
from pytest_cnimigrate.providers.stand_in_helm import StandInHelm
from pytest_cnimigrate.simulator.aws.detached import detached_session
from pytest_cnimigrate.simulator.process import SimulatorError, SimulatorProcess, write_kubeconfig
from pytest_cnimigrate.simulator.settings import ClusterSettings, GroupSettings

POLL_SECONDS = 1.0
"""How often a question is asked again, in the simulated world's time."""


class SimProvider:
    """Starts one embedded cluster, and ends it."""

    name = "sim"

    def __init__(self) -> None:
        self._process: SimulatorProcess | None = None
        self._cluster: Cluster | None = None

    def provision(self, request: ClusterRequest, note: Callable[[str], None]) -> Cluster:
        """Start the embedded cluster as eksctl would have made it, but for the groups that are absent."""
        note(f"starting the embedded cluster {request.name} at speed {request.speed:g}")
        settings = ClusterSettings(
            name=request.name,
            region=request.region,
            groups=tuple(
                GroupSettings(
                    name=group.name,
                    instance_type=group.instance_type,
                    minimum=group.minimum_size,
                    maximum=group.maximum_size,
                    desired=group.desired,
                    labels=group.labels,
                    taints=tuple(taint.as_object() for taint in group.taints),
                )
                for group in request.config.node_groups
                if group.name not in request.absent_groups
            ),
            speed=request.speed,
            faults=request.faults,
            port=request.port,
        )
        try:
            self._process = process = SimulatorProcess.start(settings, request.folder / "cluster.log")
        except SimulatorError as error:
            raise ProviderError(f"the embedded cluster did not start: {error}") from error
        address = process.address
        kubeconfig = request.folder / "kubeconfig"
        write_kubeconfig(address.kubeconfig, kubeconfig)
        kube = connect(kubeconfig, ended=process.why_ended)
        self._cluster = Cluster(
            name=request.name,
            provider=self.name,
            server=address.server,
            kubeconfig=kubeconfig,
            kube=kube,
            node_groups=EksNodeGroups(
                _session(request.region, process), request.name, endpoint_url=address.cloud
            ),
            helm=StandInHelm(kube),
            poll_interval=POLL_SECONDS / request.speed,
            speed=request.speed,
        )
        return self._cluster

    def release(self, *, keep: bool) -> str:
        """End the cluster, or leave it to itself and say how to reach and how to remove it."""
        if self._cluster is not None:
            self._cluster.kube.close()
        if self._process is None:
            return ""
        if keep and self._cluster is not None:
            self._process.keep()
            return (
                f"the embedded cluster stays for up to 8 h: kubectl --kubeconfig {self._cluster.kubeconfig} "
                "get nodes; `make prune` removes it"
            )
        self._process.stop()
        return ""


def _session(region: str, process: SimulatorProcess) -> boto3.Session:
    core = detached_session()

    def refuse_if_ended(**_: object) -> None:
        if why := process.why_ended():
            raise CloudError(f"no answer from AWS: {why}")

    core.register("before-send", refuse_if_ended)
    return boto3.Session(
        # Nobody checks this signature, but every request has to carry one.
        aws_access_key_id="embedded",
        aws_secret_access_key="embedded",  # noqa: S106
        region_name=region,
        botocore_session=core,
    )
