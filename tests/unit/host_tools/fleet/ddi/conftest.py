from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from host_tools.fleet.serve.limits import Limits, Rate
from tests.unit.host_tools.fleet.ddi.ddi_of_tests import DdiFleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WIDE = Rate(per_second=1e6, burst=1e6)


@pytest.fixture
def polled(tmp_path: Path) -> Iterator[DdiFleet]:
    """A fleet whose devices poll."""
    opened = DdiFleet(
        str(tmp_path / "fleet.db"), tmp_path / "repository", limits=Limits(requests=WIDE, refusals=WIDE)
    )
    yield opened
    opened.close()


@pytest.fixture
def either_polled(tmp_path: Path, new_address: Callable[[], str]) -> Iterator[DdiFleet]:
    """The same on SQLite, then one on PostgreSQL."""
    opened = DdiFleet(new_address(), tmp_path / "repository", limits=Limits(requests=WIDE, refusals=WIDE))
    yield opened
    opened.close()
