"""The page of telemetry: what an operator reads, and what would be misread without it."""

from __future__ import annotations

import dataclasses
import re

from device_agent.contract.telemetry.codec import encode
from host_tools.review.history import History
from host_tools.review.telemetry_page import render_telemetry
from tests.unit.host_tools.review.telemetry_messages import (
    battery_watts,
    birth,
    deliver,
    delivery,
    envelope,
    event,
    filled,
    health,
    joules,
    power,
    system,
    thermal,
    watts,
    window,
)

START = 1_700_000_000.0


def page_of(history: History) -> str:
    return render_telemetry(history, origin="test")


def chart(page: str, title: str) -> str:
    return next(svg for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if title in svg)


def line_lengths(svg: str, *, color: str = "#0072b2") -> list[int]:
    """Points of each unbroken stretch of the lines in a colour; Matplotlib begins one with M."""
    paths = re.findall(rf'<path d="([^"]*)"[^>]*style="fill: none; stroke: {color}', svg)
    return [stretch.count("L") + 1 for path in paths for stretch in path.split("M")[1:]]


def test_the_page_shows_charts_and_escapes_text() -> None:
    page = render_telemetry(filled(), origin="test <b>", warnings=["cut <i>"])
    assert page.count("<svg") == 3
    assert "Loaded net &lt;1.0&gt;." in page
    assert "test &lt;b&gt;" in page
    assert "cut &lt;i&gt;" in page
    assert "<script" not in page


def test_several_models_have_charts_rows_and_counts_of_their_own() -> None:
    history = deliver(filled(), *(window(seq, model="gate", variant="b") for seq in range(11, 15)))
    page = page_of(history)
    assert "Latency of each window of main" in page
    assert "Latency of each window of gate/b" in page
    throughput = chart(page, "Throughput")
    assert "main" in throughput
    assert "gate/b" in throughput
    assert line_lengths(throughput)[0] == 6, "the other model's windows are another line"
    assert "lab-1: gate/b" in page
    assert "Counted by gate/b" in page
    assert "15 inferences" in page
    assert "Counted by main" in page
    assert "9 inferences" in page


def test_no_control_character_reaches_the_page() -> None:
    history = deliver(filled(), birth(11, model="\x1b[2J<script>"), event(12, "\x07\x9b bell \u202e"))
    history.add(delivery("ew/v1/\x1b", b""))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", page_of(history))


def test_energy_counters_have_a_power_chart_named_after_them() -> None:
    page = page_of(deliver(filled(), *(power(11 + n, joules(12.0 * n)) for n in range(4))))
    assert "Power: package_0 (by energy)" in chart(page, "Power")
    assert "12.0 package_0" in page


def test_a_battery_has_a_chart_of_its_own_and_its_sign() -> None:
    page = page_of(deliver(filled(), *(power(11 + n, watts(4.0), battery_watts(-18.0)) for n in range(2))))
    assert "ina3221_vdd_in" in chart(page, "Power")
    assert "supply_bat0" in chart(page, "Battery, + charging, − discharging")
    assert "4.00 VDD_IN, −18.0 battery" in page


def test_one_series_is_named_in_the_title() -> None:
    sample = dataclasses.replace(thermal(11), readings=thermal(11).readings[:1])
    assert "Temperature: zone_0" in page_of(deliver(History(), sample))


def test_many_sensors_show_the_highest_and_say_so() -> None:
    reading = thermal(0).readings[0]
    readings = tuple(
        dataclasses.replace(reading, name=f"core_{number}_celsius", value=float(number))
        for number in range(120)
    )
    svg = chart(page_of(deliver(History(), dataclasses.replace(thermal(1), readings=readings))), "Temp")
    assert "the 7 highest; 113 more are lower" in svg
    assert "core_119" in svg
    assert "core_112" not in svg


def test_a_clock_that_was_set_does_not_stretch_the_axis() -> None:
    history = History()
    for second in range(12):
        time = START + second - (7200.0 if second < 6 else 0.0)
        deliver(
            history, window(second, envelope(second, time=time, clock="unsynced")), received=START + second
        )
    page = page_of(history)
    assert "seconds since 2023-11-14 22:13:20 UTC" in page
    assert "was 2 h behind until it was set" in page


def test_the_axis_says_when_it_begins() -> None:
    assert "seconds since 2023-11-14 22:13:23 UTC" in page_of(filled())


def test_a_line_does_not_bridge_an_outage_or_a_restart() -> None:
    whole = deliver(History(), *(window(seq) for seq in range(6)))
    assert line_lengths(chart(page_of(whole), "Throughput")) == [6]
    outage = deliver(History(), *(window(seq) for seq in (0, 1, 2, 60, 61, 62)))
    assert line_lengths(chart(page_of(outage), "Throughput")) == [3, 3]
    restart = deliver(History(), *(window(seq) for seq in range(3)))
    deliver(restart, *(window(seq, envelope(seq, boot="boot-2")) for seq in range(3, 6)))
    assert line_lengths(chart(page_of(restart), "Throughput")) == [3, 3]
    assert "the agent ran 2 times" in page_of(restart)


def test_messages_that_came_late_stand_where_they_belong() -> None:
    def throughput(*order: int) -> str:
        return chart(page_of(deliver(History(), *(window(seq) for seq in order))), "Throughput")

    assert throughput(3, 4, 5, 0, 1, 2) == throughput(0, 1, 2, 3, 4, 5)


def test_what_was_read_at_some_time_is_not_called_absent() -> None:
    page = page_of(deliver(filled(), system(11, pss_bytes=None), system(12, pss_bytes=5 << 20)))
    assert "process_pss_bytes" not in page
    page = page_of(deliver(filled(), system(11, pss_bytes=None), power(12, joules(None))))
    assert "process_pss_bytes" in page
    assert "package_0_joules_total" in page


def test_a_device_that_fell_silent_is_not_shown_as_up_and_stands_first() -> None:
    history = deliver(History(), health(1), window(2))
    other = encode(window(200))
    history.add(delivery("ew/v1/device/other///m/inference", other, received=START + 200))
    history.add(
        delivery("ew/v1/device/other/service/agent/status/health", encode(health(201)), received=START + 201)
    )
    page = page_of(history)
    assert '<span class="verdict marginal">up</span> silent for 3 min' in page
    assert page.index("#lab-1") < page.index("#other")
    assert '<span class="verdict pass">up</span>' in page


def test_what_only_the_broker_kept_is_told() -> None:
    page = page_of(deliver(History(), birth(1), health(2), retained=True))
    assert "as the broker kept it; not heard" in page
    assert 'class="verdict pass"' not in page


def test_losses_are_told() -> None:
    history = deliver(filled(), dataclasses.replace(system(14, pss_bytes=None), spool_dropped_total=9))
    page = page_of(history)
    assert "3 of this device&#39;s messages were sent and are not here" in page
    assert "lost 9 messages since its agent started" in page


def test_more_events_than_are_shown_are_counted() -> None:
    page = page_of(deliver(History(), *(event(seq, f"event {seq}.") for seq in range(250))))
    assert "the last 200 of 250" in page
    assert "event 249." in page
    assert "event 49." not in page
