"""Where a scenario stops, and that it stops in the same way with and without workers."""

from __future__ import annotations

import textwrap
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import pytest
from scenario_project import Project

FIVE_STEPS = {
    "before": '''
        """Before."""

        def test_before(cluster):
            """It is as it was."""
    ''',
    "middle": '''
        """In the middle."""
        import pytest

        @pytest.fixture
        def site(cluster):
            {setup}
            yield
            {teardown}

        @pytest.mark.action
        def test_first(migrate, site):
            """Do the first thing."""
            migrate("first")
            {action}

        def test_check(site):
            """The first thing is done."""
            {check}

        def test_other_check(cluster):
            """And nothing else is."""

        @pytest.mark.action
        def test_second(migrate, cluster):
            """Do the second thing."""
            migrate("second")

        def test_last_check(cluster):
            """The second thing is done."""

        @pytest.mark.always
        def test_evidence(cluster):
            """Leave evidence."""
    ''',
    "after": '''
        """After."""

        def test_after(cluster):
            """All is done."""
    ''',
}


def with_fault(where: str, what: str) -> dict[str, str]:
    """The five steps with a fault in one place."""
    places = dict.fromkeys(("setup", "teardown", "action", "check"), "pass") | {where: what}
    return {phase: source.format(**places) for phase, source in FIVE_STEPS.items()}


@dataclass(frozen=True)
class Fault:
    """A fault and what it leads to: test -> outcome for those that do not pass."""

    where: str
    what: str
    outcomes: dict[str, str]
    changes: list[str] = field(default_factory=lambda: ["first"])
    junit: dict[str, str] = field(default_factory=dict)
    """Test -> element in the JUnit file, where it is not the outcome's own."""


ALL_AFTER_CHECK = {
    "test_check": "failed",
    "test_second": "not-run",
    "test_after": "not-run",
}
ALL_AFTER_ACTION = {
    "test_first": "failed",
    "test_check": "not-run",
    "test_other_check": "not-run",
    "test_second": "not-run",
    "test_last_check": "not-run",
    "test_after": "not-run",
}
IN_FIXTURE = (
    "if 'test_check' in __import__('os').environ['PYTEST_CURRENT_TEST']: raise RuntimeError('no site')"
)
IN_ACTION_FIXTURE = IN_FIXTURE.replace("test_check", "test_first")

FAULTS = {
    "an action fails": Fault("action", "assert 0, 'no first thing'", ALL_AFTER_ACTION),
    "an action is expected to fail": Fault("action", "pytest.xfail('known')", ALL_AFTER_ACTION),
    "a check fails": Fault("check", "assert 0, 'no first thing'", ALL_AFTER_CHECK),
    "the setup of an action fails": Fault(
        "setup", IN_ACTION_FIXTURE, ALL_AFTER_ACTION, changes=[], junit={"test_first": "error"}
    ),
    "the setup of a check fails": Fault("setup", IN_FIXTURE, ALL_AFTER_CHECK, junit={"test_check": "error"}),
    "the teardown of an action fails": Fault(
        "teardown", IN_ACTION_FIXTURE, ALL_AFTER_ACTION, junit={"test_first": "error"}
    ),
    "the teardown of a check fails": Fault(
        "teardown", IN_FIXTURE, ALL_AFTER_CHECK, junit={"test_check": "error"}
    ),
    "a check skips itself": Fault(
        "check", "pytest.skip('does not apply')", {"test_check": "skipped"}, changes=["first", "second"]
    ),
    "nothing fails": Fault("check", "pass", {}, changes=["first", "second"]),
}

ELEMENTS = {"passed": "", "failed": "failure", "skipped": "skipped", "not-run": "skipped"}


def junit(project: Project) -> list[tuple[str, str, dict[str, str], list[tuple[str, str]]]]:
    """The test cases of the JUnit file: name, where it is defined, properties, results."""
    suite = ET.parse(project.root / "out/move/junit.xml").getroot()[0]  # noqa: S314  # our own file
    cases = []
    for case in suite.iter("testcase"):
        properties = {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")}
        results = [(child.tag, child.attrib["message"]) for child in case if child.tag != "properties"]
        place = f"{case.attrib['classname']} {case.attrib['file']}:{case.attrib['line']}"
        cases.append((case.attrib["name"], place, properties, results))
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    tags = [result[0] for case in cases for result in case[3]]
    assert counts["failures"] == tags.count("failure")
    assert counts["errors"] == tags.count("error")
    assert counts["skipped"] == tags.count("skipped")
    return cases


@pytest.mark.parametrize("what", FAULTS)
def test_the_scenario_stops_where_it_should_with_and_without_workers(project: Project, what: str) -> None:
    fault = FAULTS[what]
    project.scenario(with_fault(fault.where, fault.what))
    names = ["before", "first", "check", "other_check", "second", "last_check", "evidence", "after"]
    expected = {f"test_{name}": "passed" for name in names} | fault.outcomes
    stopped = "not-run" in expected.values()
    records = {}
    for workers in (0, 2):
        result = project.run_inline() if workers == 0 else project.run(workers=2)
        assert result.ret == (1 if stopped else 0)
        assert project.outcomes() == expected
        assert list(project.outcomes()) == list(expected)
        assert project.changes() == fault.changes
        assert project.cluster() == ["up", "down"]
        records[workers] = junit(project)
        assert {"xfailed", "xpassed", "skipped"} & set(result.parseoutcomes()) <= {"skipped"}
        assert result.parseoutcomes().get("notrun", 0) == list(expected.values()).count("not-run")
    assert records[0] == records[2]
    assert [case[0] for case in records[0]] == list(expected)
    for name, _, properties, results in records[0]:
        outcome = expected[name]
        element = fault.junit.get(name, ELEMENTS[outcome])
        assert [tag for tag, _ in results] == ([element] if element else [])
        assert (properties.get("not_run_after") is not None) == (outcome == "not-run")
        assert properties["scenario"] == "move"


def test_a_step_that_was_not_run_says_what_it_was_stopped_by(project: Project) -> None:
    project.scenario(with_fault("check", "assert 0, 'no first thing'"))
    project.run_inline()
    name, place, properties, results = junit(project)[-1]
    assert name == "test_after"
    assert place == "scenarios.move.test_30_after scenarios/move/test_30_after.py:3"
    assert properties == {
        "scenario": "move",
        "phase": "after",
        "kind": "check",
        "title": "All is done",
        "not_run_after": "scenarios/move/test_20_middle.py::test_check",
    }
    reason = 'not run: the check "The first thing is done" failed in phase middle'
    assert results == [("skipped", reason)]


def test_no_fixture_is_set_up_for_what_is_not_run(project: Project) -> None:
    """Above all, no cluster is made for a scenario that has stopped."""
    modules = with_fault("action", "assert 0")
    modules["after"] = """
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def expensive(scenario_run):
            (scenario_run.folder / "changed.txt").write_text("a cluster was made")

        def test_after(expensive):
            pass
    """
    project.scenario(modules)
    project.run_inline()
    assert project.changes() == ["first"]


@pytest.mark.parametrize("how", ["raise RuntimeError('no cluster')", "pytest.fail('no cluster')"])
def test_without_a_cluster_the_scenario_stops_at_once_and_says_so_once(project: Project, how: str) -> None:
    project.scenario(
        with_fault("check", "pass"),
        conftest=f"""
        @pytest.fixture(scope="session")
        def cluster(scenario_run):
            {how}
        """,
    )
    result = project.run_inline()
    assert result.ret == 1
    outcomes = project.outcomes()
    assert outcomes.pop("test_before") == "failed"
    assert outcomes.pop("test_evidence") == "failed"  # It is always run, and has no cluster either.
    assert set(outcomes.values()) == {"not-run"}


def test_a_failed_subtest_stops_the_scenario(project: Project) -> None:
    modules = with_fault("check", "pass")
    modules["middle"] = modules["middle"].replace("def test_check(site):", "def test_check(site, subtests):")
    modules["middle"] = modules["middle"].replace(
        '"""The first thing is done."""', "with subtests.test('one'): assert 0"
    )
    project.scenario(modules)
    assert project.run_inline().ret == 1
    assert project.outcomes()["test_check"] == "failed"
    assert project.outcomes()["test_after"] == "not-run"


def test_a_phase_that_does_not_apply_is_skipped_and_does_not_stop_the_scenario(project: Project) -> None:
    modules = with_fault("check", "pass")
    modules["middle"] = "import pytest\npytest.skip('nothing to do here', allow_module_level=True)\n"
    project.scenario(modules)
    result = project.run_inline()
    assert result.ret == 0
    assert project.outcomes() == {"test_before": "passed", "test_after": "passed"}
    assert result.parseoutcomes() == {"passed": 2, "skipped": 1}


def test_plugins_that_repeat_tests_never_repeat_a_step(project: Project) -> None:
    project.scenario(
        with_fault("action", "assert 0"),
        conftest="""
        import pytest
        from _pytest.runner import runtestprotocol

        @pytest.hookimpl
        def pytest_runtest_protocol(item, nextitem):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for attempt in range(3):
                runtestprotocol(item, nextitem=nextitem)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            return True
        """,
    )
    result = project.run_inline()
    assert result.ret == 1
    assert project.changes() == []  # The check before it failed for being repeated.
    assert project.outcomes()["test_before"] == "failed"


@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_is_the_scenarios_whatever_other_plugins_do(project: Project, workers: int) -> None:
    project.scenario(
        with_fault("check", "pass"),
        conftest="""
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(items):
            items.reverse()

        class Shuffle:
            @pytest.hookimpl(wrapper=True, tryfirst=True)
            def pytest_collection_modifyitems(self, items):
                yield
                items.reverse()

        def pytest_configure(config):
            config.pluginmanager.register(Shuffle())
        """,
    )
    result = project.run(workers=workers) if workers else project.run_inline()
    assert result.ret == 0
    names = ["before", "first", "check", "other_check", "second", "last_check", "evidence", "after"]
    assert list(project.outcomes()) == [f"test_{name}" for name in names]
    assert project.changes() == ["first", "second"]


def test_the_order_of_phases_is_that_of_the_scenario_file(project: Project) -> None:
    look = "def test_{0}(): pass\n"
    project.scenario(
        {name: look.format(name) for name in ("one", "two", "three")}, phases=["three", "one", "two"]
    )
    project.run_inline()
    assert list(project.outcomes()) == ["test_three", "test_one", "test_two"]


def test_parameters_stay_in_order_and_are_part_of_the_title(project: Project) -> None:
    source = '''
        import pytest

        @pytest.fixture(scope="module", params=["new", "old"])
        def side(request):
            return request.param

        @pytest.mark.parametrize("node", ["b", "a"])
        def test_node(side, node):
            """The node is well."""

        def test_other(side):
            pass
    '''
    project.scenario({"look": source})
    project.run_inline()
    titles = [record["title"] for record in project.journal() if record["event"] == "test-started"]
    assert titles[:2] == ["The node is well [new-b]", "The node is well [new-a]"]
    assert titles[-2:] == ["other [new]", "other [old]"]


def test_ordinary_tests_beside_a_scenario_are_left_alone(project: Project) -> None:
    project.scenario(with_fault("action", "assert 0"))
    project.pytester.makepyfile(test_ordinary="def test_one(): assert 0\ndef test_two(): pass\n")
    for workers in (0, 2):
        result = project.run_inline() if workers == 0 else project.run(workers=2)
        assert result.parseoutcomes() == {"failed": 2, "passed": 3, "notrun": 6 - 1 + 0}
        assert "test_two" not in project.outcomes()


def test_a_module_that_cannot_be_imported_lets_nothing_run(project: Project) -> None:
    modules = with_fault("check", "pass")
    modules["after"] = textwrap.dedent("import no_such_module\ndef test_after(): pass\n")
    project.scenario(modules)
    for workers in (0, 2):
        result = project.run_inline() if workers == 0 else project.run(workers=2)
        assert result.ret == 2
        result.stdout.fnmatch_lines(["*ModuleNotFoundError: No module named 'no_such_module'*"])
        assert set(project.outcomes().values()) == {"not-run"}
        assert project.changes() == []
        assert project.cluster() == []
