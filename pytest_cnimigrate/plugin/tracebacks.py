"""Where a failure is told to an operator: errors that explain themselves need no way through our own code.

`pytest --full-trace` shows everything.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import pytest

from pytest_cnimigrate.kube.errors import KubeError
from pytest_cnimigrate.observe.waiting import WaitError
from pytest_cnimigrate.providers.cluster import ProviderError
from pytest_cnimigrate.providers.helm import HelmError
from pytest_cnimigrate.providers.node_groups import CloudError
from pytest_cnimigrate.run.change import ChangeError

_EXPLAINED = (ChangeError, CloudError, HelmError, KubeError, ProviderError, WaitError)


def shorten(excinfo: pytest.ExceptionInfo[BaseException], folder: Path) -> bool:
    """Cut the traceback of an error that explains itself down to the scenario's own lines in `folder`.

    False if nothing of it is left, as with a fixture of ours: then the error's text is all there is to tell.
    """
    if not _explains_itself(excinfo.value):
        return True
    excinfo.value.__cause__ = None
    excinfo.value.__suppress_context__ = True
    own = _only(excinfo.tb, folder)
    if own is None:
        return False
    # pytest cuts tracebacks further by following the raw ones, so it has to be a raw one.
    excinfo.traceback = type(excinfo.traceback)(own)
    return True


def _only(traceback: TracebackType | None, folder: Path) -> TracebackType | None:
    """The traceback without the frames of code outside `folder`; None if none is left."""
    if traceback is None:
        return None
    following = _only(traceback.tb_next, folder)
    if not Path(traceback.tb_frame.f_code.co_filename).is_relative_to(folder):
        return following
    return TracebackType(following, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)


def _explains_itself(error: BaseException) -> bool:
    """Whether an error's text was written for the operator, all the way down.

    A change wraps whatever it fails by; below a mistake of ours the traceback is what helps.
    """
    if isinstance(error, ChangeError) and error.__cause__ is not None:
        return _explains_itself(error.__cause__)
    return isinstance(error, _EXPLAINED)
