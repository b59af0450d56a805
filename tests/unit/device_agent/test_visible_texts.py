"""What others chose, such as names of files, steers no terminal: neither as text nor as JSON, nor from a log."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.contract.document import visible, visible_json
from device_agent.log import JournalLines, JsonLines, TextLines

ANY_LETTER = st.characters(exclude_categories=())
"""Halves of surrogate pairs are among them: names of files that are not UTF-8 have such."""
DOCUMENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(ANY_LETTER),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(ANY_LETTER), inner),
    max_leaves=10,
)
STEERING = "\x1b[31m \x7f \x85 \x9b31m \u2028 \u202e \udc9b"


@given(DOCUMENT, st.sampled_from([None, 1]), st.booleans())
def test_json_keeps_its_meaning_and_steers_nothing(
    document: object, indent: int | None, ascii_only: bool
) -> None:
    text = visible_json(document, indent=indent, ascii_only=ascii_only)
    assert json.loads(text) == json.loads(json.dumps(document))
    assert text.replace("\n", "").isprintable()
    assert text.isascii() or not ascii_only
    text.encode()


def test_letters_that_can_be_read_stay_as_they_are() -> None:
    assert visible_json({"größe": "温度 😀"}) == '{"größe": "温度 😀"}'
    assert visible_json(["\x9b", "\U000e0001"]) == r'["\u009b", "\udb40\udc01"]'


@pytest.mark.parametrize("form", [TextLines(), JsonLines(), JournalLines()], ids=["text", "json", "journal"])
def test_no_line_of_the_log_steers_a_terminal(form: logging.Formatter) -> None:
    record = logging.LogRecord("edgewright", logging.ERROR, __file__, 1, f"{STEERING}: broken", (), None)
    line = form.format(record)
    assert line.isprintable()
    assert line.count("broken") == 1
    assert "\\u202e" in line


def test_every_line_of_a_trace_has_the_journals_priority_and_no_name_makes_another_line() -> None:
    record = logging.LogRecord(
        "edgewright", logging.WARNING, __file__, 1, "one\ntwo \x85\x1c\u2028 still", (), None
    )
    assert JournalLines("%(message)s").format(record) == "<4>one\n<4>two \\x85\\x1c\\u2028 still"


def test_text_keeps_lines_and_tabs() -> None:
    assert visible("a\tb\nc\rd") == "a\tb\nc\\rd"
