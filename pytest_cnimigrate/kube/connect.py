"""From a kubeconfig to a client, without the `kubernetes` package's global state."""

from __future__ import annotations

import importlib.metadata
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.kube_config import KubeConfigLoader

from pytest_cnimigrate.kube.client import KubeClient
from pytest_cnimigrate.kube.errors import KubeConfigError
from pytest_cnimigrate.kube.retrying import RetryPolicy, Timeouts
from pytest_cnimigrate.kube.transport import Transport

POOL_SIZE = 32
"""Connections kept open: as many as goldpinger's rows are read at once, and some for everybody else."""


def connect(
    kubeconfig: Path,
    context: str | None = None,
    *,
    timeouts: Timeouts | None = None,
    retries: RetryPolicy | None = None,
    ended: Callable[[], str] | None = None,
) -> KubeClient:
    """A client for one context of a kubeconfig (its current one, if none is named). Sends nothing yet.

    `ended` is for a server that the caller has started: it says why that server will never answer again, or
    "". Then requests fail at once with `ServerEnded`, which nobody waits on.

    Close it when done. Raises `KubeConfigError`, one line that says what is wrong with the file.
    """
    loaded = _load(kubeconfig)
    context = _choose_context(kubeconfig, loaded, context)
    configuration = Configuration()
    configuration.host = ""
    try:
        loader = KubeConfigLoader(  # type: ignore[no-untyped-call]  # the client is half typed
            loaded, active_context=context, config_base_path=str(kubeconfig.absolute().parent)
        )
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise KubeConfigError(f"{kubeconfig}: context {context!r} cannot be used: {reason}") from error
    _check_login(kubeconfig, loaded, context, configuration)
    # Own, counted retries: urllib3's would multiply every time limit by four, unseen.
    configuration.retries = False
    configuration.connection_pool_maxsize = POOL_SIZE
    configuration.keep_alive = True
    if _is_loopback(configuration.host) and "proxy-url" not in _entry(loaded, "cluster", context):
        # As Go's ProxyFromEnvironment: what runs on this machine is never reached through HTTP_PROXY.
        configuration.proxy = None
    api_client = ApiClient(configuration)
    api_client.user_agent = f"pytest-cnimigrate/{importlib.metadata.version('pytest-cnimigrate')}"
    return KubeClient(Transport(api_client, timeouts=timeouts, retries=retries, ended=ended))


def _load(kubeconfig: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KubeConfigError(f"{kubeconfig}: there is no such kubeconfig") from None
    except (OSError, UnicodeDecodeError) as error:
        raise KubeConfigError(f"{kubeconfig}: the kubeconfig cannot be read: {error}") from error
    except yaml.YAMLError as error:
        # The full text of a YAML error quotes the file, and kubeconfigs hold secrets.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise KubeConfigError(f"{kubeconfig}{where}: the kubeconfig is not valid YAML") from None
    if not isinstance(loaded, dict):
        raise KubeConfigError(f"{kubeconfig}: the kubeconfig is empty or no mapping")
    return loaded


def _choose_context(kubeconfig: Path, loaded: dict[str, Any], context: str | None) -> str:
    """The context to use, after checking that it and the entries it names exist."""
    names = [str(entry.get("name")) for entry in loaded.get("contexts") or ()]
    there = f"it has: {', '.join(names)}" if names else "it has none"
    chosen = context or loaded.get("current-context")
    if not chosen:
        raise KubeConfigError(f"{kubeconfig}: no context is named and none is current; {there}")
    if chosen not in names:
        raise KubeConfigError(f"{kubeconfig}: there is no context {chosen!r}; {there}")
    for kind in ("cluster", "user"):
        if not _entry(loaded, kind, chosen):
            raise KubeConfigError(f"{kubeconfig}: the {kind} of context {chosen!r} is missing or empty")
    return str(chosen)


def _entry(loaded: dict[str, Any], kind: str, context: str) -> dict[str, Any]:
    """The cluster's or user's entry that a context names, or an empty one."""

    def named(section: str, name: str, key: str) -> dict[str, Any]:
        for entry in loaded.get(section) or ():
            if entry.get("name") == name:
                return entry.get(key) or {}
        return {}

    return named(f"{kind}s", named("contexts", context, "context").get(kind, ""), kind)


def _check_login(
    kubeconfig: Path, loaded: dict[str, Any], context: str, configuration: Configuration
) -> None:
    """Refuse a login command that brought nothing: the client only logs that and goes on as anonymous."""
    command = (_entry(loaded, "user", context).get("exec") or {}).get("command")
    if command and not configuration.api_key and not configuration.cert_file:
        raise KubeConfigError(
            f"{kubeconfig}: the login command {command!r} of context {context!r} gave no credentials; "
            "run it by hand to see why"
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
