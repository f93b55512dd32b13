"""The page can be drawn anew from what a run has left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sample_journal import migration


def redraw(out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "pytest_cnimigrate.report", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_page_is_drawn_from_every_journal_of_a_run(tmp_path):
    migration("one").write(tmp_path)
    migration("two", killed="drain").write(tmp_path)
    migration("older").write(tmp_path / "previous" / "20261121-210000-ff00")
    run = redraw(tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"{tmp_path}/index.html\n", "")
    assert "2 scenarios: 1 went through" in (tmp_path / "index.html").read_text()


def test_a_folder_without_a_journal_gets_one_clear_line(tmp_path):
    run = redraw(tmp_path)
    assert run.returncode == 2
    assert (
        run.stderr == f"there is no journal in {tmp_path}: a run leaves {tmp_path}/<scenario>/journal.jsonl\n"
    )
    assert not list(tmp_path.iterdir())
