"""botocore without the user's AWS settings."""

from __future__ import annotations

import os

from botocore.config import Config
from botocore.session import Session

_FILES = ("config_file", "credentials_file")


def detached_session() -> Session:
    """A botocore session that knows no profile, no file, no variable and no proxy.

    None of them means the embedded cluster, and each can keep a request to it from being made: a profile
    that is not there, a certificate file that cannot be read, a proxy that does not lead to this machine.
    """
    variables = {
        name: (None, None, os.devnull if name in _FILES else default, convert)
        for name, (_, _, default, convert) in Session.SESSION_VARIABLES.items()
    }
    session = Session(session_vars=variables)
    # Empty, not None: None would ask the environment.
    session.set_default_client_config(Config(proxies={}))
    return session
