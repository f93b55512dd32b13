"""Installed in somebody's ordinary test project, the plugin is not there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from scenario_project import LIGHT

HEAVY = (
    "kubernetes",
    "boto3",
    "botocore",
    "pydantic",
    "aiohttp",
    "jinja2",
    "yaml",
    "requests",
    "xdist.scheduler",
)


def _normal(result: pytest.RunResult) -> list[str]:
    lines = [re.sub(r"\d+\.\d+s", "N s", line) for line in result.outlines]
    # pytest's own list of what is installed.
    return [re.sub(r"cnimigrate-[\d.]+,? ?", "", line) for line in lines]


@pytest.mark.parametrize("arguments", [[], ["-v"], ["-q"], ["--collect-only"], ["--fixtures-per-test"]])
def test_an_ordinary_run_prints_the_same_with_and_without_it(
    pytester: pytest.Pytester, arguments: list[str]
) -> None:
    pytester.makepyfile("def test_one(): pass\ndef test_two(): assert 0\n")
    pytester.mkdir("deploy").joinpath("scenario.yaml").write_text("apiVersion: other/v1\nkind: Scenario\n")
    with_it = pytester.runpytest_inprocess(*LIGHT, *arguments)
    without_it = pytester.runpytest_inprocess("-p", "no:cnimigrate", *LIGHT, *arguments)
    assert with_it.ret == without_it.ret
    assert _normal(with_it) == _normal(without_it)
    assert not (pytester.path / "out").exists()


def test_an_ordinary_run_imports_none_of_its_heavy_parts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import sys

        def test_light():
            loaded = [name for name in {HEAVY!r} if name in sys.modules]
            assert not loaded
            mine = [name for name in sys.modules if name.startswith("pytest_cnimigrate.")]
            assert set(mine) <= {{
                "pytest_cnimigrate.plugin",
                "pytest_cnimigrate.plugin.discovery",
                "pytest_cnimigrate.plugin.hookspecs",
                "pytest_cnimigrate.plugin.options",
                "pytest_cnimigrate.run",
                "pytest_cnimigrate.run.options",
            }}
        """
    )
    # In a process of its own and without the plugins that bring such modules themselves.
    result = pytester.runpytest_subprocess("-p", "no:xdist", *LIGHT)
    result.assert_outcomes(passed=1)


def test_it_is_imported_within_50_milliseconds() -> None:
    code = (
        "import pytest, time; begun = time.perf_counter(); import pytest_cnimigrate.plugin; "
        "print(time.perf_counter() - begun)"
    )
    # The best of three: the machine may be busy, the import is not slower for that.
    took = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    )
    assert took < 0.05


def test_its_options_are_told_by_help(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--help")
    flags = ["--cni-cluster", "--cni-scenario", "--cni-set", "--cni-out", "--cni-keep"]
    result.stdout.fnmatch_lines(["CNI migration:", *[f"*{flag}=*" for flag in flags]])
    result.stdout.fnmatch_lines(["*cni_cluster (string)*", "*cni_out (string)*", "*cni_keep (string)*"])
