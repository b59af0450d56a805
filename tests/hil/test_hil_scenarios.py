"""Scenarios: the parser and the schedule."""

from __future__ import annotations

import json
import re
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.board import parse_board
from hil.errors import BoardError, ScenarioError
from hil.protocols import FEATURES
from hil.rigs.labgrid import LabgridHost
from hil.rigs.ssh import SshHost
from hil.scenario.parse import parse_scenario
from hil.scenario.scenario import (
    FAULT_KINDS,
    BatteryPoint,
    Fault,
    Load,
    RailPoint,
    Scenario,
    TemperaturePoint,
)
from hil.scenario.schedule import CHARGE_STEP_SECONDS, TEMPERATURE_STEP_SECONDS, schedule
from hil.table import read_table

HEAD = '[scenario]\nname = "x"\nduration_seconds = 10\n'

times = st.floats(0.0, 100.0)
faults = st.builds(
    Fault,
    kind=st.sampled_from(FAULT_KINDS),
    at_seconds=times,
    for_seconds=st.floats(0.05, 20.0),
    jitter_seconds=st.floats(0.0, 5.0),
    repeat=st.integers(1, 4),
    every_seconds=st.floats(30.0, 60.0),
)
scenarios = st.builds(
    Scenario,
    name=st.just("drawn"),
    seed=st.integers(0, 2**63 - 1),
    duration_seconds=st.just(1000.0),
    faults=st.lists(faults, max_size=6).map(tuple),
    loads=st.lists(
        st.builds(Load, at_seconds=times, for_seconds=st.floats(0.05, 9.0), processes=st.integers(1, 9)),
        max_size=3,
    ).map(tuple),
    temperatures=st.lists(times, unique=True, max_size=6).flatmap(
        lambda found: st.tuples(
            *(
                st.builds(TemperaturePoint, at_seconds=st.just(at), celsius=st.floats(-40, 200))
                for at in sorted(found)
            )
        )
    ),
)


@given(scenario=scenarios, other=st.integers(0, 2**63 - 1))
def test_schedules_are_the_same_from_the_same_seed_in_order_and_undo_what_they_do(
    scenario: Scenario, other: int
) -> None:
    actions = schedule(scenario)
    assert actions == schedule(scenario) == schedule(scenario, scenario.seed)
    moments = [action.at_seconds for action in actions]
    assert moments == sorted(moments)
    for kind in FAULT_KINDS:
        begun = sorted(one.at_seconds for one in actions if (one.verb, one.kind) == ("fault", kind))
        undone = sorted(one.at_seconds for one in actions if (one.verb, one.kind) == ("undo", kind))
        assert len(begun) == len(undone)
        assert all(end > begin for begin, end in zip(begun, undone, strict=True))
    assert (
        sum(
            one.value if one.verb == "load" else -one.value
            for one in actions
            if one.verb in ("load", "unload")
        )
        == 0.0
    )
    again = schedule(scenario, other)
    if not any(fault.jitter_seconds for fault in scenario.faults):
        assert again == actions, "what is not drawn does not depend on the seed"
    assert [one for one in again if one.verb == "temperature"] == [
        one for one in actions if one.verb == "temperature"
    ]


@given(scenario=scenarios)
def test_jitter_only_delays_and_by_no_more_than_it_says(scenario: Scenario) -> None:
    planned = sorted(
        (fault.kind, fault.at_seconds + number * fault.every_seconds, fault.jitter_seconds)
        for fault in scenario.faults
        for number in range(fault.repeat)
    )
    drawn: dict[str, list[float]] = {}
    for action in schedule(scenario):
        if action.verb == "fault":
            drawn.setdefault(action.kind, []).append(action.at_seconds)
    for kind, moments in drawn.items():
        windows = [(at, at + jitter) for one, at, jitter in planned if one == kind]
        assert len(windows) == len(moments)
        for moment in moments:
            assert any(low <= moment <= high for low, high in windows)


@given(scenario=scenarios)
def test_temperatures_go_evenly_from_point_to_point_and_reach_each(scenario: Scenario) -> None:
    moved = [one for one in schedule(scenario) if one.verb == "temperature"]
    told = {one.at_seconds: one.value for one in moved}
    for point in scenario.temperatures:
        assert told[point.at_seconds] == pytest.approx(point.celsius)
    for one, after in zip(scenario.temperatures, scenario.temperatures[1:], strict=False):
        between = [at for at in told if one.at_seconds <= at <= after.at_seconds]
        gaps = [late - early for early, late in zip(sorted(between), sorted(between)[1:], strict=False)]
        assert max(gaps) <= 1.5 * TEMPERATURE_STEP_SECONDS + 1e-9
        values = [told[at] for at in sorted(between)]
        assert values in (sorted(values), sorted(values, reverse=True))


@given(
    points=st.lists(
        st.tuples(times, st.floats(0, 1), st.floats(-10_000, 10_000)),
        max_size=6,
        unique_by=lambda one: one[0],
    )
)
def test_a_battery_goes_evenly_from_point_to_point_and_its_power_is_that_of_the_point_before(
    points: list[tuple[float, float, float]],
) -> None:
    told = tuple(
        BatteryPoint(at_seconds=at, charge_ratio=charge, watts=watts) for at, charge, watts in sorted(points)
    )
    rails = tuple(RailPoint(name="A", at_seconds=one.at_seconds, watts=abs(one.watts)) for one in told)
    scenario = Scenario(name="drawn", seed=0, duration_seconds=100.0, batteries=told, rails=rails)
    actions = schedule(scenario)
    moved = [one for one in actions if one.verb == "battery"]
    assert [(one.at_seconds, one.value, one.rail) for one in actions if one.verb == "rail"] == [
        (one.at_seconds, one.watts, one.name) for one in rails
    ]
    assert ("battery" in scenario.needs, "rails" in scenario.needs) == (bool(told), bool(told))
    at = {one.at_seconds: one for one in moved}
    for point, after in zip_longest(told, told[1:]):
        assert at[point.at_seconds].value == pytest.approx(point.charge_ratio)
        end = float("inf") if after is None else after.at_seconds
        between = [one for one in moved if point.at_seconds <= one.at_seconds < end]
        assert all(one.watts == point.watts for one in between)
        values = [one.value for one in between]
        assert values in (sorted(values), sorted(values, reverse=True))
        gaps = [late.at_seconds - early.at_seconds for early, late in pairwise(between)]
        assert max(gaps, default=0.0) <= 1.5 * CHARGE_STEP_SECONDS + 1e-9


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_scenario_or_refused_by_name(data: bytes) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(data, origin="fuzz.toml")
    assert str(caught.value).startswith("fuzz.toml: ")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=True)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return "0" if value is None else repr(value)


@given(
    document=st.dictionaries(
        st.sampled_from(
            ["temperature", "power", "rail", "battery", "fault", "load", "agent", "expect", "odd"]
        ),
        values
        | st.lists(
            st.dictionaries(
                st.sampled_from(
                    [
                        "kind",
                        "at_seconds",
                        "for_seconds",
                        "celsius",
                        "repeat",
                        "name",
                        "watts",
                        "charge_ratio",
                    ]
                ),
                values,
                max_size=4,
            ),
            max_size=2,
        ),
        max_size=3,
    )
)
def test_any_document_is_a_scenario_that_can_be_played_or_refused_by_name(document: dict[str, Any]) -> None:
    text = "".join(f"{key} = {toml(value)}\n" for key, value in document.items()) + HEAD
    try:
        scenario = parse_scenario(text.encode(), origin="fuzz.toml")
    except ScenarioError as error:
        assert str(error).startswith("fuzz.toml: ")
        return
    assert all(action.at_seconds <= scenario.duration_seconds for action in schedule(scenario))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "scenario.name: is missing"),
        ('[scenario]\nname = "x"\n', "scenario.duration_seconds: is missing"),
        ('[scenario]\nname = "x"\nduration_seconds = 0', "expected 0.1 to 604800"),
        ('[scenario]\nname = "x"\nduration_seconds = 1\nseed = -1', "scenario.seed: expected 0 to"),
        (HEAD + "[[fault]]\nat_seconds = 1", r"fault\[0\].kind: is missing"),
        (HEAD + '[[fault]]\nkind = "power_cuts"\nat_seconds = 1', "Did you mean 'power_cut'"),
        (HEAD + '[[fault]]\nkind = "power_cut"\nat_seconds = 9.5', r"fault\[0\]: ends at 10.5 s, after"),
        (
            HEAD + '[[fault]]\nkind = "power_cut"\nat_seconds = 1\nrepeat = 2',
            r"fault\[0\]: begins at 1 s, when fault\[0\] may last until 2 s",
        ),
        (
            HEAD
            + '[[fault]]\nkind = "network_cut"\nat_seconds = 1\n[[fault]]\nkind = "broker_killed"\nat_seconds = 1.5',
            "must not overlap",
        ),
        (
            HEAD
            + '[[fault]]\nkind = "network_cut"\nat_seconds = 1\njitter_seconds = 2\n[[fault]]\nkind = "network_slow"\nat_seconds = 3',
            "jitter included",
        ),
        (
            HEAD
            + "[[temperature]]\nat_seconds = 2\ncelsius = 1\n[[temperature]]\nat_seconds = 2\ncelsius = 3",
            "by rising at_seconds",
        ),
        (
            HEAD
            + '[[rail]]\nname = "A"\nat_seconds = 2\nwatts = 1\n[[rail]]\nname = "B"\nat_seconds = 1\nwatts = 1\n'
            + '[[rail]]\nname = "A"\nat_seconds = 2\nwatts = 3',
            "rail 'A': expected points by rising at_seconds",
        ),
        (
            HEAD + '[[rail]]\nname = "VDD_NC"\nat_seconds = 2\nwatts = 1',
            r"rail\[0\].name: expected a rail's label .* without 'NC', got 'VDD_NC'",
        ),
        (HEAD + "[[rail]]\nat_seconds = 2\nwatts = 1", r"rail\[0\].name: is missing"),
        (HEAD + '[[rail]]\nname = "A"\nat_seconds = 11\nwatts = 1', r"rail\[0\]: ends at 11 s, after"),
        (
            HEAD + "[[battery]]\nat_seconds = 2\ncharge_ratio = 52",
            r"battery\[0\].charge_ratio: expected 0 to 1",
        ),
        (HEAD + "[[battery]]\nat_seconds = 11\ncharge_ratio = 0.5", r"battery\[0\]: ends at 11 s, after"),
        (
            HEAD
            + "[[battery]]\nat_seconds = 2\ncharge_ratio = 0.5\n[[battery]]\nat_seconds = 1\ncharge_ratio = 0.5",
            "battery: expected points by rising",
        ),
        (
            HEAD + "[[temperature]]\nat_seconds = 2\ncelsius = 300",
            r"temperature\[0\].celsius: expected -40 to 200",
        ),
        (HEAD + "[[load]]\nat_seconds = 2\nprocesses = 0", "expected 1 to 256"),
        (HEAD + "[temperature]\nat_seconds = 2", r"expected tables \[\[temperature\]\]"),
        (HEAD + '[agent.mqtt]\nhost = "x"', "agent.mqtt.host: the rig says this"),
        (HEAD + '[agent.device]\nid = "x"', "agent.device.id: the rig says this"),
        (HEAD + "[agent.source]\nkind = 1979-01-01", "expected a text, a number or a list"),
        (HEAD + "[agent.source]\nrate_hz = nan", "agent.source.rate_hz: expected a finite number, got nan"),
        (HEAD + '[agent."x\\ny"]\nz = 1', "expected a name as agent.toml has them"),
        (HEAD + '[agent.source]\n"" = 1', "expected a name as agent.toml has them"),
        (HEAD + "agent = 3", "unknown"),
        (HEAD + "[expct]", "Did you mean 'expect'"),
        (HEAD + "[expect]\nevents = [1]", "expected a list of texts"),
        ("agent = 3\n" + HEAD, "expected tables"),
        (
            HEAD
            + '[[fault]]\nkind = "power_cut"\nat_seconds = 2\nfor_seconds = 1\n[[fault]]\nkind = "disk_full"\nat_seconds = 2.5',
            r"fault\[1\]: begins at 2.5 s, when fault\[0\] may last until 3 s",
        ),
        ("load = [" + "{at_seconds = 1}," * 1001 + "]\n" + HEAD, "at most 1000 entries"),
        (
            HEAD + '[[fault]]\nkind = "power_cut"\nat_seconds = 2\ndelay_seconds = 3',
            r"fault\[0\].delay_seconds: power_cut has no such key.* It is of network_slow, packets_late",
        ),
        (
            HEAD + '[expect]\nevents = ["a", "b"]\nforbidden_events = ["b"]',
            "expect.events: 'b' is among forbidden_events too",
        ),
        (HEAD + "seed = " + "9" * 5000, "no TOML: "),
        (HEAD + "seed = 0x" + "f" * 9000, "expected integers of at most 64 bits"),
        (HEAD + "[agent.source]\nrate_hz = [[0x" + "f" * 9000 + "]]", "expected integers of at most 64 bits"),
    ],
)
def test_a_wrong_scenario_names_its_key(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse_scenario(text.encode(), origin="s.toml")


def test_a_scenario_may_be_as_full_as_its_tables_allow() -> None:
    points = range(1000)
    text = '[scenario]\nname = "a week"\nduration_seconds = 604800.0\n'
    for table, value in (("temperature", "celsius"), ("power", "watts"), ("battery", "charge_ratio")):
        text += "".join(
            f"\n# the hottest sensor, every point of it to half a degree\n[[{table}]]\nat_seconds = {600 * at}.125\n{value} = 0.125\n"
            for at in points
        )
    scenario = parse_scenario(text.encode(), origin="s.toml")
    assert len(scenario.temperatures) == len(scenario.powers) == len(scenario.batteries) == 1000
    with pytest.raises(ScenarioError, match="expected at most 1048576 bytes"):
        parse_scenario(b"#" * (1 << 20) + text.encode(), origin="s.toml")


def test_the_board_and_the_scenario_in_the_document_are_valid() -> None:
    text = (Path(__file__).parents[2] / "docs" / "hil.md").read_text(encoding="utf-8")
    board, of_laboratory, of_own_kind, scenario = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    parsed = parse_board(board.encode(), name="pi", origin="docs/hil.md")
    host = read_table(SshHost, parsed.resource, where="docs/hil.md: resource", error=BoardError)
    assert host.power_off[0] == "uhubctl"
    parsed = parse_board(of_laboratory.encode(), name="lab", origin="docs/hil.md")
    place = read_table(LabgridHost, parsed.resource, where="docs/hil.md: resource", error=BoardError)
    assert (place.filter, place.has_power) == (("board=pi5",), True)
    parsed = parse_board(of_own_kind.encode(), name="desk", origin="docs/hil.md")
    assert parsed.section.kind == "line_rig:open_rig"
    played = parse_scenario(scenario.encode(), origin="docs/hil.md")
    assert played.needs == ("battery", "meter", "network", "power", "rails", "thermal")
    assert all(f"`{kind}`" in text for kind in FAULT_KINDS)
    assert all(feature in text for feature in FEATURES)
    suites = {path.stem for path in (Path(__file__).parents[2] / "hil" / "suites").glob("test_*.py")}
    assert suites == set(re.findall(r"^\| `(test_\w+)` \|", text, re.MULTILINE))
