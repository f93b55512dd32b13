"""Who is asking: users by bearer token, and impersonation."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pytest_cnimigrate.simulator.client.api import ApiError

MASTERS: Final = "system:masters"
AUTHENTICATED: Final = "system:authenticated"
SERVICE_ACCOUNTS: Final = "system:serviceaccounts"


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()

    @property
    def is_master(self) -> bool:
        """All-powerful, whatever the roles say."""
        return MASTERS in self.groups


ADMIN: Final = User("kubernetes-admin", (MASTERS, AUTHENTICATED))


def service_account(namespace: str, name: str) -> User:
    """The user that pods with a service account are."""
    groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


class Authenticator:
    """The tokens that the server knows. They live and die with it."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}

    def issue(self, user: User) -> str:
        """A new token for the user."""
        token = secrets.token_urlsafe(32)
        self._users[token] = user
        return token

    def user_of(self, headers: Mapping[str, str]) -> User:
        """Whose token a request carries; raises 401 without a valid one."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            for known, user in self._users.items():
                if hmac.compare_digest(known.encode(), token.strip().encode()):
                    return user
        raise ApiError(401, "Unauthorized", "Unauthorized")


def impersonated(headers: Mapping[str, str], groups: list[str]) -> User | None:
    """The user that `kubectl --as` asks to be, or None."""
    name = headers.get("Impersonate-User", "")
    if not name:
        return None
    if name.startswith("system:serviceaccount:") and name.count(":") == 3:
        _, _, namespace, account = name.split(":")
        return service_account(namespace, account)
    return User(name, (*groups, AUTHENTICATED))
