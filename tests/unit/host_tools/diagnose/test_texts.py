"""Small charts, suggestions and shortened names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.diagnose.diagnosis import Diagnosis, FloatRung
from host_tools.diagnose.explanation import shortened
from host_tools.diagnose.remedies import toml_text
from host_tools.diagnose.sparkline import bar, sparkline
from host_tools.diagnose.suggestion import suggestion_of
from host_tools.recipe_file import parse_recipe
from host_tools.verify.samples import SampleErrors


def diagnosis(before: float | None, *rungs: tuple[int, float | None]) -> Diagnosis:
    return Diagnosis(
        model="m",
        model_digest="sha256:0",
        target="t",
        verdict="pass",
        sample_count=4,
        sample_origin="test",
        output_sqnr_db=before,
        layers=(),
        ladder=tuple(
            FloatRung(layers=tuple(f"layer {at}" for at in range(count)), sqnr_db=sqnr)
            for count, sqnr in rungs
        ),
        samples=SampleErrors(
            sample_count=4, class_samples=0, changed_count=0, worst=(), changed=(), swaps=()
        ),
        notes=(),
    )


@given(st.lists(st.floats(-1e6, 1e6), max_size=200), st.integers(1, 80))
def test_a_sparkline_is_as_wide_as_it_may_be(values: list[float], width: int) -> None:
    assert len(sparkline(values, width=width, join=max)) == min(width, len(values))


def test_neighbours_are_joined_and_the_highest_is_full() -> None:
    assert sparkline([0.0, 1.0, 0.0, 7.0], width=2, join=max) == "▂█"
    assert sparkline([0.0, 0.0], width=5, join=max) == "▁▁"


@given(st.floats(-10.0, 1e3), st.floats(0.0, 1e3))
def test_a_bar_is_never_longer_than_it_may_be(value: float, highest: float) -> None:
    assert len(bar(value, highest, width=20)) <= 20


def test_a_bar_has_eighths() -> None:
    assert bar(1.0, 2.0, width=4) == "██"
    assert bar(1.0, 32.0, width=4) == "▏"


@given(st.text(), st.integers(3, 40))
def test_a_shortened_name_fits_and_keeps_both_ends(name: str, width: int) -> None:
    short = shortened(name, width)
    assert len(short) <= width
    assert short[:1] == name[:1]
    assert short[-1:] == name[-1:]


def test_layers_are_kept_in_float_as_long_as_each_buys_something() -> None:
    found = suggestion_of(diagnosis(10.0, (1, 13.0), (2, 15.0), (3, 15.1), (4, 20.0)))
    recipe = parse_recipe(found.recipe.encode(), where="suggestion")
    assert recipe.keep_float.nodes == {"layer 0", "layer 1"}
    assert "10.0 dB → 15.0 dB" in found.text


def test_an_exact_rung_is_worth_it() -> None:
    assert "→ exact" in suggestion_of(diagnosis(10.0, (1, None))).text


@pytest.mark.parametrize(
    ("before", "expected"), [(None, "Nothing"), (45.0, "Nothing"), (12.0, "No layer stands out")]
)
def test_where_nothing_helps_it_says_so(before: float | None, expected: str) -> None:
    found = suggestion_of(diagnosis(before))
    assert found.text.startswith(expected)
    assert not found.recipe


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_names_survive_toml(name: str) -> None:
    text = f"[keep_float]\nnodes = [{toml_text(name)}]"
    assert parse_recipe(text.encode(), where="test").keep_float.nodes == {name}
