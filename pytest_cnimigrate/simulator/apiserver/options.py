"""What a write may carry along, besides its object."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """`meta/v1` CreateOptions, UpdateOptions and PatchOptions in one."""

    dry_run: bool = False
    manager: str = ""
    """The field manager; empty, as the simulated control plane writes, starts no tracking of ownership."""
    force: bool = False
    """Server-side apply only: take over fields that others own."""
    field_validation: str = ""
    """`Ignore`, `Warn` or `Strict`, as clients ask; empty trusts the object's form without a look."""
    warnings: list[str] = field(default_factory=list, compare=False)
    """Filled with what the server wants to tell the client."""
