"""Numbers, times and texts are written for people."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from pytest_cnimigrate.report.prose import Block, Span, blocks
from pytest_cnimigrate.report.words import clock, count, day, duration, legible, listing, middle_cut, number


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "<0.1 s"),
        (0.44, "0.4 s"),
        (9.949, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.7, "1 h 00 min"),
        (3900, "1 h 05 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_times_are_utc_whatever_zone_they_were_written_in():
    moment = datetime(2026, 11, 23, 1, 5, 9, tzinfo=timezone(timedelta(hours=2)))
    assert (day(moment), clock(moment)) == ("22 November 2026", "23:05:09")


def test_counts_and_numbers():
    assert [count(1, "check"), count(0, "check"), count(2, "entry", "entries")] == [
        "1 check",
        "0 checks",
        "2 entries",
    ]
    assert [number(value) for value in (1024, 31.2400, 0.0, True, "x", [1])] == [
        "1,024",
        "31.24",
        "0",
        "yes",
        "x",
        "[1]",
    ]


def test_listings_end():
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(list("abcdefg"), most=3) == "a, b, c and 4 more"


def test_a_cut_text_keeps_its_head_and_its_tail_and_says_how_much_is_gone():
    text = "head " + "x" * 1000 + " tail"
    cut = middle_cut(text, 100)
    assert cut.startswith("head xxx")
    assert cut.endswith("xxx tail")
    assert "910 characters are left out" in cut
    assert middle_cut(text, 2000) == text


def test_links_and_colours_of_a_terminal_are_taken_away():
    assert legible("\x1b[1;31mno\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\r\nnext") == "no link\nnext"


def test_a_runbook_is_set_in_paragraphs_lists_and_literal_text():
    text = """First line,
    and its second.

    Why: because of `aws-node`.

    Undo:
    1. this,
       at length
    2. **that**

    Run::

        kubectl get nodes
          -o wide
    """
    assert blocks(text) == (
        Block("paragraph", items=((Span("First line, and its second."),),)),
        Block("paragraph", lead="Why:", items=((Span("because of "), Span("aws-node", "code"), Span(".")),)),
        Block("paragraph", lead="Undo:", items=((),)),
        Block("list", items=((Span("this, at length"),), (Span("that", "strong"),)), ordered=True),
        Block("paragraph", lead="Run:", items=((),)),
        Block("literal", literal="kubectl get nodes\n  -o wide"),
    )
