"""Who may do what: every route with every role, and with nobody's token."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from host_tools.fleet.records.access import Role
from host_tools.fleet.serve.admission import endpoint_of
from host_tools.fleet.serve.limits import Limits, Rate
from host_tools.fleet.serve.roles import NEEDED, OPEN, ROLES, matrix_table, may
from tests.unit.host_tools.fleet.fleet_of_tests import ROOT, FleetOfTests

VALUES = {
    "device": "d1",
    "group": "lab",
    "release": "net-9.9",
    "rollout": "r9",
    "stage": "0",
    "token": "0" * 12,
    "claim": "0" * 12,
}


def path_of(endpoint: str) -> str:
    path = endpoint.partition(" ")[2].removeprefix(ROOT)
    filled = re.sub(r"\{(\w+)\}", lambda found: VALUES[found[1]], path)
    return f"{filled}?longest_seconds=0" if filled == "/events" else filled


def routes(fleet: FleetOfTests) -> set[str]:
    return {endpoint_of(route) for route in fleet.app.routes if isinstance(route, APIRoute)}


def test_every_route_is_in_the_table_and_every_line_of_it_is_a_route(fleet: FleetOfTests) -> None:
    assert routes(fleet) == set(NEEDED) | set(OPEN)


@pytest.mark.parametrize("role", ROLES)
def test_every_route_lets_in_who_may_and_nobody_else(fleet: FleetOfTests, role: Role) -> None:
    for endpoint in sorted(NEEDED):
        answer = fleet.ask(endpoint.partition(" ")[0], path_of(endpoint), role=role)
        if may(role, NEEDED[endpoint]):
            assert answer.status_code not in (401, 403), endpoint
            assert answer.status_code < 500, (endpoint, answer.text)
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "role_needed"), endpoint
            assert answer.json()["expected"] == f"the role {NEEDED[endpoint]}"


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer ewf_nobody", "Basic dTpw", "Bearer \xe9"])
def test_nobody_gets_in_without_a_good_token(tmp_path: Path, shown: str) -> None:
    fleet = FleetOfTests(str(tmp_path / "fleet.db"), limits=Limits(refusals=Rate(per_second=1e6, burst=1e6)))
    for endpoint in sorted(NEEDED):
        answer = fleet.send(
            endpoint.partition(" ")[0],
            ROOT + path_of(endpoint),
            headers={"Authorization": shown.encode("latin-1")},
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "token_needed"), endpoint
        assert answer.headers["www-authenticate"].startswith("Bearer")
    fleet.close()


def test_a_body_is_not_read_before_the_token_is(fleet: FleetOfTests) -> None:
    for body in (b"{", b"[" * 100_000):
        assert fleet.send("POST", f"{ROOT}/groups", content=body).status_code == 401
        sent = fleet.ask("POST", "/groups", role="viewer", content=body)
        assert sent.status_code == 403


def test_a_token_ends_when_it_is_over_or_revoked(fleet: FleetOfTests) -> None:
    made = fleet.done("POST", "/tokens", {"name": "night", "role": "viewer", "lifetime_days": 1.0})
    shown = {"Authorization": f"Bearer {made['secret']}"}
    assert fleet.send("GET", f"{ROOT}/me", headers=shown).json()["name"] == "night"
    fleet.pass_time(86_401)
    assert fleet.send("GET", f"{ROOT}/me", headers=shown).status_code == 401
    other = fleet.done("POST", "/tokens", {"name": "day", "role": "admin"})
    shown = {"Authorization": f"Bearer {other['secret']}"}
    fleet.done("DELETE", f"/tokens/{other['token']['id']}")
    assert fleet.send("GET", f"{ROOT}/me", headers=shown).status_code == 401
    listed = {
        one["name"]: one["revoked_seconds"] is not None for one in fleet.done("GET", "/tokens")["items"]
    }
    assert listed["day"] is True
    assert listed["night"] is False
    assert fleet.ask("DELETE", "/tokens/0123456789ab").status_code == 404


def test_whether_the_server_lives_is_told_to_anybody(fleet: FleetOfTests) -> None:
    for endpoint in OPEN:
        assert fleet.send(*endpoint.split(" ")).json() == {"status": "ok", "leads": False}


def test_the_document_has_the_table() -> None:
    text = Path("docs/fleet.md").read_text()
    assert matrix_table() in text, "python -m host_tools.fleet.serve.roles prints it"
