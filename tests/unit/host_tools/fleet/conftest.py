from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests
from tests.unit.host_tools.fleet.postgres_cluster import PostgresCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    cluster = PostgresCluster()
    try:
        yield cluster.start()
    finally:
        cluster.remove()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetOfTests]:
    opened = FleetOfTests(str(tmp_path / "fleet.db"))
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_address(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Return what gives the address of a new database, of either kind."""

    def address() -> str:
        number = next(_NUMBERS)
        if request.param == "sqlite":
            return str(tmp_path / f"fleet-{number}.db")
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        return cluster.database(f"fleet_{number}")

    return address


@pytest.fixture
def either(new_address: Callable[[], str]) -> Iterator[FleetOfTests]:
    """A fleet on SQLite, then one on PostgreSQL."""
    opened = FleetOfTests(new_address())
    yield opened
    opened.close()
