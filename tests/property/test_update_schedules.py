"""The update's state machine under random faults: power cuts between any two effects, failing writes, failing steps, clocks that lie.

Each seed is one schedule, of one model or of three; it ends with quiet weather, in which the next good release of each must become the
one that runs.
"""

from __future__ import annotations

import pytest
from update_device import ENDS, Device, delivered, release

from device_agent.contract.model_names import MAIN_MODEL
from device_agent.update.state import Standing, UpdateState
from device_agent.update.state_file import decode, encode

SCHEDULES = 1_500
SCHEDULES_OF_SEVERAL = 1_000
STEPS = 120
SEVERAL = (MAIN_MODEL, "plates", "gate")


def want_the_next(device: Device, *, way_back: bool) -> None:
    """Ask for another release of every model: a newer one, or one below the floor, where there is such a way back."""
    device.serial += 1
    for model, wish in device.wishes.items():
        floor = device.disk.of(model).counter_floor
        goes_back = way_back and floor > 1
        counter = floor - 1 if goes_back else device.serial + 1_000
        wish.release, wish.since = release(counter, device.serial, model), device.serial
        wish.in_trial, wish.allow_downgrade = not goes_back, goes_back


def let_it_end(device: Device, seed: int) -> None:
    """End a schedule, and hold what must have become of it."""
    device.weather = 0.0
    if seed % 2:  # with a new start, and without one: a disk that works again is enough
        device.begin()
    floors = {model: device.disk.of(model).counter_floor for model in device.models}
    want_the_next(device, way_back=seed % 2 == 1)
    device.live_in_quiet(400 * len(device.models))
    for model, wish in device.wishes.items():
        standing = device.disk.of(model)
        assert standing.active == standing.known_good == wish.release, (seed, model)
        assert device.runs[model] == wish.release, (seed, model)
        if wish.allow_downgrade:
            assert standing.counter_floor >= floors[model] > wish.release.counter, (
                "a way back leaves the floor"
            )
        else:
            assert standing.counter_floor == wish.release.counter
        assert standing.is_in_trial is wish.in_trial
        assert standing.candidate is None
        assert device.ended[model, wish.release.digest, device.serial] == "update_committed"
    assert device.store == {wish.release.digest for wish in device.wishes.values()}
    assert not device.under_way, "every update ends"


@pytest.mark.parametrize("block", range(10))
def test_random_fault_schedules_keep_every_promise_and_the_next_update_works(block: int) -> None:
    ends: set[str] = set()
    for seed in range(block, SCHEDULES, 10):
        device = Device(seed)
        for _ in range(STEPS):
            device.live()
        ends |= set(device.ended.values())
        let_it_end(device, seed)
    assert ends == set(ENDS), "the faults reach every end"


@pytest.mark.parametrize("block", range(10))
def test_random_fault_schedules_of_three_models_disturb_no_other(block: int) -> None:
    ends: set[tuple[str, str]] = set()
    for seed in range(block, SCHEDULES_OF_SEVERAL, 10):
        device = Device(seed, SEVERAL)
        for _ in range(STEPS):
            device.live()
        ends |= {(model, end) for (model, _, _), end in device.ended.items()}
        let_it_end(device, seed)
    assert {end for _, end in ends} == set(ENDS), "the faults reach every end"
    assert {model for model, _ in ends} == set(SEVERAL), "of every model"


def test_a_state_that_is_replaced_keeps_every_field() -> None:
    one = Standing(active=delivered(), known_good=delivered(), counter_floor=7)
    for models in ({"main": one}, {"main": one, "plates": one}, {"plates": one}):
        state = UpdateState(models=models, desired_serial=3)
        assert decode(encode(state), where="x") == state
