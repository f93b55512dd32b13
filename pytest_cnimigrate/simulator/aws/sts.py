"""STS: who is calling."""

from __future__ import annotations

from pytest_cnimigrate.simulator.aws.operations import Parameters, Result, operation
from pytest_cnimigrate.simulator.aws.settings import AwsSettings

USER = "rehearsal"


class Sts:
    """Everybody is the same user: signatures are not verified, so nobody can be told apart."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings

    @operation("GetCallerIdentity")
    async def get_caller_identity(self, given: Parameters) -> Result:
        account = self._settings.account
        return {
            "UserId": "AIDAREHEARSALREHEARSAL",
            "Account": account,
            "Arn": f"arn:aws:iam::{account}:user/{USER}",
        }
