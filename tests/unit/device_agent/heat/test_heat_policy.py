"""The heat policy neither flaps nor overshoots, on simulated devices from a bare chip to a box with a heat sink."""

from __future__ import annotations

import math

import pytest
from heating import INTERVAL_SECONDS, RULES, Course, Device, run
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.config import HeatSection
from device_agent.heat.policy import HeatChange, HeatPolicy, HeatRules, HeatStep
from device_agent.heat.temperature import declared_rules, hottest
from device_agent.sensors.reading import Absent, Measured

HOURS = 4.0
LONGEST_HOLD = 16 * RULES.hold_seconds
TAUS = (8.0, 30.0, 120.0, 600.0, 2_000.0)
PAUSE = RULES.steps[-1].celsius
PLANTS = {
    "cool enough": (40.0, 30.0, 20.0),
    "the variant is enough": (60.0, 42.0, 30.0),
    "only few frames are enough": (75.0, 60.0, 40.0),
    "nothing but a pause is enough": (95.0, 85.0, 70.0),
}


def kinds(course: Course) -> list[str]:
    return [change.kind for _, change in course.changes]


def assert_does_not_flap(course: Course, rules: HeatRules = RULES) -> None:
    """A step is lifted only after its hold, and however a device swings the changes become rare."""
    lifted = [now for now, change in course.changes if change.kind == "cooler"]
    for (before, _), (now, change) in zip(course.changes, course.changes[1:], strict=False):
        if change.kind == "cooler":
            assert now - before >= rules.hold_seconds
    hours = course.seconds[-1] / 3_600.0
    settled = [now for now in lifted if now > course.seconds[-1] / 2]
    assert len(settled) <= math.ceil(len(rules.steps) * hours / 2 * 3_600.0 / LONGEST_HOLD) + 1


def overshoot_bound(device: Device) -> float:
    """Rise within the reads that the median and the interval cost, at the steepest, and what noise can hide."""
    steepest = max(0.0, device.room + device.full - PAUSE) / device.tau_seconds
    return PAUSE + steepest * 3 * INTERVAL_SECONDS + 4 * device.noise


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_no_device_flaps_and_none_gets_hotter_than_its_last_step(
    tau: float, plant: str, noise: float
) -> None:
    full, variant, slow = PLANTS[plant]
    device = Device(tau_seconds=tau, full=full, variant=variant, slow=slow, noise=noise)
    course = run(device, hours=HOURS)
    assert max(course.celsius) <= overshoot_bound(device)
    assert_does_not_flap(course)
    if plant == "cool enough" and noise <= 0.5:
        assert course.changes == []
    if plant == "the variant is enough" and noise <= 0.5:
        assert not any("pause" in change.measures for _, change in course.changes)


@given(
    st.floats(5.0, 3_000.0),
    st.floats(0.0, 110.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 2.0),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_any_first_order_device(
    tau: float, full: float, variant: float, slow: float, noise: float, seed: int
) -> None:
    device = Device(
        tau_seconds=tau, full=full, variant=full * variant, slow=full * variant * slow, noise=noise
    )
    course = run(device, hours=2.0, seed=seed)
    assert max(course.celsius) <= overshoot_bound(device)
    assert_does_not_flap(course)


def test_the_simulation_can_tell_a_policy_that_flaps() -> None:
    """Without hysteresis and hold the same device swings at every few reads: the proof above is one that can fail."""
    bare = HeatRules(steps=RULES.steps, hysteresis_celsius=0.0, hold_seconds=0.0)
    full, variant, slow = PLANTS["the variant is enough"]
    course = run(Device(tau_seconds=30.0, full=full, variant=variant, slow=slow), hours=HOURS, rules=bare)
    assert len(course.changes) > 200
    with pytest.raises(AssertionError):
        assert_does_not_flap(course)


def test_a_device_that_cools_down_for_good_gets_everything_back_one_step_at_a_time() -> None:
    policy = HeatPolicy(RULES)
    changes: list[HeatChange] = []
    for number in range(1_500):
        celsius = 60.0 + (25.0 if number < 300 else -20.0)
        change = policy.read(celsius, number * INTERVAL_SECONDS)
        if change is not None:
            changes.append(change)
    assert [change.measures for change in changes] == [
        ("variant", "slow", "pause"),
        ("variant", "slow"),
        ("variant",),
        (),
    ]
    assert [change.kind for change in changes] == ["hotter", "cooler", "cooler", "cooler"]


def test_one_wrong_reading_does_nothing_in_either_direction() -> None:
    policy = HeatPolicy(RULES)
    for number in range(20):
        assert policy.read(125.0 if number == 10 else 60.0, number * 2.0) is None
    for number in range(20, 24):
        policy.read(72.0, number * 2.0)
    assert policy.measures == ("variant",)
    for number in range(24, 400):
        assert policy.read(-40.0 if number % 10 == 0 else 72.0, number * 2.0) is None


def test_a_sensor_that_is_away_changes_nothing_and_is_said_once_each_way() -> None:
    full, variant, slow = PLANTS["the variant is enough"]
    device = Device(tau_seconds=60.0, full=full, variant=variant, slow=slow)
    course = run(device, hours=2.0, sensor=lambda celsius, now: None if 1_800.0 < now < 5_400.0 else celsius)
    away = [(now, change) for now, change in course.changes if 1_800.0 < now < 5_400.0]
    assert [change.kind for _, change in away] == ["blind"]
    assert "EIO" in away[0][1].text
    assert kinds(course).count("seen") == 1
    before = [change for now, change in course.changes if now <= 1_800.0][-1]
    assert away[0][1].measures == before.measures
    assert max(course.celsius) <= overshoot_bound(device)


def test_a_sensor_that_answers_every_other_time_still_protects() -> None:
    full, variant, slow = PLANTS["nothing but a pause is enough"]
    device = Device(tau_seconds=120.0, full=full, variant=variant, slow=slow)
    blinking = run(device, hours=1.0, sensor=lambda celsius, now: celsius if now % 16.0 < 8.0 else None)
    assert max(blinking.celsius) <= PAUSE + (full + 25.0 - PAUSE) / 120.0 * 20.0 + 2.0
    assert "blind" not in kinds(blinking)


# --- what is declared, and which temperature counts ---


def test_steps_stand_in_the_order_of_their_temperatures() -> None:
    assert declared_rules(HeatSection()) is None
    rules = declared_rules(HeatSection(slow_celsius=80.0, variant_celsius=70.0, hysteresis_celsius=3.0))
    assert rules is not None
    assert rules.steps == (
        HeatStep(celsius=70.0, measure="variant"),
        HeatStep(celsius=80.0, measure="slow"),
    )


def reading(name: str, value: float | Absent, source: str) -> Measured:
    return Measured(name=f"{name}_celsius", value=value, source=source, scope="s", quality="sampled")


def test_zones_count_then_the_processors_chips_and_never_a_disk() -> None:
    zones = [reading("cpu", 50.0, "thermal_zone"), reading("gpu", 60.0, "thermal_zone")]
    off = [reading("cpu", Absent("EAGAIN"), "thermal_zone")]
    chips = [reading("coretemp_package", 55.0, "hwmon"), reading("nvme_composite", 80.0, "hwmon")]
    assert hottest([*zones, *off, *chips], ()) == 60.0
    assert hottest([*off, *chips], ()) == 55.0
    assert hottest(off, ()) == Absent("EAGAIN")
    assert hottest([], ()) == Absent("there is no temperature")


def test_of_named_sensors_every_one_must_speak() -> None:
    found = [reading("cpu", 50.0, "thermal_zone"), reading("nvme_composite", 80.0, "hwmon")]
    silent = reading("gpu", Absent("EIO"), "thermal_zone")
    assert hottest(found, ("nvme_composite_celsius",)) == 80.0
    assert hottest([*found, silent], ("cpu_celsius", "gpu_celsius")) == Absent("EIO")
    assert hottest(found, ("soc_celsius",)) == Absent("there is no reading 'soc_celsius'")
