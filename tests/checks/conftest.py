"""What the tests of checks share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"


@pytest.fixture
def recording() -> Callable[[str], str]:
    """The text of a recording of a real cluster."""
    return lambda name: (RECORDINGS / name).read_text("utf-8")
