"""Bodies that are none: each is refused with what it should have been."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from host_tools.fleet.serve.patterns import IN_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("GET", "/devices?group=a%20b", None, "query.group: expected 1 to 64 letters, digits, _ and -."),
        ("DELETE", "/tokens/x", None, "path.token: expected 12 digits from 0 to f, in lower case."),
        ("POST", "/groups", {"name": "a b"}, "body.name: expected 1 to 64 letters, digits, _ and -."),
        ("POST", "/groups", {"name": "x" * 65}, "body.name: expected 1 to 64 letters, digits, _ and -."),
    ],
)
def test_a_text_that_looks_otherwise_is_refused_in_words(
    fleet: FleetOfTests, method: str, path: str, body: object, says: str
) -> None:
    answer = fleet.ask(method, path, body)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert "^" not in answer.text


def test_every_pattern_of_the_description_has_words(fleet: FleetOfTests) -> None:
    found = set(_patterns(fleet.ask("GET", "/openapi.json").json()))
    assert len(found) > 10
    assert found <= set(IN_WORDS)


def _patterns(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("pattern"), str):
            yield part["pattern"]
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _patterns(one)
