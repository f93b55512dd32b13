"""`python -m pytest_cnimigrate.report OUT_DIR`: draw the page anew from the journals in a run's folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_cnimigrate.report import write_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the page; 0, or 2 with one line on stderr if that is not possible."""
    parser = argparse.ArgumentParser(
        prog="python -m pytest_cnimigrate.report",
        description="Draw index.html anew from the journals (*/journal.jsonl) of a run's folder.",
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="the run's folder (--cni-out)")
    out: Path = parser.parse_args(arguments).out
    journals = sorted(out.glob("*/journal.jsonl"))
    if not journals:
        print(f"there is no journal in {out}: a run leaves {out}/<scenario>/journal.jsonl", file=sys.stderr)
        return 2
    try:
        print(write_report(out, journals))
    except OSError as error:
        print(f"the page could not be written: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
