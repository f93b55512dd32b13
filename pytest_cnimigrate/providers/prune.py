"""Find and remove what earlier runs have left: `python -m pytest_cnimigrate.providers.prune`."""

from __future__ import annotations

import argparse

from pytest_cnimigrate.simulator import registry


def main() -> int:
    """Remove every embedded cluster of this user that no run is using, or show them all with `--list`."""
    parser = argparse.ArgumentParser(prog="prune", description=__doc__)
    parser.add_argument("--list", action="store_true", help="show what there is and remove nothing")
    parser.add_argument("--all", action="store_true", help="end those that a run is using, too")
    arguments = parser.parse_args()
    found = list(registry.entries())
    if not found:
        print("nothing is left of earlier runs")
    failed = False
    for entry in found:
        what = f"embedded cluster {entry.cluster} (pid {entry.pid}, {entry.server}, since {entry.started})"
        if arguments.list:
            print(f"{what}{_state(entry)}")
        elif entry.in_use and not arguments.all:
            print(f"left alone {what}{_state(entry)}; --all ends it")
        elif entry.stop():
            print(f"removed {what}")
        else:
            failed = True
            print(f"could not end {what}; try again, or: kill -9 {entry.pid}")
    return 1 if failed else 0


def _state(entry: registry.Entry) -> str:
    if not entry.alive:
        return ", no longer running"
    return f", in use by process {entry.owner}" if entry.in_use else ""


if __name__ == "__main__":
    raise SystemExit(main())
