"""Simulated fleets: the same for a seed, physics by closed forms, and messages that the contract takes."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest

from device_agent.contract import topics
from device_agent.contract.telemetry.codec import decode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import MEASUREMENTS, InferenceWindow
from device_agent.contract.telemetry.message import Message
from device_agent.contract.telemetry.result import Result
from device_agent.contract.telemetry.states import Birth, Health
from host_tools.review.analysis import percentiles
from host_tools.review.simulation import latency, physics
from host_tools.review.simulation.fleet import BLOCK_DEVICES, SimulatedFleet
from host_tools.review.simulation.messages import deliveries, messages
from host_tools.review.simulation.plan import FleetPlan
from host_tools.review.simulation.store import SimulatedStore
from host_tools.review.simulation.truth import Injection
from host_tools.review.store.windows import Level, Selection

_HOUR = FleetPlan(
    devices=6, days=1 / 24, level=Level.MINUTE, rollout_at=1800.0, outages_a_day=12.0, wrong_clocks=0.4
)


def test_a_seed_is_a_fleet_and_another_seed_is_another() -> None:
    plan = FleetPlan(devices=BLOCK_DEVICES + 5, days=2, level=Level.DAY)
    one, again, other = (SimulatedFleet(seed, plan) for seed in (1, 1, 2))
    last = one.block(1)  # asked for first, and still the same
    assert np.array_equal(last.medians, again.block(1).medians)
    assert not np.array_equal(one.block(0).medians, other.block(0).medians)
    assert last.first == BLOCK_DEVICES
    assert len(last.alive) == 5


def test_a_device_settles_where_power_and_resistance_say() -> None:
    one = np.ones(1)
    thermals = physics.Thermals(idle_watts=2 * one, busy_watts=4 * one, kelvin_per_watt=5 * one, heat_seconds=300 * one,
                                trip_celsius=1000 * one, throttled_factor=2 * one)  # fmt: skip
    busy = np.concatenate((np.zeros(1), np.full(40, 0.5)))[None, :]
    heat = physics.heat(
        thermals,
        surroundings=np.full((1, 41), 20.0),
        busy=busy,
        power_factor=np.ones((1, 41)),
        seconds=300.0,
        steps=30,
    )
    assert heat.celsius[0, 0] == pytest.approx(20 + 5 * 2)
    assert heat.celsius[0, -1] == pytest.approx(20 + 5 * (2 + 4 * 0.5))
    # After one time constant 1 - 1/e of the way is done.
    assert heat.celsius_max[0, 1] == pytest.approx(30 + 10 * (1 - np.exp(-1)))
    assert heat.watts[0, -1] == pytest.approx(4.0)
    assert not heat.throttled.any()


def test_a_device_that_is_too_hot_is_slowed_down_and_stays_near_its_trip() -> None:
    one = np.ones(1)
    thermals = physics.Thermals(idle_watts=2 * one, busy_watts=8 * one, kelvin_per_watt=8 * one, heat_seconds=200 * one,
                                trip_celsius=80 * one, throttled_factor=1.5 * one)  # fmt: skip
    heat = physics.heat(
        thermals,
        surroundings=np.full((1, 30), 25.0),
        busy=np.full((1, 30), 0.9),
        power_factor=np.ones((1, 30)),
        seconds=600.0,
        steps=20,
    )
    assert 0 < heat.throttled[0, -1] < 1
    assert 80 < heat.celsius[0, -1] < 86


def test_remembering_noise_has_the_spread_and_memory_asked_for() -> None:
    noise = physics.autoregressive(np.random.default_rng(0), 4000, 50, keep=0.7, spread=2.0)
    assert noise.std(axis=0) == pytest.approx(np.full(50, 2.0), rel=0.08)
    assert np.mean(noise[:, 30] * noise[:, 31]) / 4 == pytest.approx(0.7, abs=0.05)


def test_drawn_latencies_are_as_many_as_asked_for_and_around_their_median() -> None:
    medians, counts = np.array([0.01, 0.0501, 0.3]), np.array([200_000, 0, 50_000])
    hist, sums = latency.draw(
        np.random.default_rng(0), medians, counts, np.array([0.0, 0.0, 1.0]), np.full(3, 1.5)
    )
    assert percentiles.totals(hist).tolist() == counts.tolist()
    found = percentiles.quantiles(hist, (0.5,))[:, 0]
    assert found[0] == pytest.approx(0.01, rel=0.01)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(0.45, rel=0.02)
    assert sums[0] / counts[0] == pytest.approx(0.01 * latency.mean_factor(), rel=0.01)


def test_injected_faults_are_where_the_truth_says() -> None:
    slow = Injection(fault="straggler", size=0.5, share=0.5, target="cortex-a-tflite", since=86400.0)
    plan = FleetPlan(devices=24, days=2, level=Level.HOUR, rollout_at=None)
    healthy, sick = (SimulatedFleet(3, dataclasses.replace(plan, injections=one)) for one in ((), (slow,)))
    affected = sick.truth.affected("straggler")
    assert len(affected) == 4
    ratio = sick.block(0).medians / healthy.block(0).medians
    for row, device in enumerate(sick.devices):
        assert ratio[row, 30] / ratio[row, 3] == pytest.approx(1.5 if device.device in affected else 1.0)
    assert all(
        device.board.target == "cortex-a-tflite" for device in sick.devices if device.device in affected
    )


def test_a_plan_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a device, a board and a window at least, got 0 devices"):
        FleetPlan(devices=0)
    with pytest.raises(ValueError, match=r"0\.01 days in windows of 86400 s"):
        FleetPlan(days=0.01, level=Level.DAY)


def test_messages_come_in_order_are_numbered_and_are_understood() -> None:
    fleet = SimulatedFleet(5, _HOUR)
    numbers = defaultdict(list)
    last, late, kinds = 0.0, 0, set()
    for delivery in deliveries(fleet):
        assert delivery.received >= last
        last = delivery.received
        topic = topics.parse(delivery.topic)
        kind: type[Message] = {"m": MEASUREMENTS.get(topic.name, Message), "e": Event, "o": Result}.get(
            topic.category, Birth if topic.name == "birth" else Health
        )
        message = decode(kind, delivery.payload, where=delivery.topic)
        kinds.add(kind)
        envelope = message.envelope
        numbers[topic.device, envelope.boot_id].append(envelope.seq)
        error = fleet.clock_error(int(topic.device.removeprefix("device-")))
        assert (envelope.clock == "unsynced") == (error != 0)
        age = delivery.received - (envelope.time - error)
        assert age > 0
        late += age > 120
    assert late > 10
    assert len(kinds) == 8
    for heard in numbers.values():
        assert sorted(heard) == list(range(1, len(heard) + 1))


def test_messages_and_windows_say_the_same() -> None:
    fleet = SimulatedFleet(5, _HOUR)
    table = SimulatedStore(fleet).windows(
        Selection(start=_HOUR.start, end=_HOUR.end), level=Level.MINUTE, by=("device",)
    )
    counted: dict[str, int] = defaultdict(int)
    for _, device, message in messages(fleet):
        if isinstance(message, InferenceWindow):
            counted[device] += sum(message.hist.counts.values())
    assert counted == dict(zip(table.key("device").tolist(), table.inferences.tolist(), strict=True))


def test_a_store_answers_only_what_has_arrived() -> None:
    fleet = SimulatedFleet(5, _HOUR)
    whole = Selection(start=_HOUR.start, end=_HOUR.end)
    now = SimulatedStore(fleet, now=_HOUR.end).windows(whole, level=Level.MINUTE, by=("device", "time"))
    later = SimulatedStore(fleet).windows(whole, level=Level.MINUTE, by=("device", "time"))
    assert len(now.inferences) < len(later.inferences) == 6 * 60
    with pytest.raises(ValueError, match="simulated in windows of 60 s, got 10 s"):
        SimulatedStore(fleet).windows(whole, level=Level.SECONDS_10, by=())


def test_a_store_counts_each_device_once_across_blocks() -> None:
    plan = FleetPlan(devices=BLOCK_DEVICES + 20, days=1, level=Level.DAY, rollout_at=None)
    store = SimulatedStore(SimulatedFleet(1, plan))
    whole = Selection(start=plan.start, end=plan.end)
    assert store.windows(whole, level=Level.DAY, by=("artifact",)).devices.tolist() == [plan.devices]
    assert store.windows(whole, level=Level.DAY, by=("label:target",)).devices.sum() == plan.devices
    assert len(store.devices(labels=(("target", "cortex-a-tflite"),))) == plan.devices // 3
    outputs = store.outputs(whole, level=Level.DAY, by=("artifact",))
    assert outputs.count.sum() == outputs.confidence.sum() > 0
