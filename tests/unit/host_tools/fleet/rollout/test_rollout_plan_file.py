"""Rollout plans in TOML: what a plan may say, and what is refused, with where and what to do."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollout_world import plan

from host_tools.fleet.records.gates import Gate
from host_tools.fleet.records.rollouts import PARTS_PER_MILLION, RolloutPlan, ScheduleWindow, Stage
from host_tools.fleet.rollout.plan_file import (
    DEFAULT_GATES,
    DEFAULT_STAGES,
    MAX_BYTES,
    PlanError,
    check_plan,
    parse_plan,
    read_plan_file,
)

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'id = "r1"\nrelease = "detector-1.2.0"\ngroup = "lab"\n'
WHOLE = """
schema_version = "1.0"
id = "summer"
release = "detector-1.2.0"
group = "lab"
job_seconds = 1800
absent_seconds = 43200
hold_seconds = 7200
needs_approval = true
rolls_back = false
allow_downgrade = true

[[stage]]
name = "bench"
share = 0
devices = ["lab-1", "lab-2"]
success_ratio = 1.0
error_ratio = 0.5
soak_seconds = 60

[[stage]]
name = "everybody"
share = 1
needs_approval = true

[[gate]]
measure = "latency_p95"
worst = 0.1
confidence = 0.999
least_devices = 2
required = true

[[window]]
days = ["mon", "fri"]
begin = "22:30"
end = "04:00"
"""
ALL = Stage(name="all", share_ppm=PARTS_PER_MILLION)


def parsed(text: str) -> RolloutPlan:
    return parse_plan(text.encode(), where="plan.toml")


def test_three_lines_are_a_plan() -> None:
    found = parsed(HEAD)
    assert (found.stages, found.gates, found.windows) == (DEFAULT_STAGES, DEFAULT_GATES, ())
    assert found == RolloutPlan(
        id="r1", release="detector-1.2.0", group="lab", stages=DEFAULT_STAGES, gates=DEFAULT_GATES
    )
    assert parsed(HEAD + "gate = []\n").gates == ()


def test_everything_that_a_plan_can_say(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(WHOLE, encoding="utf-8")
    assert read_plan_file(path) == RolloutPlan(
        id="summer",
        release="detector-1.2.0",
        group="lab",
        stages=(
            Stage(
                name="bench",
                share_ppm=0,
                devices=("lab-1", "lab-2"),
                success_ratio=1.0,
                error_ratio=0.5,
                soak_seconds=60.0,
            ),
            Stage(name="everybody", share_ppm=PARTS_PER_MILLION, needs_approval=True),
        ),
        gates=(Gate(measure="latency_p95", worst=0.1, confidence=0.999, least_devices=2, required=True),),
        windows=(ScheduleWindow(weekdays=frozenset({0, 4}), begin_seconds=81_000, end_seconds=14_400),),
        job_seconds=1800.0,
        absent_seconds=43_200.0,
        hold_seconds=7_200.0,
        needs_approval=True,
        rolls_back=False,
        allow_downgrade=True,
    )


def test_a_window_without_days_is_every_day() -> None:
    window = parsed(HEAD + '[[window]]\nbegin = "00:00"\nend = "24:00"\n').windows[0]
    assert (window.weekdays, window.end_seconds) == (frozenset(range(7)), 86_400)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id = ", "plan.toml: not TOML"),
        ("[" * 5000, "plan.toml: not TOML"),
        ("", "plan.toml: id is missing"),
        (HEAD + "stages = 3\n", "plan.toml: stages: unknown"),
        (HEAD + 'schema_version = "2.0"\n', "schema_version 2.0 is newer"),
        (HEAD + "rolls_back = 1\n", "rolls_back: expected true or false, got 1"),
        (HEAD + 'job_seconds = "1h"\n', "job_seconds: expected a number"),
        (HEAD + "stage = [3]\n", "stage[0]: expected an object"),
        (HEAD + "[[stage]]\nshare = 1\n", "stage[0].name is missing"),
        (HEAD + '[[stage]]\nname = "a"\nshare = 5\n', "stage[0].share: expected a number from 0 to 1"),
        (HEAD + '[[stage]]\nname = "a"\nshare = 1\nsoak = 5\n', "plan.toml: stage[0]: soak: unknown"),
        (HEAD + '[[gate]]\nmeasure = "speed"\nworst = 1\n', "gate[0].measure: expected one of"),
        (HEAD + '[[gate]]\nmeasure = "crashes"\n', "gate[0].worst is missing"),
        (
            HEAD + '[[window]]\ndays = ["Monday"]\nbegin = "01:00"\nend = "02:00"\n',
            "window[0].days: expected some of mon",
        ),
        (
            HEAD + '[[window]]\nbegin = "1:00"\nend = "02:00"\n',
            'window[0].begin: expected a time like "08:30"',
        ),
        (HEAD + '[[window]]\nbegin = "24:30"\nend = "02:00"\n', "window[0].begin"),
        (HEAD + "#" * MAX_BYTES, "larger than 65536 bytes"),
    ],
)
def test_a_file_that_is_wrong_says_where(text: str, message: str) -> None:
    with pytest.raises(PlanError) as refused:
        parsed(text)
    assert message in str(refused.value)


def test_a_word_that_was_nearly_right_is_suggested() -> None:
    with pytest.raises(PlanError) as refused:
        parsed(HEAD + "job_second = 3\n")
    assert refused.value.hint == "Did you mean 'job_seconds'?"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        read_plan_file(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "a b"}, "id: expected a text like"),
        ({"release": ""}, "release: expected"),
        ({"group": "../x"}, "group: expected"),
        ({"job_seconds": 0.0}, "job_seconds: expected 1 to"),
        ({"absent_seconds": math.inf}, "absent_seconds: expected"),
        ({"hold_seconds": math.nan}, "hold_seconds: expected"),
        ({"stages": ()}, "stage: expected 1 to 16 stages, got 0"),
        (
            {"stages": (dataclasses.replace(ALL, share_ppm=500_000),)},
            "the last stage is the whole group, got 0.5",
        ),
        (
            {
                "stages": (
                    dataclasses.replace(ALL, name="a", share_ppm=500_000),
                    dataclasses.replace(ALL, name="b", share_ppm=400_000),
                    ALL,
                )
            },
            "stage[1].share: expected 0.5 to 1",
        ),
        (
            {"stages": (dataclasses.replace(ALL, name="a"), ALL)},
            "stage[1]: expected a larger share than before, or devices",
        ),
        (
            {"stages": (dataclasses.replace(ALL, name="a", share_ppm=0), ALL)},
            "stage[0]: expected a larger share",
        ),
        (
            {"stages": (dataclasses.replace(ALL, share_ppm=10), ALL)},
            "stage.name: expected each once, got 'all'",
        ),
        ({"stages": (dataclasses.replace(ALL, name=" "),)}, "stage[0].name"),
        ({"stages": (dataclasses.replace(ALL, share_ppm=1_000_001),)}, "stage[0].share"),
        ({"stages": (dataclasses.replace(ALL, success_ratio=0.0),)}, "success_ratio: expected 0.01 to 1"),
        ({"stages": (dataclasses.replace(ALL, error_ratio=1.5),)}, "error_ratio: expected 0.0001 to 1"),
        ({"stages": (dataclasses.replace(ALL, soak_seconds=-1.0),)}, "soak_seconds: expected 0 to"),
        ({"stages": (dataclasses.replace(ALL, devices=("a/b",)),)}, "stage[0].devices: expected ids"),
        ({"stages": (dataclasses.replace(ALL, devices=("a", "a")),)}, "stage.devices: expected each once"),
        (
            {"stages": (dataclasses.replace(ALL, devices=tuple(f"d{one}" for one in range(257))),)},
            "at most 256 named devices, got 257",
        ),
        ({"gates": (Gate(measure="crashes", worst=1.0),) * 2}, "gate.measure: expected each once"),
        ({"gates": (Gate(measure="speed", worst=1.0),)}, "gate[0].measure: expected one of"),  # type: ignore[arg-type]  # what is refused
        ({"gates": (Gate(measure="crashes", worst=0.0),)}, "gate[0].worst"),
        ({"gates": (Gate(measure="throttled_share", worst=2.0),)}, "gate[0].worst: expected 1e-06 to 1"),
        ({"gates": (Gate(measure="crashes", worst=1.0, confidence=1.0),)}, "gate[0].confidence"),
        ({"gates": (Gate(measure="crashes", worst=1.0, least_devices=1),)}, "gate[0].least_devices"),
        (
            {"windows": (ScheduleWindow(weekdays=frozenset(), begin_seconds=0, end_seconds=5),)},
            "window[0].days",
        ),
        (
            {"windows": (ScheduleWindow(weekdays=frozenset({7}), begin_seconds=0, end_seconds=5),)},
            "window[0].days",
        ),
        (
            {"windows": (ScheduleWindow(weekdays=frozenset({1}), begin_seconds=5, end_seconds=5),)},
            "an empty one",
        ),
        (
            {"windows": (ScheduleWindow(weekdays=frozenset({1}), begin_seconds=86_400, end_seconds=5),)},
            "an empty one",
        ),
        (
            {"windows": (ScheduleWindow(weekdays=frozenset({1}), begin_seconds=0, end_seconds=86_401),)},
            "window[0].end",
        ),
        (
            {"windows": (ScheduleWindow(weekdays=frozenset({1}), begin_seconds=0, end_seconds=5),) * 33},
            "at most 32 windows",
        ),
    ],
)
def test_a_plan_that_cannot_work_is_refused_wherever_it_comes_from(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(PlanError) as refused:
        check_plan(plan(**changes))
    assert message in str(refused.value)
    assert str(refused.value).startswith("rollout plan: ")
    assert refused.value.hint


def test_the_defaults_are_a_plan() -> None:
    check_plan(plan(stages=DEFAULT_STAGES, gates=DEFAULT_GATES))


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(PlanError):
        parse_plan(data, where="plan.toml")


@given(st.data())
def test_a_plan_with_any_value_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    lines = [line for line in WHOLE.splitlines() if line]
    place = data.draw(st.integers(0, len(lines) - 1))
    value = data.draw(
        st.sampled_from(["-1", "1e999", '""', "[]", "{}", "true", "nan", "1979-05-27", '"x"', "9" * 400])
    )
    key = lines[place].partition(" = ")[0]
    lines[place] = f"{key} = {value}" if "=" in lines[place] else value
    try:
        check_plan(parsed("\n".join(lines)))
    except PlanError as refused:
        assert "plan.toml" in str(refused)
