"""Who may open a store when: the page beside ingest, from an agent to a browser's question, and what is told where it cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from host_tools.cli.main import main
from host_tools.errors import InputError, StoreError
from host_tools.free_port import free_port
from host_tools.review.serve.exposure import exposure_warning
from host_tools.review.serve.server import serving
from host_tools.review.store.opening import open_store
from tests.integration import review_fleet
from tests.integration.support import (
    AgentProcess,
    Mosquitto,
    null_artifact,
    wait_until,
    write_config,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@contextmanager
def edgewright(*arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "host_tools", *arguments],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=120)


def fleet_of(address: str) -> Any:
    try:
        with urllib.request.urlopen(f"{address}api/fleet?range=1h", timeout=30) as answer:
            return json.load(answer)
    except OSError:
        return None


@pytest.mark.slow
def test_the_page_shows_what_an_agent_says_while_it_is_written(
    mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mosquitto.start()
    store, port, log = tmp_path / "fleet.duckdb", free_port(), tmp_path / "ingest.log"
    arguments = ["--broker", f"mqtt://127.0.0.1:{mosquitto.port}", "--store", str(store), "--page", str(port)]
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    address = f"http://127.0.0.1:{port}/"
    with edgewright("ingest", *arguments, "--roll-up-every", "0.5", log=log), AgentProcess(config):

        def seen() -> Any:
            fleet = fleet_of(address)
            return fleet if fleet and fleet["total"]["inferences"] > 0 and fleet["statuses"] else None

        fleet = wait_until(seen, what="inferences and a status on the page")
        assert fleet["statuses"] == {"up": 1}
        assert fleet["total"]["latency_p50"] > 0
        more = fleet["total"]["inferences"]
        wait_until(lambda: (fleet_of(address) or fleet)["total"]["inferences"] > more, what="more of them")
        assert main(["review", "weekly", "--store", str(store)]) == 7
        error = capsys.readouterr().err
        assert "lock on file" in error
        assert "--page" in error
    assert "Traceback" not in log.read_text()
    assert main(["review", "export", "--store", str(store), "--devices", str(tmp_path / "devices.csv")]) == 0
    assert "dev-1" in (tmp_path / "devices.csv").read_text()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("store") / "fleet.duckdb")
    store = open_store(path)
    for batch in review_fleet.batches(devices=2, windows=5):
        store.write(batch)
    store.roll_up()
    store.close()
    return path


def test_the_command_serves_until_it_is_interrupted(path: str, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "serve.log"
    with edgewright("review", "serve", "--store", path, "--port", str(port), log=log) as process:
        fleet = wait_until(lambda: fleet_of(f"http://127.0.0.1:{port}/"), what="the page")
        assert fleet["total"]["inferences"] == 2 * 5 * 100
        with pytest.raises(StoreError, match=f"PID {process.pid}"):
            open_store(path)
        second = open_store(path, read_only=True)
        assert len(second.devices()) == 2, "several may read"
        second.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0
    assert f"http://127.0.0.1:{port}/" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_store_that_is_only_read_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", "weekly", "--store", str(tmp_path / "typo.duckdb")]) == 7
    assert "there is no such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_windows_that_are_not_made_yet_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "fleet.duckdb")
    store = open_store(path)
    for batch in review_fleet.batches(devices=2):
        store.write(batch)
    assert store.unmade_since() == review_fleet.START - 10.0, "the runs began in the window before"
    store.close()
    main(["review", "weekly", "--store", path])
    warning = "not all windows from 2026-08-02 23:59 UTC on are made, so figures lack messages"
    assert warning in capsys.readouterr().err
    store = open_store(path)
    store.roll_up()
    assert store.unmade_since() is None
    store.close()
    main(["review", "weekly", "--store", path])
    assert capsys.readouterr().err == ""


def test_a_port_that_is_taken_and_a_host_that_is_not_ours_are_told(path: str) -> None:
    store = open_store(path, read_only=True)
    with serving(store) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        with pytest.raises(InputError, match="cannot listen there"), serving(store, port=port):
            pass
    with pytest.raises(InputError, match="--host"), serving(store, host="no such host"):
        pass
    store.close()


def test_opening_the_page_to_others_is_warned_of() -> None:
    assert "may read everything" in exposure_warning("0.0.0.0", None)
    assert "in the clear" in exposure_warning("0.0.0.0", "token")
