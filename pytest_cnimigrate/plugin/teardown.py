"""Taking fixtures down before pytest does."""

from __future__ import annotations

import pytest


def everything(session: pytest.Session) -> None:
    """Tear down every fixture that is set up, session fixtures included. Raises what their teardown raises.

    pytest has no public way to end session fixtures early. If its private one is gone, nothing is lost:
    they are then taken down at the end of the session, as in any pytest run.
    """
    state = getattr(session, "_setupstate", None)
    if state is not None and hasattr(state, "teardown_exact"):
        state.teardown_exact(None)
