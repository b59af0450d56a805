"""Several servers of one database: one makes the rollouts go on, another takes over, and nobody signs what is old."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from host_tools.errors import StoreError
from host_tools.fleet.service import FleetService
from host_tools.fleet.store.leadership import LEADER_LOCK
from host_tools.fleet.store.opening import open_store
from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests, SimulatedField

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.host_tools.fleet.postgres_cluster import PostgresCluster


def test_one_leads_until_it_has_gone(new_address: Callable[[], str]) -> None:
    address = new_address()
    first, second = open_store(address), open_store(address)
    try:
        assert first.leads()
        assert not second.leads()
        assert first.leads(), "asked again it still does"
        first.close()
        assert second.leads()
        assert not first.leads(), "who comes back stands by"
    finally:
        first.close()
        second.close()


def test_a_server_whose_session_the_database_ended_leads_no_more(postgres: PostgresCluster) -> None:
    address = postgres.database("fleet_ended_session")
    first, second = open_store(address), open_store(address)
    try:
        assert first.leads()
        with psycopg.connect(address, autocommit=True) as other:
            ended = other.execute(
                "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s",
                (LEADER_LOCK,),
            ).fetchone()
        assert ended == (1,)
        assert second.leads()
        assert not first.leads()
    finally:
        first.close()
        second.close()


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "fleet.db"))
    (tmp_path / "fleet.db-leader").mkdir()
    with pytest.raises(StoreError, match=r"fleet\.db-leader: cannot be opened"):
        store.leads()
    store.close()


def test_only_who_leads_makes_rounds_and_the_other_goes_on_where_it_stopped(
    new_address: Callable[[], str],
) -> None:
    fleet = FleetOfTests(address := new_address())
    standing_by, field = open_store(address, wall_seconds=fleet.clock), SimulatedField()
    other = FleetService(standing_by, field)
    try:
        assert fleet.store.leads()
        fleet.with_devices(5)
        fleet.planned()
        fleet.done("POST", "/rollouts/r1/submit", {})
        with running(other):
            wait_for(lambda: other.leads is False)
            fleet.service.round()
            fleet.devices_follow()
            assert field.published == [], "it stands by"
            assert fleet.field.published
            fleet.pass_time(11.0)
            fleet.store.close()  # as a process that ends
            wait_for(lambda: bool(field.published))
            assert other.leads
    finally:
        standing_by.close()
        fleet.close()


class _Overtaken(SimulatedField):
    """A field at which another server is faster."""

    meanwhile: Callable[[], object] | None = None

    def publish(self, group: str, wanted: Any, **more: Any) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        super().publish(group, wanted, **more)


def test_who_led_before_signs_nothing_that_is_old(new_address: Callable[[], str]) -> None:
    """Its session was lost between its look at what is wanted and its signature; the next leader has signed something newer."""
    fleet = FleetOfTests(address := new_address())
    store = open_store(address, wall_seconds=fleet.clock)
    field = _Overtaken(wanted=fleet.field.wanted)  # one repository
    late = FleetService(store, field)
    try:
        fleet.with_devices(5)
        fleet.planned()
        fleet.done("POST", "/rollouts/r1/submit", {})

        def overtake() -> None:
            fleet.service.round()
            fleet.devices_follow()
            fleet.pass_time(11.0)
            fleet.service.round()
            assert share() == 1_000_000

        def share() -> int:
            trial = fleet.field.wanted["lab"].trial
            return 0 if trial is None else trial.share_ppm

        field.meanwhile = overtake
        late.round()
        assert field.meanwhile is None, "it was about to sign"
        assert share() == 1_000_000
        with store.reading() as book:
            assert book.effects.count() == 0
    finally:
        store.close()
        fleet.close()


class running:  # noqa: N801 - reads as a word
    """A service's rounds in a thread."""

    def __init__(self, service: FleetService) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=service.run, args=(self._stop,), kwargs={"period_seconds": 0.02}
        )

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def wait_for(happened: Callable[[], bool]) -> None:
    waiting = threading.Event()
    while not happened():
        waiting.wait(0.02)
