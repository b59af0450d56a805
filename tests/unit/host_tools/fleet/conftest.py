from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetOfTests]:
    opened = FleetOfTests(str(tmp_path / "fleet.db"))
    yield opened
    opened.close()
