"""Mixed precision as a stage: only where it is asked for, or where the user named a goal that all else misses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from host_tools.mixed_precision import Goal
from host_tools.observe.cache import StatisticsCache
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.stages import prepare
from tests.unit.host_tools.mixed_precision.culprits import PER_TENSOR, case, chain, floats_of, useless

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.stages import Prepared

HIGH = Goal(min_sqnr_db=100.0)
PLAIN = Recipe(equalization=False, reconstruction=False)


def prepared(
    folder: Path, recipe: Recipe, goal: Goal | None, *, to: str = "float32", deadline: float | None = None
) -> Prepared:
    one = case(chain(folder, factors={"conv2": useless()}), PER_TENSOR, to=to)  # type: ignore[arg-type]  # a literal
    return prepare(
        one.model,
        one.statistics,
        one.profile,
        recipe,
        one.data,
        one.yardstick,
        threads=1,
        cache=StatisticsCache(folder / "cache"),
        progress=Silent(),
        deadline=deadline,
        goal=goal,
    )


def names(found: Prepared) -> list[str]:
    return [stage.name for stage in found.stages]


def test_a_goal_that_all_others_miss_brings_floats(tmp_path: Path) -> None:
    found = prepared(tmp_path, Recipe(), HIGH)
    assert names(found) == ["ranges", "equalization", "reconstruction", "mixed precision"]
    last = found.stages[-1]
    assert last.is_kept
    assert last.sqnr_db is not None
    assert last.sqnr_db >= 100.0
    assert "4 of 4 operators in float" in last.note
    assert floats_of(found.plan) == list(found.plan.nodes)


@pytest.mark.parametrize("goal", [None, Goal(min_sqnr_db=-100.0)])
def test_no_floats_come_without_a_goal_that_is_missed(tmp_path: Path, goal: Goal | None) -> None:
    found = prepared(tmp_path, PLAIN, goal)
    assert names(found) == ["ranges"]
    assert floats_of(found.plan) == []


def test_no_means_no(tmp_path: Path) -> None:
    recipe = Recipe(equalization=False, reconstruction=False, mixed_precision=False)
    assert names(prepared(tmp_path, recipe, HIGH)) == ["ranges"]


def test_a_method_means_that_method_and_nothing_more(tmp_path: Path) -> None:
    assert names(prepared(tmp_path, Recipe(method="mse"), HIGH)) == ["ranges"]


def test_yes_is_enough(tmp_path: Path) -> None:
    found = prepared(tmp_path, Recipe(method="minmax", mixed_precision=True), None)
    assert names(found) == ["ranges", "mixed precision"]
    assert floats_of(found.plan) == ["conv2", "relu2"]


def test_a_target_that_refuses_floats_is_told_of(tmp_path: Path) -> None:
    found = prepared(tmp_path, PLAIN, HIGH, to="refuse")
    assert names(found) == ["ranges", "mixed precision"]
    assert not found.stages[-1].is_kept
    assert "runs nothing in float" in found.stages[-1].note


def test_without_time_it_is_not_begun(tmp_path: Path) -> None:
    found = prepared(tmp_path, PLAIN, HIGH, deadline=0.0)
    assert found.stages[-1].note == "the time was up"
    assert floats_of(found.plan) == []
