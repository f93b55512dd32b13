"""Compare what the simulator answers with what a real cluster answered: same keys, same types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"


def recording(name: str) -> Any:
    return json.loads((RECORDINGS / name).read_text())


def shape(value: Any) -> Any:
    """Keys and types of a JSON value; lists are described by their first element."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__
