"""A scenario project to run pytest in: real scenario files, phase modules made of a few lines each."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

NODE_POOL = Path(__file__).parents[2] / "scenarios" / "node_pool"

# Other plugins of this environment that take longer at the end of each run than the run itself.
LIGHT = ("-p", "no:hypothesispytest")

# Phase modules here never touch a cluster. `migrate` journals like the real one and changes nothing else.
CONFTEST = """
import pytest

class Migrate:
    def __init__(self, journal):
        self._journal = journal

    def __call__(self, description):
        entry = {"id": 1, "change": "fake", "description": description, "parameters": {}}
        self._journal.append("change-started", **entry, captured={})
        with open(self._journal.path.parent / "changed.txt", "a") as file:
            file.write(description + "\\n")
        self._journal.append("change-done", **entry, seconds=0.0)

@pytest.fixture
def migrate(scenario_run):
    return Migrate(scenario_run.journal)

@pytest.fixture(scope="session")
def cluster(scenario_run):
    path = scenario_run.folder / "cluster.txt"
    with path.open("a") as file:
        file.write("up\\n")
    yield path
    with path.open("a") as file:
        file.write("down\\n")
"""


class Project:
    """A directory with one scenario (or more), and pytest to run on it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.root = pytester.path
        pytester.makeini("[pytest]\njunit_family = xunit1\nfilterwarnings = error\n")

    def scenario(
        self,
        modules: Mapping[str, str],
        *,
        folder: str = "scenarios/move",
        name: str = "move",
        phases: Sequence[str] | None = None,
        conftest: str = "",
    ) -> Path:
        """Write a scenario: phase name -> source of its module. Returns its folder."""
        path = self.root / folder
        path.mkdir(parents=True, exist_ok=True)
        for file in ("eks-config.yaml", "cilium-values.yaml", "manifests"):
            source = NODE_POOL / file
            if source.is_dir():
                shutil.copytree(source, path / file, dirs_exist_ok=True)
            else:
                shutil.copy(source, path / file)
        self.scenario_file(path, name=name, phases=phases or list(modules))
        for number, (phase, source) in enumerate(modules.items(), start=1):
            module = path / f"test_{number * 10}_{phase.replace('-', '_')}.py"
            module.write_text(textwrap.dedent(source), encoding="utf-8")
        (path / "conftest.py").write_text(CONFTEST + textwrap.dedent(conftest), encoding="utf-8")
        return path

    def scenario_file(
        self, folder: Path, *, name: str, phases: Sequence[str], file: str = "scenario.yaml"
    ) -> Path:
        """Write a scenario file like the shipped one, with this name and these phases."""
        text = (NODE_POOL / "scenario.yaml").read_text(encoding="utf-8")
        text = re.sub(r"^name: .*$", f"name: {name}", text, flags=re.MULTILINE)
        listed = "".join(f"- {phase}\n" for phase in phases)
        text = re.sub(r"^phases:\n(- .*\n)+", f"phases:\n{listed}", text, flags=re.MULTILINE)
        path = folder / file
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *args: str, workers: int | str = 0) -> pytest.RunResult:
        """Run pytest in a process of its own, with so many workers."""
        return self.pytester.runpytest_subprocess(*args, f"-n{workers}", *LIGHT, timeout=60)

    def run_inline(self, *args: str) -> pytest.RunResult:
        """Run pytest in this process: faster."""
        return self.pytester.runpytest_inprocess(*LIGHT, *args)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start pytest in a process group of its own, as a shell does; its output goes to a pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *LIGHT, *args],
            cwd=self.root,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def journal(self, name: str = "move", out: str | None = None) -> list[dict[str, Any]]:
        """The journal of a scenario."""
        path = self.root / (out or f"out/{name}") / name / "journal.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def outcomes(self, name: str = "move", out: str | None = None) -> dict[str, str]:
        """Test function -> outcome, by the journal."""
        return {
            record["nodeid"].rpartition("::")[2]: record["outcome"]
            for record in self.journal(name, out)
            if record["event"] == "test-finished"
        }

    def changes(self, name: str = "move", out: str | None = None) -> list[str]:
        """What was really changed, and how often."""
        path = self.root / (out or f"out/{name}") / name / "changed.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def cluster(self, name: str = "move", out: str | None = None) -> list[str]:
        """What became of the cluster: `up` and `down`, in order."""
        path = self.root / (out or f"out/{name}") / name / "cluster.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


THREE_PHASES = {
    "look": '''
        """Look around.

        Nothing is changed here.
        """

        def test_the_cluster_answers(cluster):
            """The cluster answers."""

        def test_nodes_are_ready(cluster):
            pass
    ''',
    "change-it": '''
        """Change it."""
        import pytest

        @pytest.mark.action
        def test_label(migrate, cluster):
            """Label the nodes."""
            migrate("label node a")

        def test_labels_are_there(cluster):
            """The labels are there."""
    ''',
    "done": '''
        """Done."""

        def test_all_is_well(cluster):
            """All is well."""
    ''',
}
