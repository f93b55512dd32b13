"""EKS add-ons: operations and life cycle.

An add-on that is not listed here is self-managed: its DaemonSet may well be in the cluster, but EKS does
not touch it and DescribeAddon answers ResourceNotFoundException.
"""

from __future__ import annotations

import datetime as dt
import uuid

from pytest_cnimigrate.simulator.aws.eks.add_on import AddOn, Release, issue
from pytest_cnimigrate.simulator.aws.eks.add_on_catalog import (
    CATALOG,
    AddOnKind,
    add_on_kind,
    check_version,
)
from pytest_cnimigrate.simulator.aws.eks.add_on_objects import (
    AddOnObjects,
    ResolveConflicts,
    parse_configuration,
    wanted_fields,
)
from pytest_cnimigrate.simulator.aws.eks.clusters import PLATFORM_VERSION, Clusters
from pytest_cnimigrate.simulator.aws.eks.updates import Update, Updates, update_params
from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.operations import Parameters, Result, operation, page_of
from pytest_cnimigrate.simulator.aws.settings import AwsSettings
from pytest_cnimigrate.simulator.aws.signals import BackgroundTasks
from pytest_cnimigrate.simulator.client.api import ApiError
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.faults import Faults, register

REVERTS_CHANGES = register(
    "add-on-reverts-changes",
    "EKS re-applies its managed add-ons and thereby takes back what others changed, the affinity included.",
    "failure mode 5; aws/amazon-vpc-cni-k8s#2607",
)
RECONCILE_SECONDS = 15.0


class AddOns:
    """The operations on add-ons. `objects.api` is the cluster that they are written into."""

    def __init__(
        self,
        settings: AwsSettings,
        *,
        pace: Pace,
        faults: Faults,
        clusters: Clusters,
        updates: Updates,
    ) -> None:
        self.objects = AddOnObjects()
        self._settings = settings
        self._pace = pace
        self._faults = faults
        self._clusters = clusters
        self._updates = updates
        self._add_ons: dict[tuple[str, str], AddOn] = {}
        self._tasks = BackgroundTasks()

    def manage_from_start(self, cluster: str, name: str) -> None:
        """Make an add-on managed and ACTIVE, as on a cluster that was made with it."""
        add_on = self._make({"clusterName": cluster, "addonName": name})
        add_on.status = "ACTIVE"
        self._keep(add_on)
        self._tasks.spawn(self._adopt(add_on), f"adoption of add-on {name}")

    async def stop(self) -> None:
        await self._tasks.cancel()

    # Operations

    @operation(
        "CreateAddon",
        *("clusterName", "addonName", "addonVersion", "serviceAccountRoleArn", "resolveConflicts"),
        *("clientRequestToken", "tags", "configurationValues"),
    )
    async def create_addon(self, given: Parameters) -> Result:
        self._clusters.active(given["clusterName"])
        if (given["clusterName"], given["addonName"]) in self._add_ons:
            raise AwsError(
                "ResourceInUseException",
                f"Addon already exists with name {given['addonName']}.",
                status=409,
                clusterName=given["clusterName"],
                addonName=given["addonName"],
            )
        add_on = self._make(given)
        self._keep(add_on)
        # For a new add-on PRESERVE means the same as NONE: EKS has no earlier state to preserve.
        mode: ResolveConflicts = "OVERWRITE" if given.get("resolveConflicts") == "OVERWRITE" else "NONE"
        self._tasks.spawn(self._create(add_on, mode), f"creation of add-on {add_on.kind.name}")
        return {"addon": await self._describe(add_on)}

    @operation("DescribeAddon", "clusterName", "addonName")
    async def describe_addon(self, given: Parameters) -> Result:
        return {"addon": await self._describe(self._get(given))}

    @operation("ListAddons", "clusterName", "maxResults", "nextToken")
    async def list_addons(self, given: Parameters) -> Result:
        self._clusters.get(given["clusterName"])
        page, token = page_of(
            sorted(name for cluster, name in self._add_ons if cluster == given["clusterName"]),
            token=given.get("nextToken"),
            size=given.get("maxResults"),
            error_code="InvalidParameterException",
        )
        return {"addons": page, "nextToken": token}

    @operation(
        "UpdateAddon",
        *("clusterName", "addonName", "addonVersion", "serviceAccountRoleArn", "resolveConflicts"),
        *("clientRequestToken", "configurationValues"),
    )
    async def update_addon(self, given: Parameters) -> Result:
        add_on = self._get(given)
        if (known := self._updates.of_request(given.get("clientRequestToken", ""))) is not None:
            return {"update": known.describe()}
        if add_on.status not in ("ACTIVE", "DEGRADED", "UPDATE_FAILED"):
            raise AwsError(
                "ResourceInUseException",
                f"Addon {add_on.kind.name} cannot be updated as it is currently in {add_on.status} state",
                status=409,
                clusterName=add_on.cluster,
                addonName=add_on.kind.name,
            )
        release = self._release(
            add_on.kind,
            given.get("addonVersion", add_on.release.version),
            given.get("configurationValues", add_on.release.configuration_text),
        )
        mode: ResolveConflicts = given.get("resolveConflicts", "NONE")
        update = self._updates.add(
            Update(
                type="AddonUpdate",
                cluster=add_on.cluster,
                add_on=add_on.kind.name,
                params=update_params(
                    AddonVersion=release.version,
                    ResolveConflicts=mode,
                    ServiceAccountRoleArn=given.get("serviceAccountRoleArn"),
                    ConfigurationValues=given.get("configurationValues"),
                ),
                token=given.get("clientRequestToken", ""),
            )
        )
        add_on.status = "UPDATING"
        self._tasks.spawn(self._update(add_on, update, release, mode), f"update of {add_on.kind.name}")
        return {"update": update.describe()}

    @operation("DeleteAddon", "clusterName", "addonName", "preserve")
    async def delete_addon(self, given: Parameters) -> Result:
        add_on = self._get(given)
        add_on.status = "DELETING"
        self._tasks.spawn(
            self._delete(add_on, preserve=given.get("preserve", False)), f"deletion of {add_on.kind.name}"
        )
        return {"addon": await self._describe(add_on)}

    @operation("DescribeAddonVersions", "kubernetesVersion", "addonName", "maxResults", "nextToken")
    async def describe_addon_versions(self, given: Parameters) -> Result:
        served = given.get("kubernetesVersion") in (None, self._settings.kubernetes_version)
        kinds = [kind for kind in CATALOG.values() if served and given.get("addonName") in (None, kind.name)]
        page, token = page_of(
            kinds,
            token=given.get("nextToken"),
            size=given.get("maxResults"),
            error_code="InvalidParameterException",
        )
        return {"addons": [self._describe_kind(kind) for kind in page], "nextToken": token}

    @operation("DescribeAddonConfiguration", "addonName", "addonVersion")
    async def describe_addon_configuration(self, given: Parameters) -> Result:
        kind = add_on_kind(given["addonName"])
        version = check_version(kind, given["addonVersion"])
        return {"addonName": kind.name, "addonVersion": version, "configurationSchema": kind.schema()}

    # Life cycle

    async def _create(self, add_on: AddOn, mode: ResolveConflicts) -> None:
        await self._pace.sleep(self._settings.update_seconds, jitter=0.3)
        if add_on.status == "CREATING":
            add_on.status = "ACTIVE" if await self._apply(add_on, mode) else "CREATE_FAILED"

    async def _update(self, add_on: AddOn, update: Update, release: Release, mode: ResolveConflicts) -> None:
        await self._pace.sleep(self._settings.update_seconds, jitter=0.3)
        if add_on.status != "UPDATING":
            update.fail("OperationNotPermitted", "The add-on is being deleted", add_on.kind.name)
            return
        before, add_on.release = add_on.release, release
        if await self._apply(add_on, mode):
            add_on.status = "ACTIVE"
            update.status = "Successful"
        else:
            add_on.release = before
            add_on.status = "UPDATE_FAILED"
            reason = add_on.issues[0]
            update.fail(reason["code"], reason["message"], add_on.kind.name)

    async def _apply(self, add_on: AddOn, mode: ResolveConflicts) -> bool:
        """Write the add-on into the cluster; False, with the reason among its issues, if that fails."""
        add_on.modified = dt.datetime.now(dt.UTC)
        wanted = wanted_fields(add_on.kind, add_on.release.version, add_on.release.configuration)
        try:
            result = await self.objects.apply(add_on.kind, wanted, add_on.applied, mode)
        except ApiError as error:
            add_on.issues = [issue("ClusterUnreachable", error.message)]
            return False
        return add_on.take(result, mode)

    async def _adopt(self, add_on: AddOn) -> None:
        """Take what the cluster has at the start for what EKS wrote."""
        wanted = wanted_fields(add_on.kind, add_on.release.version, {})
        while add_on.applied is None:
            add_on.applied = await self.objects.current(add_on.kind, wanted)
            await self._pace.sleep(1.0)

    async def _delete(self, add_on: AddOn, *, preserve: bool) -> None:
        await self._pace.sleep(self._settings.update_seconds)
        if not preserve:
            await self.objects.delete(add_on.kind)
        del self._add_ons[add_on.cluster, add_on.kind.name]

    async def _reconcile(self, add_on: AddOn) -> None:
        """Only under the fault: in reality EKS re-applies on occasions that nobody outside can foresee."""
        while self._add_ons.get((add_on.cluster, add_on.kind.name)) is add_on:
            await self._pace.sleep(RECONCILE_SECONDS)
            if add_on.status == "ACTIVE" and self._faults.active(REVERTS_CHANGES):
                await self._apply(add_on, "OVERWRITE")

    # Innards

    def _make(self, given: Parameters) -> AddOn:
        kind = add_on_kind(given["addonName"])
        account = f"{self._settings.region}:{self._settings.account}"
        return AddOn(
            kind=kind,
            cluster=given["clusterName"],
            arn=f"arn:aws:eks:{account}:addon/{given['clusterName']}/{kind.name}/{uuid.uuid4()}",
            release=self._release(kind, given.get("addonVersion", ""), given.get("configurationValues", "")),
            role_arn=given.get("serviceAccountRoleArn", ""),
            tags=dict(given.get("tags", {})),
        )

    def _keep(self, add_on: AddOn) -> None:
        self._add_ons[add_on.cluster, add_on.kind.name] = add_on
        self._tasks.spawn(self._reconcile(add_on), f"add-on {add_on.kind.name}")

    def _get(self, given: Parameters) -> AddOn:
        self._clusters.get(given["clusterName"])
        add_on = self._add_ons.get((given["clusterName"], given["addonName"]))
        if add_on is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"No addon: {given['addonName']} found in cluster: {given['clusterName']}",
                status=404,
                clusterName=given["clusterName"],
                addonName=given["addonName"],
            )
        return add_on

    @staticmethod
    def _release(kind: AddOnKind, version: str, text: str) -> Release:
        """The release asked for, or InvalidParameterException."""
        version = check_version(kind, version)
        try:
            values = parse_configuration(text)
        except ValueError as error:
            problem = str(error)
        else:
            unknown = [name for name in values if name not in kind.configurable]
            if not unknown:
                return Release(version, text, values)
            problem = ", ".join(
                f"$.{name}: is not defined in the schema and the schema does not allow additional properties"
                for name in unknown
            )
        raise AwsError(
            "InvalidParameterException",
            "ConfigurationValue provided in request is not supported: Json schema validation failed with "
            f"error: [{problem}]",
            addonName=kind.name,
        )

    async def _describe(self, add_on: AddOn) -> Result:
        return add_on.describe(short_of_replicas=await self.objects.is_short_of_replicas(add_on.kind))

    def _describe_kind(self, kind: AddOnKind) -> Result:
        return {
            "addonName": kind.name,
            "type": kind.type,
            "owner": "aws",
            "publisher": "eks",
            "addonVersions": [
                {
                    "addonVersion": version,
                    "architecture": ["amd64", "arm64"],
                    "compatibilities": [
                        {
                            "clusterVersion": self._settings.kubernetes_version,
                            "platformVersions": [PLATFORM_VERSION],
                            "defaultVersion": version == kind.default_version,
                        }
                    ],
                    "requiresConfiguration": False,
                    "requiresIamPermissions": kind.name == "vpc-cni",
                }
                for version in kind.versions
            ],
        }
