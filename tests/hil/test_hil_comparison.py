"""Two artifacts in turn: the arithmetic, whatever drifts, and the suite with artifacts whose latencies are known."""

from __future__ import annotations

import math
import random
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.comparison import LEAST_ROUNDS, compare
from hil.errors import AgentError
from host_tools.pack.null_artifact import write_null_artifact
from tests.hil.suite_session import run_suites

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)  # what it waits for has limits of its own

seconds = st.floats(1e-6, 10.0)
ROUNDS = LEAST_ROUNDS


@given(base=seconds, ratio=st.floats(0.1, 10.0), drift=st.floats(0.8, 1.25), rounds=st.integers(6, 40))
def test_a_drift_that_is_even_from_round_to_round_cancels(
    base: float, ratio: float, drift: float, rounds: int
) -> None:
    turns = [base * drift**turn * (ratio if turn % 2 else 1.0) for turn in range(2 * rounds + 1)]
    found = compare(turns[0::2], turns[1::2])
    assert (found.ratio, found.low, found.high) == pytest.approx((ratio,) * 3, rel=1e-9)
    assert found.rounds == rounds


@given(of_a=st.lists(seconds, min_size=7, max_size=40), data=st.data(), factor=st.floats(0.01, 100.0))
def test_the_ratio_lies_in_its_interval_and_goes_with_the_figures(
    of_a: list[float], data: st.DataObject, factor: float
) -> None:
    of_b = data.draw(st.lists(seconds, min_size=len(of_a) - 1, max_size=len(of_a) - 1))
    found = compare(of_a, of_b)
    assert found.low <= found.ratio * (1 + 1e-12)
    assert found.ratio <= found.high * (1 + 1e-12)
    longer = compare(of_a, [factor * one for one in of_b])
    assert longer.ratio == pytest.approx(factor * found.ratio)
    again = compare([factor * one for one in of_a], [factor * one for one in of_b])
    assert (again.low, again.high) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize("rounds", [6, 9, 20])
def test_the_interval_holds_the_truth_as_often_as_it_says_and_finds_what_differs(rounds: int) -> None:
    draw, held, found = random.Random(rounds), 0, 0
    runs = 2000

    def spread() -> float:
        return math.exp(draw.gauss(0.0, 0.03) + (0.3 if draw.random() < 0.05 else 0.0))  # a neighbour begins

    for _ in range(runs):
        same = compare([spread() for _ in range(rounds + 1)], [spread() for _ in range(rounds)])
        held += not same.differs
        found += compare(
            [spread() for _ in range(rounds + 1)], [1.5 * spread() for _ in range(rounds)]
        ).differs
    assert held / runs >= 0.93
    assert found / runs >= 0.9


@pytest.mark.parametrize(
    ("of_a", "of_b", "message"),
    [
        ([1.0] * ROUNDS, [1.0] * (ROUNDS - 1), "at least 6 rounds of B, and one more of A: got 5 and 6"),
        ([1.0] * ROUNDS, [1.0] * ROUNDS, "got 6 and 6"),
        ([1.0] * ROUNDS + [0.0], [1.0] * ROUNDS, "figures above 0"),
        ([1.0] * (ROUNDS + 1), [1.0] * (ROUNDS - 1) + [math.nan], "figures above 0"),
        ([1.0] * (ROUNDS + 1), [1.0] * (ROUNDS - 1) + [math.inf], "figures above 0"),
    ],
)
def test_rounds_that_cannot_be_compared_are_refused(
    of_a: list[float], of_b: list[float], message: str
) -> None:
    with pytest.raises(AgentError, match=message):
        compare(of_a, of_b)


def nothing(path: Path, seconds: float, version: str) -> Path:
    write_null_artifact(
        path,
        {"latency_seconds": seconds},
        name="nothing",
        version=version,
        made_with={},
        agent_min_version="0.0.1",
    )
    return path


@pytest.mark.slow
def test_the_suite_tells_a_slower_artifact_on_the_local_rig(tmp_path: Path) -> None:
    quick, slow = nothing(tmp_path / "a.ewa", 0.004, "1.0.0"), nothing(tmp_path / "b.ewa", 0.016, "2.0.0")
    options = (f"--rig-artifact={quick}", f"--rig-against={slow}", "--rig-slower-at-most=100")
    said = run_suites(tmp_path, "test_latency_comparison", rig="local", options=options)
    low, high = (float(re.findall(rf"latency_ratio_{end} = (\S+)", said)[0]) for end in ("low", "high"))
    assert 1.0 < low <= high, "sixteen milliseconds against four: the interval leaves 1 out"
    assert low <= 4.5


def test_without_another_artifact_there_is_nothing_to_compare(tmp_path: Path) -> None:
    said = run_suites(tmp_path, "test_latency_comparison", rig="local", options=("--rig-artifact=null",))
    assert "nothing to compare with: say pytest --rig-against FILE" in said
