"""schemathesis asks what nobody thought of, from the interface's own description, and holds every answer against it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import positive_data_acceptance

from host_tools.fleet.serve.limits import Limits, Rate
from host_tools.fleet.serve.roles import NEEDED, OPEN
from tests.unit.host_tools.fleet.fleet_of_tests import ROOT, FleetOfTests

if TYPE_CHECKING:
    from collections.abc import Iterator

MEANING = {f"POST {ROOT}/devices.csv", f"POST {ROOT}/rollouts"}
"""Where a description cannot say all that is wrong: lines of a list, stages whose shares shrink."""
WIDE = Rate(per_second=1e6, burst=1e6)


@pytest.fixture(scope="module")
def asked_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetOfTests]:
    folder = tmp_path_factory.mktemp("asked")
    fleet = FleetOfTests(
        str(folder / "fleet.db"), limits=Limits(requests=WIDE, refusals=WIDE, changes_per_hour=1_000_000)
    )
    fleet.with_devices(3)
    fleet.planned()
    yield fleet
    with fleet.store.reading() as book:
        assert book.audit.broken() == ""
    fleet.close()


@pytest.fixture(scope="module")
def api(asked_fleet: FleetOfTests) -> Any:
    return schemathesis.openapi.from_asgi(f"{ROOT}/openapi.json", asked_fleet.app)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(
    "endpoint", sorted((set(NEEDED) | OPEN) - {f"GET {ROOT}/events"})
)  # which does not end
def test_every_answer_is_as_described(
    api: Any, asked_fleet: FleetOfTests, endpoint: str, mode: schemathesis.GenerationMode
) -> None:
    method, _, path = endpoint.partition(" ")
    operation = api[path][method]
    shown = {"Authorization": f"Bearer {asked_fleet.secret('admin')}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(
            headers=shown, excluded_checks=[positive_data_acceptance] if endpoint in MEANING else []
        )

    with contextlib.suppress(Unsatisfiable):  # an endpoint without arguments cannot be asked wrongly
        ask()
