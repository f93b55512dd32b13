"""`python -m pytest_cnimigrate.observe.judge RECORD_DIR`: judge a stored record again, offline.

RECORD_DIR is the `record` folder of a run. The journal is looked for beside it. Exit status: 0 when every
rule held, 1 when one did not, 2 when the record cannot be judged.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_cnimigrate.observe.comparing import compare
from pytest_cnimigrate.observe.invariants import (
    BUILT_IN,
    ContextError,
    InvariantError,
    judge,
    own_invariants,
)
from pytest_cnimigrate.observe.record import RecordError


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, and print a line for each violation; with `--against`, for each difference as well."""
    parser = argparse.ArgumentParser(prog="python -m pytest_cnimigrate.observe.judge", description=__doc__)
    parser.add_argument("record", type=Path, metavar="RECORD_DIR")
    parser.add_argument("--journal", type=Path, help="the run's journal (default: ../journal.jsonl)")
    parser.add_argument(
        "--scenario", type=Path, help="a scenario's folder, for the rules that it brings along"
    )
    parser.add_argument(
        "--against", type=Path, metavar="RECORD_DIR", help="an earlier record to compare with"
    )
    options = parser.parse_args(arguments)
    journal: Path = options.journal or options.record.absolute().parent / "journal.jsonl"
    try:
        if options.journal is not None and not journal.is_file():
            raise RecordError(f"there is no journal {journal}")
        rules = [*BUILT_IN, *(own_invariants(options.scenario) if options.scenario else ())]
        violations = judge(options.record, journal, invariants=rules)
        differences = compare(options.against, options.record) if options.against else []
    except (RecordError, ContextError, InvariantError) as error:
        print(error, file=sys.stderr)
        return 2
    for violation in violations:
        print(violation)
    for difference in differences:
        print(difference)
    print(f"{len(rules)} rules, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
