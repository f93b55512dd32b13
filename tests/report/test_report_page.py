"""The page: one file that an approver can read, sign and pass on."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from html_tree import Element, parse
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_journal import HELM_DETAILS, HELM_MESSAGE, SampleJournal, migration, nodeid, steps_of
from sample_phases import CILIUM, CORDON, PHASES, PREFLIGHT, PROBE, SamplePhase

from pytest_cnimigrate.report import write_report

ALL_STEPS = [nodeid(phase, title) for phase in PHASES for _, title in steps_of(phase)]
RUNS = {
    "green": {},
    "failed action": {"failed_action": "cilium"},
    "failed check": {"failed_checks": "restart-probe", "provider": "eks"},
    "interrupted": {"interrupted": "drain"},
    "killed": {"killed": "drain"},
}


def draw(out: Path, *journals: SampleJournal, torn: str = "") -> Element:
    page = write_report(out, [journal.write(out, torn=torn) for journal in journals])
    assert page == out / "index.html"
    return parse(page.read_text(encoding="utf-8"))


@pytest.fixture(params=RUNS)
def any_page(request: pytest.FixtureRequest, tmp_path: Path) -> Element:
    return draw(tmp_path, migration(**RUNS[request.param]))


def row_of(page: Element, phase: SamplePhase, title: str) -> Element:
    (row,) = [found for found in page.all() if found.attributes.get("data-nodeid") == nodeid(phase, title)]
    return row


def badges(element: Element) -> list[str]:
    return [badge.text.split(maxsplit=1)[1] for badge in element.of_class("badge")]


def test_the_first_screen_says_what_was_to_be_done_where_when_and_by_whom(tmp_path):
    page = draw(tmp_path, migration())
    (title,) = page.all("h1")
    assert title.text == "Replace the VPC CNI by Cilium with a second node group"
    facts = {div.children[0].text: div.children[1].text for div in page.of_class("facts")[0].all("div")}
    assert facts == {
        "Cluster": "dc-migrate, us-west-1",
        "Ran on": "embedded cluster (simulated)",
        "Began": "22 November 2026, 21:30:00 UTC",
        "Took": "4 min 20 s",
        "Run by": "mira",
        "Run": "20261122-213000-ab12",
    }
    (verdict,) = page.of_class("verdict")
    assert verdict.text.startswith("✓ The rehearsal went through. 10 phases, 31 checks passed, 20 changes")


def test_a_rehearsal_says_that_no_real_cluster_was_touched(tmp_path):
    (stage,) = draw(tmp_path, migration(provider="sim")).of_class("stage")
    assert "No real cluster, node or account was touched" in stage.text
    (stage,) = draw(tmp_path, migration(provider="eks")).of_class("stage")
    assert "A real cluster" in stage.text
    assert "No real cluster" not in stage.text


def test_every_step_is_on_the_page_once(any_page):
    found = [
        element.attributes["data-nodeid"] for element in any_page.all() if "data-nodeid" in element.attributes
    ]
    assert found == ALL_STEPS


def test_every_link_leads_somewhere(tmp_path):
    for name, arguments in RUNS.items():
        out = tmp_path / name
        page = draw(out, migration(**arguments))
        identities = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
        assert len(identities) == len(set(identities))
        for link in page.all("a"):
            href = link.attributes["href"]
            if href.startswith("#"):
                assert href[1:] in identities
            else:
                assert (out / unquote(href)).is_file()
            assert link.text or link.attributes.get("aria-label")


def test_headings_descend_one_level_at_a_time(tmp_path):
    for number, journals in enumerate(([migration()], [migration("a"), migration("b", killed="drain")])):
        page = draw(tmp_path / str(number), *journals)
        levels = [int(heading.tag[1]) for heading in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))


def test_tables_can_be_followed_without_seeing_them(any_page):
    for table in any_page.all("table"):
        assert list(table.all("caption"))
        assert all("scope" in header.attributes for header in table.all("th"))
    for picture in any_page.all("svg"):
        hidden = picture.attributes.get("aria-hidden") == "true"
        assert hidden or (picture.attributes["role"] == "img" and picture.attributes["aria-label"])


def test_not_run_is_told_apart_from_passed_failed_and_skipped(tmp_path):
    page = draw(tmp_path, migration(failed_action="cilium"))
    timeline = page.of_class("timeline")[0]
    assert badges(timeline) == ["passed"] * 4 + ["failed"] + ["not run"] * 5
    assert badges(row_of(page, PREFLIGHT, "CoreDNS has two replicas on different nodes")) == ["skipped"]
    unrun = page.by_id("s1-p6").of_class("notrun")[0]
    assert unrun.text.startswith("○ not run 3 steps · stopped after a failure")
    assert unrun.text.count("stopped after a failure") == 1


def test_a_phase_that_was_not_run_still_shows_its_runbook(tmp_path):
    page = draw(tmp_path, migration(failed_action="cilium"))
    assert "what moves now gets new addresses" in page.by_id("s1-p8").text


def test_a_failure_shows_its_message_and_folds_its_details(tmp_path):
    page = draw(tmp_path, migration(failed_action="cilium"))
    row = row_of(page, CILIUM, CILIUM.action)
    assert row.of_class("message")[0].text == HELM_MESSAGE
    (details,) = row.all("details")
    assert "open" not in details.attributes
    assert next(details.all("pre")).exact_text == HELM_DETAILS.strip("\n")
    link = page.of_class("see")[0].children[1]
    assert link.attributes["href"] == f"#{row.attributes['id']}"


def test_a_change_shows_its_parameters_and_what_was_there_before(tmp_path):
    page = draw(tmp_path, migration())
    table = page.by_id("s1-p4").of_class("changes")[0]
    (row,) = next(table.all("tbody")).all("tr")
    assert row.text == (
        "● changed scale node group ng-cilium from 0 to 3 scale-node-group group ng-cilium desired 3 max 3 "
        "Before the change desired 0 max 1 41 s 11"
    )
    line = page.by_id(list(row.all("a"))[-1].attributes["href"][1:])
    assert "change-started" in line.text


def test_a_stopped_run_lists_what_has_been_changed_so_far(tmp_path):
    page = draw(tmp_path, migration(failed_action="cilium"))
    items = [item.text for item in page.of_class("sofar")[0].all("li")]
    assert len(items) == 12
    assert items[6] == "● changed label node ip-10-0-11-17 with cni=aws-cni"
    assert items[11] == "✗ failed install Helm release kube-system/cilium 1.18.3"
    assert not draw(tmp_path, migration()).of_class("sofar")


def test_a_change_that_was_already_so_is_not_counted_as_made(tmp_path):
    page = draw(tmp_path, migration())
    rows = list(next(page.by_id("s1-p6").of_class("changes")[0].all("tbody")).all("tr"))
    assert [badges(row)[0] for row in rows] == ["kept", "changed", "changed"]


def test_measurements_and_reachability_stand_in_tables(tmp_path):
    page = draw(tmp_path, migration())
    (heat,) = page.of_class("heat")
    rows = {
        row.children[0].text: row for row in list(heat.all("tr"))[1:] if isinstance(row.children[0], Element)
    }
    assert next(iter(rows)) == PROBE.title
    drained = rows["Drain the old nodes"].text
    assert "24/24 24 of 24 pairs reach each other low 21/24" in drained
    measured = page.by_id("s1-measured").attributes["id"]
    assert measured
    section = next(part for part in page.all("section") if part.attributes.get("aria-labelledby") == measured)
    assert "pods moved 33 pods Drain the old nodes" in section.text
    assert "reachability lost class old→new 6.5 pair-seconds" in section.text


def test_pairs_that_fail_are_marked_by_a_sign_and_not_by_colour_alone(tmp_path):
    page = draw(tmp_path, migration(failed_checks="restart-probe"))
    (bad,) = page.of_class("heat-few")
    assert bad.text == "✗ 15/24 15 of 24 pairs reach each other, 9 do not"


def test_the_appendix_holds_every_line_of_the_journal_in_order(any_page, tmp_path):
    journal = tmp_path / "second-node-group" / "journal.jsonl"
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    lines = [item.text.split()[:2] for item in any_page.of_class("log")[0].all("li")]
    assert lines == [[record["t"], record["event"]] for record in records]


def test_the_page_is_bound_to_its_journal_and_evidence_by_checksums(tmp_path):
    page = draw(tmp_path, migration())
    digests = {}
    for row in page.of_class("files")[0].all("tr"):
        cells = list(row.all("td"))
        if cells:
            digests[cells[0].text] = cells[1].text
    assert len(digests) == 8
    for path, digest in digests.items():
        assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == digest
    assert digests["second-node-group/journal.jsonl"] in page.of_class("signoff")[0].text


def test_evidence_that_is_gone_changed_or_elsewhere_is_said_to_be(tmp_path):
    out = tmp_path / "out"
    journal = SampleJournal()
    journal.start()
    title = PREFLIGHT.checks[0]
    (tmp_path / "secret.txt").write_text("not yours")
    with journal.step(PREFLIGHT, "check", title):
        journal.leave_evidence(PREFLIGHT, title, "kept & whole #1.txt", b"kept")
        journal.leave_evidence(PREFLIGHT, title, "changed.txt", b"before")
        for path in (
            "evidence/gone.txt",
            "../../secret.txt",
            str(tmp_path / "secret.txt"),
            "javascript:alert(1)",
        ):
            journal.add("evidence", name=path, path=path, sha256="", nodeid=nodeid(PREFLIGHT, title))
    written = journal.write(out)
    (out / "second-node-group/evidence/preflight-changed.txt").write_bytes(b"after")
    row = row_of(parse(write_report(out, [written]).read_text()), PREFLIGHT, title)
    assert [item.text for item in row.all("li")] == [
        "kept & whole #1.txt",
        "changed.txt (changed since)",
        "evidence/gone.txt (missing)",
        "../../secret.txt (outside the run's folder)",
        f"{tmp_path}/secret.txt (outside the run's folder)",
        "javascript:alert(1) (missing)",
    ]
    assert [link.attributes["href"] for link in row.all("a")] == [
        "second-node-group/evidence/preflight-kept%20%26%20whole%20%231.txt",
        "second-node-group/evidence/preflight-changed.txt",
    ]


def test_a_torn_last_line_is_told_and_the_rest_is_shown(tmp_path):
    page = draw(tmp_path, migration(killed="drain"), torn='{"t":"2026-11-22T21:33')
    assert "last line is torn" in page.of_class("verdict")[0].text
    assert badges(page.of_class("timeline")[0])[7] == "unfinished"


def test_a_page_can_be_drawn_at_any_moment_of_a_run(tmp_path):
    journal = migration(failed_checks="drain")
    records = journal.records
    for length in range(0, len(records), 11):
        journal.records = records[:length]
        draw(tmp_path, journal)


def test_a_missing_or_empty_journal_still_gives_a_page_that_says_so(tmp_path):
    page = parse(write_report(tmp_path, [tmp_path / "gone" / "journal.jsonl"]).read_text())
    assert "There is no record of a run." in page.of_class("verdict")[0].text
    assert "could not be read" in page.of_class("verdict")[0].text
    assert "There is no record of a run." in draw(tmp_path, SampleJournal()).text
    assert "No journal" in parse(write_report(tmp_path, []).read_text()).text


def test_scenarios_of_one_run_stand_on_one_page_with_a_verdict_each(tmp_path):
    page = draw(
        tmp_path, migration("staging"), migration("production", failed_action="cilium", provider="eks")
    )
    (title,) = page.all("h1")
    assert title.text == "2 scenarios: 1 went through"
    assert badges(page.of_class("scenarios")[0]) == ["passed", "failed"]
    assert [article.attributes["id"] for article in page.all("article")] == ["s1", "s2"]
    assert [part.text.split(".")[0] for part in page.of_class("stage")] == ["A rehearsal", "A real cluster"]


def test_the_page_needs_nothing_but_itself(any_page):
    forbidden = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "input"}
    assert not [element.tag for element in any_page.all() if element.tag in forbidden]
    assert not [name for element in any_page.all() for name in element.attributes if name.startswith("on")]
    (style,) = any_page.all("style")
    assert not re.search(r"url\(|@import|expression", style.exact_text)
    policies = [meta for meta in any_page.all("meta") if meta.attributes.get("http-equiv")]
    assert policies[0].attributes["content"].startswith("default-src 'none'")
    assert not [link for link in any_page.all("a") if "://" in link.attributes["href"]]


def texts() -> st.SearchStrategy[str]:
    hostile = st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "</style></title></pre><h1>passed</h1>",
            "{{ 7 * 7 }}{% raw %}",
            "`<b>`",
            "&lt;b&gt;",
            "]]><!--",
        ]
    )
    return st.lists(st.one_of(hostile, st.text(max_size=20)), min_size=1, max_size=3).map("".join)


def bones(page: Element) -> list[tuple[str, tuple[str, ...]]]:
    """Tags and attribute names: what must not depend on what a journal says."""
    return [(element.tag, tuple(element.attributes)) for element in page.all()]


LONG = " and so on" * 15
"""Makes a value so long that it is set in lines of its own, whatever stands before it."""


def hostile_run(text: str) -> SampleJournal:
    phase = SamplePhase("a-phase", text, "", text, (), (text + " check",))
    journal = SampleJournal()
    journal.start((phase,), title=text, user=text, argv=[text], cluster=text, versions={"x": text})
    journal.phase_started(phase)
    failure = {"outcome": "failed", "message": text, "details": "about " + text}
    with journal.step(phase, "action", text, **failure):
        journal.change(
            ("kind", text, {"a": text + LONG, "b": {"c": text + LONG}}, {"d": text + LONG}),
            "failed",
            error=text,
        )
        journal.add("note", text=text)
        journal.add("measurement", name=text, value=text, unit=text, more=text)
        journal.add("observation", name=text, value=text)
        journal.add("evidence", name=text, path="x", sha256=text, nodeid=nodeid(phase, text))
        journal.add(
            "matrix", phase=phase.name, pods=1, pairs=1, ok=1, classes={"old→new": {"pairs": 1, "ok": 1}}
        )
    journal.add("gate-closed", phase=phase.name, nodeid="", reason=text)
    journal.finish("failed", 1)
    return journal


def test_nothing_in_a_journal_is_ever_markup(tmp_path):
    harmless = bones(draw(tmp_path, hostile_run("x harmless x")))

    @settings(max_examples=30, deadline=None)
    @given(texts())
    def the_page_keeps_its_bones(text: str) -> None:
        assert bones(draw(tmp_path, hostile_run(f"x {text} x"))) == harmless

    the_page_keeps_its_bones()


def test_what_a_journal_says_is_shown_as_it_is(tmp_path):
    page = draw(tmp_path, hostile_run("<b>bold</b> & 'so' on"))
    (title,) = page.all("h1")
    assert title.text == "<b>bold</b> & 'so' on"


def test_no_secret_survives_on_the_page(tmp_path):
    token = "k8s-aws-v1.aHR0cHM6Ly9zdHMuYW1hem9uYXdzLmNvbS8"
    journal = hostile_run(f"401 Unauthorized, Authorization: Bearer {token}")
    journal.add("note", text="--from-literal password=correct-horse-battery")
    journal.add("observation", name="kubeconfig", value={"users": [{"user": {"token": "abcdef123456"}}]})
    journal.change(("kind", "apply Secret", {"kind": "Secret", "data": {"key": "c2VzYW1l"}}, {}))
    page = write_report(tmp_path, [journal.write(tmp_path)]).read_text()
    for secret in (token, "correct-horse-battery", "abcdef123456", "c2VzYW1l"):
        assert secret in (tmp_path / "second-node-group/journal.jsonl").read_text()
        assert secret not in page
    assert "401 Unauthorized" in page


def test_terminal_colours_and_invisible_characters_do_not_reach_the_reader(tmp_path):
    page = draw(tmp_path, hostile_run("\x1b[31mred\x1b[0m pod-\u202etxt.exe \x00 \ud800"))
    (title,) = page.all("h1")
    assert title.text == "red pod-\\u202etxt.exe \\u0000 \\ud800"


def test_a_page_of_five_thousand_tests_is_drawn_in_time_and_stays_small(tmp_path):
    phases = []
    for number in range(10):
        checks = tuple(f"Check {number}.{nth} holds" for nth in range(500))
        phases.append(SamplePhase(f"phase-{number}", f"Phase {number}", "Why: because.", checks=checks))
    journal = SampleJournal()
    journal.start(tuple(phases))
    for phase in phases:
        journal.phase_started(phase)
        for title in phase.checks:
            failure = (
                {"outcome": "failed", "message": "no", "details": "E" * 100_000} if ".77 " in title else {}
            )
            with journal.step(phase, "check", title, **failure):
                pass
        journal.phase_finished(phase)
    journal.finish("failed", 1)
    written = journal.write(tmp_path)
    begun = time.process_time()  # not the clock on the wall: the machine may be busy with other things
    page = write_report(tmp_path, [written])
    assert time.process_time() - begun < 3
    assert page.stat().st_size < 5_000_000
    html = page.read_text()
    assert html.count("data-nodeid=") == 5_000
    assert "characters are left out here; the journal has them" in html


def test_a_page_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    out = tmp_path / "out"
    draw(out, migration())
    before = (out / "index.html").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(out, [out / "second-node-group" / "journal.jsonl"])
    assert (out / "index.html").read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "second-node-group"]


def test_changes_and_notes_from_outside_any_phase_are_shown(tmp_path):
    journal = SampleJournal()
    journal.start()
    journal.add("note", text="the cluster is being made")
    journal.change(CORDON.changes[0])
    page = draw(tmp_path, journal)
    assert "the cluster is being made" in page.of_class("appendix")[0].text
    assert "cordon node ip-10-0-11-17" in page.of_class("changes")[0].text


def test_the_appendix_tells_how_to_repeat_the_run(tmp_path):
    page = draw(tmp_path, migration())
    terms = {div.children[0].text: div.children[1].text for div in page.of_class("appendix")[0].all("div")}
    assert terms["Command"] == "pytest scenarios/second-node-group --cni-cluster sim"
    assert terms["host"] == "bastion-1"
    assert terms["overrides"] == '["new_nodes.size=3"]'
    assert terms["kubernetes"] == "37.0.3"
