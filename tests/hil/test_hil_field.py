"""A device's telemetry becomes a scenario again: generated from a known one, through a real store, within what is promised."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from hil.errors import FieldError
from hil.field.curves import CELSIUS_WITHIN
from hil.field.outages import HELD_SECONDS
from hil.field.record import MOST_EVENTS, FieldRecord, Samples, read_record
from hil.field.recover import Recovered, recover
from hil.field.supplies import CHARGE_WITHIN
from hil.field.write import encode_scenario
from hil.scenario.parse import parse_scenario
from hil.scenario.scenario import (
    MAX_ENTRIES,
    BatteryPoint,
    Fault,
    FaultKind,
    Load,
    PowerPoint,
    RailPoint,
    Scenario,
    TemperaturePoint,
)
from hil.scenario.schedule import schedule
from host_tools.cli.main import main
from host_tools.review.store.message_table import MessageTable
from host_tools.review.store.opening import open_store
from host_tools.review.store.windows import Device, StoredEvent
from tests.hil.told_from_a_scenario import (
    CORES,
    DEVICE,
    battery_watts_at,
    celsius_at,
    charge_at,
    messages,
    rail_watts_at,
    watts_at,
)
from tests.integration.support import null_artifact
from tests.unit.host_tools.review.store.stored_messages import EPOCH, Said, batch_of, event, stamp

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)  # an agent is started, and waited for, on whatever machine this is

INTERVAL, RATE_HZ = 5.0, 12.0
KNOWN = Scenario(
    name="known",
    seed=0,
    duration_seconds=1800.0,
    temperatures=(
        TemperaturePoint(at_seconds=0.0, celsius=45.0),
        TemperaturePoint(at_seconds=600.0, celsius=82.0),
        TemperaturePoint(at_seconds=900.0, celsius=82.0),
        TemperaturePoint(at_seconds=1500.0, celsius=50.0),
    ),
    powers=(
        PowerPoint(at_seconds=0.0, watts=3.0),
        PowerPoint(at_seconds=600.0, watts=6.5),
        PowerPoint(at_seconds=1200.0, watts=4.0),
    ),
    rails=(
        RailPoint(name="VDD_CPU", at_seconds=0.0, watts=0.8),
        RailPoint(name="VDD_CPU", at_seconds=600.0, watts=2.75),
        RailPoint(name="VDD_CPU", at_seconds=1200.0, watts=1.0),
        RailPoint(name="VDD_DRAM", at_seconds=0.0, watts=0.4),
    ),
    batteries=(
        BatteryPoint(at_seconds=0.0, charge_ratio=0.9, watts=-6.5),
        BatteryPoint(at_seconds=1000.0, charge_ratio=0.3, watts=-12.0),
        BatteryPoint(at_seconds=1400.0, charge_ratio=0.1, watts=20.0),
        BatteryPoint(at_seconds=1800.0, charge_ratio=0.4, watts=20.0),
    ),
    faults=(
        Fault(kind="network_cut", at_seconds=101.0, for_seconds=61.0),
        Fault(kind="power_cut", at_seconds=402.0, for_seconds=45.0),
        Fault(kind="throttled", at_seconds=652.0, for_seconds=201.0),
        Fault(kind="network_cut", at_seconds=1003.0, for_seconds=120.0),
        Fault(kind="power_cut", at_seconds=1052.0, for_seconds=20.0),
        Fault(kind="sensor_gone", at_seconds=1302.0, for_seconds=61.0),
        Fault(kind="network_silent", at_seconds=1601.0, for_seconds=70.0),
    ),
    loads=(Load(at_seconds=203.0, for_seconds=150.0, processes=2), Load(at_seconds=1402.0, for_seconds=99.0, processes=3)),
)  # fmt: skip


def stored(path: Path, told: list[Said]) -> Path:
    store = open_store(path)
    try:
        store.write(batch_of(told))
    finally:
        store.close()
    return path


def recovered_from(path: Path, *, end: float, cores: int | None = CORES) -> tuple[FieldRecord, Recovered]:
    store = open_store(path, read_only=True)
    try:
        record = read_record(store, DEVICE, EPOCH, EPOCH + end)
    finally:
        store.close()
    return record, recover(record, cores=cores)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FieldRecord, Recovered]:
    path = tmp_path_factory.mktemp("field") / "telemetry.duckdb"
    stored(path, messages(KNOWN, interval=INTERVAL, rate_hz=RATE_HZ))
    return path, *recovered_from(path, end=KNOWN.duration_seconds)


def of_kind(scenario: Scenario, kind: FaultKind) -> list[tuple[float, float]]:
    return [(one.at_seconds, one.at_seconds + one.for_seconds) for one in scenario.faults if one.kind == kind]


@pytest.mark.parametrize(
    ("kind", "begin_within", "end_within"),
    [
        ("power_cut", INTERVAL, 0.01),
        ("network_cut", INTERVAL, HELD_SECONDS),
        ("network_silent", INTERVAL, HELD_SECONDS),
        ("throttled", INTERVAL, INTERVAL),
        ("sensor_gone", 0.01, 0.01),
    ],
)
def test_faults_are_recovered_when_they_were(
    field: tuple[Path, FieldRecord, Recovered], kind: FaultKind, begin_within: float, end_within: float
) -> None:
    expected, found = of_kind(KNOWN, kind), of_kind(field[2].scenario, kind)
    assert len(found) == len(expected), f"{found} for {expected}; left out: {field[2].left_out}"
    for (begin, end), (found_begin, found_end) in zip(expected, found, strict=True):
        assert found_begin == pytest.approx(begin, abs=begin_within)
        assert found_end == pytest.approx(end, abs=end_within)


def test_temperature_power_load_and_rate_are_recovered(field: tuple[Path, FieldRecord, Recovered]) -> None:
    _, record, recovered = field
    scenario = recovered.scenario
    assert 4 <= len(scenario.temperatures) <= 20, "few points stand for 340 samples"
    for time in np.round(record.celsius.times - EPOCH, 3).tolist():
        assert celsius_at(scenario, time) == pytest.approx(celsius_at(KNOWN, time), abs=CELSIUS_WITHIN + 0.01)
    assert len(scenario.powers) == len(KNOWN.powers)
    for time in np.round(record.watts.times - EPOCH, 3).tolist():
        assert watts_at(scenario, time) == pytest.approx(watts_at(KNOWN, time), abs=0.14)
    assert [one.processes for one in scenario.loads] == [2, 3]
    for one, known in zip(scenario.loads, KNOWN.loads, strict=True):
        assert one.at_seconds == pytest.approx(known.at_seconds, abs=INTERVAL)
        assert one.for_seconds == pytest.approx(known.for_seconds, abs=2 * INTERVAL)
    assert scenario.agent["source"]["rate_hz"] == pytest.approx(RATE_HZ, rel=0.02)
    assert scenario.agent["telemetry"]["interval_seconds"] == INTERVAL
    assert scenario.duration_seconds == KNOWN.duration_seconds


def test_rails_and_the_battery_are_recovered(field: tuple[Path, FieldRecord, Recovered]) -> None:
    _, record, recovered = field
    scenario = recovered.scenario
    assert len(scenario.rails) == len(KNOWN.rails), "a step each"
    assert set(record.rails) == {"VDD_CPU", "VDD_DRAM"}
    for name, samples in record.rails.items():
        for time in np.round(samples.times - EPOCH, 3).tolist():
            expected = rail_watts_at(KNOWN, name, time)
            assert rail_watts_at(scenario, name, time) == pytest.approx(expected, abs=0.11)
    assert 4 <= len(scenario.batteries) <= 20, "few points stand for 340 samples"
    for time in np.round(record.charge.times - EPOCH, 3).tolist():
        # Told in whole percents.
        expected = charge_at(KNOWN, time)
        assert charge_at(scenario, time) == pytest.approx(expected, abs=CHARGE_WITHIN + 0.0051)
        expected = battery_watts_at(KNOWN, time)
        assert battery_watts_at(scenario, time) == pytest.approx(expected, abs=0.41)
    assert "rails" in scenario.needs
    assert "battery" in scenario.needs


def test_a_rail_of_a_name_that_no_bench_has_is_left_out_and_said() -> None:
    record = bare_record(10)
    steps = np.tile([0.0, 20_000.0], 5)
    odd = replace(
        record,
        rails={
            "VDD NC": replace(record.celsius, values=steps),
            "VDD_CPU": replace(record.celsius, values=steps),
        },
        charge=replace(record.celsius, values=np.full(10, 1.5)),
    )
    recovered = recover(odd)
    said = "\n".join(recovered.left_out)
    assert "Rail VDD NC: a scenario has no rail of that name" in said
    assert "Rail VDD_CPU: below 0 or above 10000 W" in said
    assert "Power of the battery: there are no samples of it, and it is played as 0" in said
    assert {one.name for one in recovered.scenario.rails} == {"VDD_CPU"}
    assert {one.charge_ratio for one in recovered.scenario.batteries} == {1.0}
    assert {one.watts for one in recovered.scenario.batteries} == {0.0}


@pytest.mark.parametrize("seed", range(3))
def test_a_battery_that_is_never_the_same_becomes_no_more_points_than_a_scenario_has(seed: int) -> None:
    chance = np.random.default_rng(seed)
    record = bare_record(3)
    times = EPOCH + np.linspace(0.0, 19.9, 4000)
    shaken = Samples(times=times, values=chance.uniform(0.0, 1.0, 4000))
    power = Samples(times=times, values=chance.uniform(-9000.0, 9000.0, 4000))
    rails = {f"R{number}": Samples(times=times, values=np.abs(power.values)) for number in range(7)}
    scenario = recover(replace(record, charge=shaken, battery_watts=power, rails=rails)).scenario
    assert 2 <= len(scenario.batteries) <= MAX_ENTRIES
    assert 7 <= len(scenario.rails) <= MAX_ENTRIES
    assert (
        parse_scenario(
            encode_scenario(recover(replace(record, charge=shaken, battery_watts=power, rails=rails))),
            origin="x",
        )
        == scenario
    )


def test_what_is_written_is_the_same_scenario_and_says_where_it_came_from(
    field: tuple[Path, FieldRecord, Recovered],
) -> None:
    recovered = field[2]
    data = encode_scenario(recovered)
    read = parse_scenario(data, origin="field.toml")
    assert read == recovered.scenario
    assert schedule(read) == schedule(recovered.scenario)
    text = data.decode()
    assert text.count("# The agent was off until it began anew at 2023-11-14T22:20:") == 1
    assert (
        "the device said at 2023-11-14T22:16:02.050: reconnected: the connection had been lost: timed out"
        in text
    )
    assert "from before and after a start of the agent" in text
    assert "# The hottest sensor: " in text
    assert "# Power rails: 4 steps for " in text
    assert "# The battery: " in text
    assert "# Beside the agent 2 of 4 processors were busy." in text
    assert not recovered.left_out, "what was under way in a power cut is no outage"


def test_an_ingest_that_was_away_is_no_fault_of_the_device(tmp_path: Path) -> None:
    quiet = replace(KNOWN, faults=(), loads=())
    told = messages(quiet, interval=INTERVAL, rate_hz=RATE_HZ)
    told = [
        replace(one, envelope=one.envelope | {"received": max(one.envelope["received"], EPOCH + 900.0)})
        if one.envelope["time"] >= EPOCH + 700.0
        else one
        for one in told
    ]
    told.append(
        event(
            stamp(DEVICE, "boot-0", 9999, 1060.0, made=EPOCH + 1000.0) | {"artifact": None},
            "model_failed", "It\nfell.",
        )
    )  # fmt: skip
    graver = replace(told[-1], rows=({**told[-1].rows[0], "severity": "error"},))
    _, recovered = recovered_from(stored(tmp_path / "t.duckdb", [*told[:-1], graver]), end=1800.0, cores=None)
    assert recovered.scenario.faults == ()
    said = "\n".join(recovered.left_out)
    assert "and nothing had waited in the device: what listens behind the broker was away" in said
    assert "Event model_failed, 1 times" in said
    assert "how many there are the store does not keep: --cores N" in said


def test_a_device_that_was_heard_for_a_part_of_the_time_only(tmp_path: Path) -> None:
    short = replace(KNOWN, duration_seconds=200.0, faults=(), loads=())
    path = stored(tmp_path / "t.duckdb", messages(short, interval=INTERVAL, rate_hz=RATE_HZ))
    store = open_store(path, read_only=True)
    record = read_record(store, DEVICE, EPOCH - 600.0, EPOCH + 900.0)
    store.close()
    recovered = recover(record)
    assert recovered.scenario.duration_seconds == pytest.approx(260.0, abs=2 * INTERVAL)
    assert "nothing was heard: the scenario begins there" in recovered.left_out[0]
    assert "nothing was heard: the scenario ends there" in recovered.left_out[1]


def command(path: Path, *more: str, device: str = DEVICE, begin: str = f"{EPOCH:.0f}", end: str = f"{EPOCH + 1800:.0f}") -> list[str]:  # fmt: skip
    return ["hil", "scenario", "from-field", f"--store={path}", f"--device={device}", f"--from={begin}", f"--to={end}", *more]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device": "lab-8"}, "device 'lab-8': the store has none of that name. Did you mean 'lab-7'?"),
        ({"device": "zzz"}, "It has 1 devices."),
        ({"begin": "2023-11-15T13:00", "end": "2023-11-15T14:00"}, "the store has no messages of that time. It was heard from"),
        ({"end": f"{EPOCH - 1:.0f}"}, "--to: expected a time after --from, got -1 s after it"),
        ({"end": f"{EPOCH + 8 * 86_400:.0f}"}, "are 8.0 days, expected at most 7. Choose the hours around the failure."),
        ({"begin": f"{EPOCH + 4.9}", "end": f"{EPOCH + 5.5}"}, "was heard for 0.6 s of that time"),
    ],
)  # fmt: skip
def test_what_cannot_become_a_scenario_is_refused(
    field: tuple[Path, FieldRecord, Recovered],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    says: str,
) -> None:
    assert main(command(field[0], **changes)) == 2  # type: ignore[arg-type]
    assert says in capsys.readouterr().err


def test_the_command_prints_or_writes_it(
    field: tuple[Path, FieldRecord, Recovered], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(field[0], "--cores=4", begin="2023-11-14T22:13:20Z")) == 0
    printed = capsys.readouterr().out
    assert parse_scenario(printed.encode(), origin="printed") == field[2].scenario
    out = tmp_path / "field.toml"
    assert main(command(field[0], "--cores=4", f"--out={out}")) == 0
    assert "field.toml: 1800 s, 7 faults" in capsys.readouterr().out
    assert out.read_text() == printed
    assert main(["hil", "scenario", "show", str(out), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(schedule(field[2].scenario))
    assert main(command(field[0], f"--out={tmp_path / 'no' / 'where.toml'}")) == 7
    assert "where.toml: cannot be written" in capsys.readouterr().err
    assert main(command(tmp_path / "none.duckdb")) == 7
    assert "there is no such file" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(command(field[0], begin="yesterday"))
    assert "expected a time such as 2026-11-27T06:00, got 'yesterday'" in capsys.readouterr().err


def bare_record(runs: int, events: tuple[StoredEvent, ...] = ()) -> FieldRecord:
    """Runs of one message each, ten seconds from one to the next, a second after their starts."""
    moments = EPOCH + 10.0 * np.arange(runs)
    nothing = Samples(times=np.zeros(0), values=np.zeros(0))
    return FieldRecord(
        device=Device(
            device=DEVICE, first_received=0.0, last_received=0.0, status="up", reason="", artifact=None, labels=(),
            clock_note="It was an hour behind", missing=0,
        ),
        start=EPOCH,
        end=float(moments[-1]),
        messages=MessageTable(
            run=np.arange(runs), seq=np.ones(runs, dtype=np.int64), moment=moments, time=moments, received=moments,
            uptime_seconds=np.full(runs, 1.0), window_seconds=np.full(runs, np.nan), frames_total=np.full(runs, -1),
        ),
        rails={}, charge=nothing, battery_watts=nothing,
        celsius=Samples(times=moments, values=np.full(runs, 250.0)), watts=Samples(times=moments, values=np.full(runs, -1.0)),
        throttled=nothing, cpu_ratio=nothing, process_cpu_ratio=nothing, waiting=nothing, events=events,
    )  # fmt: skip


def said_by_the_device(kind: Literal["event", "health"], name: str, time: float) -> StoredEvent:
    return StoredEvent(
        device=DEVICE, time=time, artifact=None, kind=kind, name=name, severity="info", text="", details="{}"
    )


def test_too_many_faults_for_one_scenario() -> None:
    with pytest.raises(FieldError, match="1002 faults in that time, expected at most 1000"):
        recover(bare_record(1003))


def test_what_cannot_be_played_is_said() -> None:
    recovered = recover(bare_record(10))
    assert {one.celsius for one in recovered.scenario.temperatures} == {200.0}
    said = "\n".join(recovered.left_out)
    for told in (
        "above 200 °C",
        "Power: below 0",
        "in the latest run that the store has: It was an hour behind",
        "Frames: no two windows",
    ):
        assert told in said
    assert "Events before" not in said
    many = tuple(said_by_the_device("event", "reconnected", EPOCH + 1.0) for _ in range(MOST_EVENTS))
    assert "Events before 2023-11-14T22:13:21.000" in "\n".join(recover(bare_record(10, many)).left_out)


def test_an_agent_that_ended_in_order_is_told_from_one_that_did_not() -> None:
    recovered = recover(bare_record(3, (said_by_the_device("health", "draining", EPOCH + 0.5),)))
    ended, died = (recovered.remarks[f"fault[{place}]"] for place in range(2))
    assert "it had ended in order, which is played as a power cut" in ended
    assert "nothing was said before" in died


def test_a_temperature_that_stays_unknown_is_gone_to_the_end() -> None:
    said = (12.0, 19.5, 29.5)  # every run says so anew
    told = tuple(said_by_the_device("event", "heat_unknown", EPOCH + moment) for moment in said)
    (gone,) = of_kind(recover(bare_record(4, told)).scenario, "sensor_gone")
    assert gone == pytest.approx((12.0, 30.0), abs=0.002)


def test_a_temperature_that_an_agent_begun_anew_does_not_miss_is_back() -> None:
    told = (said_by_the_device("event", "heat_unknown", EPOCH + 12.0),)
    recovered = recover(bare_record(4, told))
    (gone,) = of_kind(recovered.scenario, "sensor_gone")
    assert gone == pytest.approx((12.0, 19.0), abs=0.002)
    assert "Begun anew, it did not." in "\n".join(recovered.remarks.values())


def test_a_temperature_that_was_unknown_before_is_gone_from_the_beginning(tmp_path: Path) -> None:
    fault = Fault(kind="sensor_gone", at_seconds=300.0, for_seconds=600.0)
    told = messages(replace(KNOWN, faults=(fault,), loads=()), interval=INTERVAL, rate_hz=RATE_HZ)
    store = open_store(stored(tmp_path / "t.duckdb", told), read_only=True)
    recovered = recover(read_record(store, DEVICE, EPOCH + 400.0, EPOCH + 1800.0))
    store.close()
    (gone,) = of_kind(recovered.scenario, "sensor_gone")
    assert gone == pytest.approx((0.0, 500.0), abs=0.01)
    assert "since when it had been unknown is not here" in recovered.remarks["fault[0]"]


def test_what_is_not_here_of_an_agent_that_ran_is_no_part_of_the_scenario(tmp_path: Path) -> None:
    cut = Fault(kind="power_cut", at_seconds=1000.0, for_seconds=100.0)
    told = messages(replace(KNOWN, faults=(cut,), loads=()), interval=INTERVAL, rate_hz=RATE_HZ)
    lost = ((-1.0, 600.0), (1090.0, 1300.0))
    there = [one for one in told if not any(a < one.envelope["time"] - EPOCH < b for a, b in lost)]
    _, recovered = recovered_from(stored(tmp_path / "t.duckdb", there), end=1800.0)
    said = "\n".join(recovered.left_out)
    assert (
        "Before 2023-11-14T22:23:15.000 nothing was heard: the scenario begins there." in recovered.left_out
    )
    assert recovered.scenario.duration_seconds == pytest.approx(1205.0, abs=0.1)
    assert (
        "From 2023-11-14T22:31:40.000 to 2023-11-14T22:35:00.000 the agent ran and nothing of it is here"
        in said
    )


def test_where_the_devices_clock_jumped_is_told_and_no_other_moment_is_moved(tmp_path: Path) -> None:
    cut = Fault(kind="power_cut", at_seconds=1000.0, for_seconds=100.0)
    true = messages(replace(KNOWN, faults=(cut,), loads=()), interval=INTERVAL, rate_hz=RATE_HZ)
    wrong = [
        replace(one, envelope=one.envelope | {"time": one.envelope["time"] + 3600.0})
        if 600.0 <= one.envelope["time"] - EPOCH < 900.0
        else one
        for one in true
    ]
    _, recovered = recovered_from(stored(tmp_path / "t.duckdb", wrong), end=1800.0)
    told = [one for one in recovered.left_out if "clock had jumped" in one]
    assert [one.partition("; ")[0] for one in told] == [
        "At 2023-11-14T22:23:20.100 the device's clock had jumped by +3600 s",
        "At 2023-11-14T22:28:20.100 the device's clock had jumped by -3600 s",
    ]
    assert of_kind(recovered.scenario, "power_cut")[0] == pytest.approx((1000.0, 1100.0), abs=INTERVAL)


def test_a_clock_that_jumps_all_the_time_is_told_in_few_lines() -> None:
    record = bare_record(1)
    count = 100
    moments = EPOCH + np.arange(count, dtype=np.float64)
    shaken = replace(
        record.messages,
        run=np.zeros(count, dtype=np.int64), seq=np.arange(count), moment=moments, received=moments,
        time=moments + 60.0 * (np.arange(count) % 2), uptime_seconds=1.0 + np.arange(count),
        window_seconds=np.full(count, np.nan), frames_total=np.full(count, -1),
    )  # fmt: skip
    recovered = recover(replace(record, messages=shaken, end=EPOCH + count))
    assert sum("clock had jumped" in one for one in recovered.left_out) == 20
    assert "The device's clock jumped 79 times more." in recovered.left_out


def test_a_device_that_mostly_paused_is_not_said_to_have_told_no_rate(tmp_path: Path) -> None:
    told = messages(replace(KNOWN, faults=(), loads=()), interval=INTERVAL, rate_hz=0.0)
    _, recovered = recovered_from(stored(tmp_path / "t.duckdb", told), end=1800.0)
    (said,) = [one for one in recovered.left_out if one.startswith("Frames: ")]
    assert said.startswith("Frames: none came in half of the windows or more, at most 0 a second")
    assert "source" not in recovered.scenario.agent


def test_a_recovered_scenario_is_played_on_the_local_rig(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = Scenario(
        name="short",
        seed=0,
        duration_seconds=6.0,
        temperatures=(TemperaturePoint(at_seconds=0.0, celsius=40.0), TemperaturePoint(at_seconds=6.0, celsius=70.0)),
        powers=(PowerPoint(at_seconds=0.0, watts=3.0),),
        rails=(RailPoint(name="VDD_CPU", at_seconds=0.0, watts=1.0),),
        batteries=(BatteryPoint(at_seconds=0.0, charge_ratio=0.8, watts=-3.0), BatteryPoint(at_seconds=6.0, charge_ratio=0.7, watts=-3.0)),
        faults=(
            Fault(kind="network_cut", at_seconds=0.8, for_seconds=2.8),
            Fault(kind="throttled", at_seconds=2.0, for_seconds=1.0),
            Fault(kind="power_cut", at_seconds=4.2, for_seconds=0.9),
        ),
    )  # fmt: skip
    path = stored(tmp_path / "t.duckdb", messages(known, interval=0.2, rate_hz=20.0))
    out = tmp_path / "field.toml"
    assert main(command(path, f"--out={out}", end=f"{EPOCH + 6:.0f}")) == 0
    scenario = parse_scenario(out.read_bytes(), origin="field.toml")
    assert [one.kind for one in scenario.faults] == ["network_cut", "throttled", "power_cut"]
    capsys.readouterr()
    artifact = null_artifact(tmp_path / "null.ewa")
    assert main(["hil", "scenario", "run", str(out), f"--rig-artifact={artifact}", "--json"]) == 0
    played = json.loads(capsys.readouterr().out)
    assert (played["starts"], played["unmet"]) == (2, [])
