"""`edgewright ingest` before anything is started: what it is told wrongly, and how it says so."""

from __future__ import annotations

from dataclasses import fields

import pytest

from host_tools.cli.ingest import LIMITS
from host_tools.cli.main import main
from host_tools.review.store.limits import Limits

GOOD = {"--broker": "mqtt://localhost", "--store": "t.duckdb"}


def arguments(**changes: str) -> list[str]:
    options = GOOD | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return ["ingest", *(part for pair in options.items() for part in pair)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"workers": "0"}, "whole number of at least 1"),
        ({"workers": "65"}, "at most 64"),
        ({"unacknowledged": "65536"}, "at most 65535"),
        ({"metrics": "70000"}, "65535"),
        ({"name": "a/b"}, "letters, digits"),
        ({"name": ""}, "letters, digits"),
        ({"roll_up_every": "0"}, "above 0"),
        ({"store_memory": "5"}, "at least 128"),
        ({"limit": "device=5"}, "expected one of devices, artifacts"),
        ({"limit": "holes"}, "whole number of at least 1, got ''"),
        ({"limit": "holes=0"}, "whole number of at least 1, got '0'"),
        ({"page_token": ""}, "a token of visible ASCII characters, at least one"),
        ({"page_token": "two words"}, "a token of visible ASCII characters"),
        ({"page_token": "schlüssel"}, "a token of visible ASCII characters"),
    ],
)
def test_wrong_numbers_and_names_are_refused_by_the_parser(
    changes: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments(**changes))
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"broker": "localhost"}, "expected mqtt://host:port"),
        ({"root": "a//b"}, "topic root: expected"),
        ({"broker": "mqtt://me:se@cret@host:x"}, "cannot be read"),
    ],
)
def test_wrong_addresses_and_roots_are_told_in_a_line(
    changes: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(**changes)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("edgewright: ")
    assert "cret" not in error


def test_every_limit_of_a_store_can_be_told() -> None:
    assert {name.replace("-", "_") for name in LIMITS} == {field.name for field in fields(Limits)}


def test_a_server_makes_its_own_backups(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(store="clickhouse://localhost/fleet", backup="copies")) == 2
    assert "--backup: expected a DuckDB file" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ingest", "--help"])
    assert "edgewright ingest --broker mqtt://localhost --store telemetry.duckdb" in capsys.readouterr().out
