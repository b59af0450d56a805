"""A stage of a large group begins in one transaction, and nobody else writes meanwhile: what it does for each device is counted."""

from __future__ import annotations

import cProfile
import pstats
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from host_tools.errors import StoreError
from host_tools.fleet.store.tables import DEVICE

if TYPE_CHECKING:
    from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests

DEVICES = 2_000


def test_a_stage_of_many_devices_begins_with_few_calls_for_each(fleet: FleetOfTests) -> None:
    fleet.with_devices(DEVICES)
    stages = [
        {"name": "canary", "share_ppm": 10_000, "soak_seconds": 0.0},
        {"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0},
    ]
    fleet.planned(stages=stages)
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    with fleet.store.writing() as book:
        for jobs in book.jobs.open_in("r1"):
            book.jobs.put([replace(job, state="closed", result="success") for job in jobs])
    fleet.pass_time(1.0)
    counted = cProfile.Profile()
    counted.enable()
    fleet.service.round()
    counted.disable()
    with fleet.store.reading() as book:
        assert sum(one.total for one in book.jobs.counts("r1", stages=2)) == DEVICES
    stats: Any = pstats.Stats(counted)
    # Each device is read, placed, its job thought out and written: 100 calls, with the database's own.
    assert stats.total_calls / DEVICES < 120


def test_what_a_device_can_run_is_read_device_by_device_where_it_is_damaged(fleet: FleetOfTests) -> None:
    names = fleet.with_devices(2)
    with fleet.store.writing() as book:
        book.devices._connection.execute(update(DEVICE).where(DEVICE.c.id == names[1]).values(targets="{"))
    with fleet.store.reading() as book:
        assert book.devices.get(names[0]).provides.targets
        with pytest.raises(StoreError, match=f"device {names[1]}: .*damaged"):
            book.devices.get(names[1])
