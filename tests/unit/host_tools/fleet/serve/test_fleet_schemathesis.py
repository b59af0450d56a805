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
RIGHT, WRONG = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
ENDPOINTS = sorted(set(NEEDED) | OPEN)
ASKED = [
    *((endpoint, mode, "anything") for endpoint in ENDPOINTS for mode in (RIGHT, WRONG)),
    *((endpoint, RIGHT, "what is there") for endpoint in ENDPOINTS if "{" in endpoint),
]
"""Each endpoint, rightly and wrongly; and once more with the names of what there is, on which nobody who draws at random comes."""


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
def there(asked_fleet: FleetOfTests) -> dict[str, str | int]:
    """Return the names of what there is."""
    return {
        "device": "lab-00001",
        "group": "lab",
        "release": "net-1.0",
        "rollout": "r1",
        "stage": 0,
        "token": asked_fleet.done("POST", "/tokens", {"name": "other", "role": "viewer"})["token"]["id"],
        "claim": asked_fleet.done("POST", "/claims", {"group": "lab"})["id"],
    }


@pytest.fixture(scope="module")
def api(asked_fleet: FleetOfTests) -> Any:
    return schemathesis.openapi.from_asgi(f"{ROOT}/openapi.json", asked_fleet.app)


@pytest.mark.parametrize(
    ("endpoint", "mode", "named"), ASKED, ids=[f"{one[0]} {one[1].value} {one[2]}" for one in ASKED]
)
def test_every_answer_is_as_described(
    api: Any,
    asked_fleet: FleetOfTests,
    there: dict[str, str | int],
    endpoint: str,
    mode: schemathesis.GenerationMode,
    named: str,
) -> None:
    method, _, path = endpoint.partition(" ")
    operation = api[path][method]
    shown = {"Authorization": f"Bearer {asked_fleet.secret('admin')}"}
    excluded = [positive_data_acceptance] if endpoint in MEANING else []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case) -> None:
        if named == "what is there":
            case.path_parameters = {name: there[name] for name in case.path_parameters}
        if path == f"{ROOT}/events" and mode == RIGHT:
            case.query = {**case.query, "longest_seconds": 0}  # else it does not end
        case.call_and_validate(headers=shown, excluded_checks=excluded)

    with contextlib.suppress(Unsatisfiable):  # an endpoint without arguments cannot be asked wrongly
        ask()
