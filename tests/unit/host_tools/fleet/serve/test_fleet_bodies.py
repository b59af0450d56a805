"""Bodies that are none: each is refused with what it should have been."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests


@pytest.mark.parametrize(
    ("kind", "body", "status", "code", "expected"),
    [
        ("text/plain", b'{"name": "lab"}', 415, "media_type", "Content-Type: application/json"),
        ("multipart/form-data; boundary=x", b"--x", 415, "media_type", "Content-Type: application/json"),
        ("application/json", b"{", 400, "malformed", "JSON decode error"),
        ("application/json", b"[" * 100_000, 400, "malformed", "JSON of a few levels, in UTF-8"),
        ("application/json", b"NaN", 422, "invalid", "valid dictionary"),
        ("text/plain", b"", 422, "invalid", "Field required"),
        ("application/json; charset=utf-8", b'{"name": "lab"}', 201, "", ""),
        ("application/problem+json", b'{"name": "lab"}', 201, "", ""),
    ],
)
def test_a_body_that_is_none_is_refused_with_what_it_should_have_been(
    fleet: FleetOfTests, kind: str, body: bytes, status: int, code: str, expected: str
) -> None:
    answer = fleet.ask("POST", "/groups", content=body, headers={"content-type": kind})
    told = answer.json()
    assert (answer.status_code, told.get("code", "")) == (status, code), told
    assert expected in told.get("expected", "")
