"""Texts in CSV that a spreadsheet would run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.spreadsheet_text import as_spreadsheet_text, from_spreadsheet_text


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@sum(A1)", "\t=1", "\r=1", "="])
def test_a_formula_becomes_a_text(formula: str) -> None:
    assert as_spreadsheet_text(formula) == f"'{formula}"


@pytest.mark.parametrize("text", ["", "up", "a=b", "1-2", "'quoted'", " =1"])
def test_what_is_none_stays(text: str) -> None:
    assert as_spreadsheet_text(text) == from_spreadsheet_text(text) == text


@given(st.text())
def test_no_text_stays_a_formula_and_every_text_comes_back(text: str) -> None:
    cell = as_spreadsheet_text(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    if not text.startswith("'"):
        assert from_spreadsheet_text(cell) == text
