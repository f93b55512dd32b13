"""Find and remove what earlier runs have left: `python -m pytest_cnimigrate.providers.prune [--list]`."""

from __future__ import annotations

import argparse

from pytest_cnimigrate.simulator import registry


def main() -> int:
    """Show every embedded cluster of this user, and remove them unless `--list` is given."""
    parser = argparse.ArgumentParser(prog="prune", description=__doc__)
    parser.add_argument("--list", action="store_true", help="show what there is and remove nothing")
    only_list = parser.parse_args().list
    found = list(registry.entries())
    if not found:
        print("nothing is left of earlier runs")
    failed = False
    for entry in found:
        what = f"embedded cluster {entry.cluster} (pid {entry.pid}, {entry.server}, since {entry.started})"
        if only_list:
            print(f"{what}{'' if entry.alive else ', no longer running'}")
        elif entry.stop():
            print(f"removed {what}")
        else:
            failed = True
            print(f"could not end {what}; try again, or: kill -9 {entry.pid}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
