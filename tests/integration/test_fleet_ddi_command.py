"""`edgewright fleet serve --ddi` and the tokens of devices, as a user has them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from host_tools.cli.fleet_server import FleetServer
from host_tools.cli.main import main
from host_tools.fleet.outside import NoField
from host_tools.fleet.serve.server import serving
from host_tools.fleet.service import FleetService
from host_tools.fleet.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def options(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """A server, and the arguments that name it and its admin's token."""
    database, token = str(tmp_path / "fleet.db"), tmp_path / "token"
    assert main(["fleet", "token", "create", "--database", database, "--name", "ada", "--role", "admin"]) == 0
    token.write_text(capfd.readouterr().out)
    store = open_store(database)
    with serving(FleetService(store, NoField()), host="127.0.0.1", port=0) as address:
        server = FleetServer(argparse.Namespace(server=address, token_file=str(token), ca=None))
        server.ask("POST", "/groups", {"name": "lab"})
        server.ask("POST", "/devices", {"id": "gate-8", "group": "lab"})
        yield ["--server", address, "--token-file", str(token)]
    store.close()


@pytest.mark.parametrize(
    "command", [["devices", "target-token", "gate-8"], ["groups", "gateway-token", "lab"]]
)
def test_a_token_is_told_once_and_taken_back(
    options: list[str], command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert main(["fleet", *command, *options]) == 0
    secret = capfd.readouterr().out.strip()
    assert secret.startswith("ewd_")
    assert len(secret) > 40
    assert main(["fleet", *command, "--revoke", *options]) == 0
    assert "its token is taken back" in capfd.readouterr().out
    assert main(["fleet", *command, "--revoke", *options]) == 2
    assert "it has no " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "devices download from the repository: --repository and --keys are missing"),
        (["--ddi-poll", "0.5"], "expected 1 to 86399"),
        (["--ddi-poll", "86400"], "expected 1 to 86399"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(
    tmp_path: Path, more: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["fleet", "serve", "--database", str(tmp_path / "fleet.db"), "--port", "0", "--ddi", *more]
    try:
        status = main(command)
    except SystemExit as error:  # argparse
        status = int(str(error.code))
    assert status == 2
    assert told in capfd.readouterr().err
