"""Where a cluster comes from: created or adopted, with its node groups and its Helm releases."""

from __future__ import annotations

from collections.abc import Callable

from pytest_cnimigrate.providers.cluster import Provider, ProviderError


def _sim() -> Provider:
    from pytest_cnimigrate.providers.sim import SimProvider

    return SimProvider()


_PROVIDERS: dict[str, Callable[[], Provider]] = {"sim": _sim}
"""The one place where a provider is made known; each is imported only when it is asked for."""


def provider_named(name: str) -> Provider:
    """A fresh provider. Raises `ProviderError` for a name that this version does not carry."""
    try:
        return _PROVIDERS[name]()
    except KeyError:
        raise ProviderError(f"this version has no provider {name}; it has: {', '.join(_PROVIDERS)}") from None
