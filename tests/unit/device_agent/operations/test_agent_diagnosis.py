from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from device_agent.check.disk import look_at_spool
from device_agent.config import parse_config
from device_agent.config.paths import socket_path
from device_agent.operations.diagnosis import Finding, diagnose
from device_agent.operations.status_socket import StatusServer

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = '[device]\nid = "d"\n[artifact]\npath = "a.ewa"\n[spool]\npath = "{}"\n'


def disk_of(folder: Path, spool: str) -> Finding:
    config = parse_config(CONFIG.format(spool).encode(), origin="agent.toml", folder=folder)
    (found,) = (one for one in diagnose(config) if one.name == "disk")
    return found


@pytest.mark.parametrize("spool", ["spool.db", "not/yet/spool.db"])
def test_a_folder_that_run_makes_by_itself_is_no_fault(tmp_path: Path, spool: str) -> None:
    found = disk_of(tmp_path, spool)
    assert found.verdict in ("ok", "warning")  # the second where this machine has hardly any room
    assert "MiB free" in found.text
    assert ("will be made" in found.text) == (spool != "spool.db")
    assert list(tmp_path.iterdir()) == [], "it changes nothing"


@pytest.mark.parametrize(("on_disk", "full"), [(True, "6 % full"), (False, "100 % full")])
def test_a_spool_in_memory_is_held_against_its_own_bound(tmp_path: Path, on_disk: bool, full: str) -> None:
    config = parse_config(CONFIG.format("spool.db").encode(), origin="agent.toml", folder=tmp_path)
    stranded = 0 if on_disk else 261
    spool = {
        "messages": 9, "bytes": 4 << 20, "dropped_total": 0, "on_disk": on_disk, "stranded_messages": stranded
    }  # fmt: skip
    status = {"agent": {"pid": 1, "phase": "running"}, "health": {"status": "up"}, "spool": spool}
    server = StatusServer(socket_path(config), lambda answers: answers.put(status))
    try:
        (found,) = (one for one in diagnose(config) if one.name == "spool")
    finally:
        server.close()
    assert full in found.text
    assert found.text.endswith("0 lost in this run" if on_disk else "cannot be written; 261 more lie there")
    assert found.verdict == ("ok" if on_disk else "warning")


def test_a_disk_that_has_less_room_than_the_spool_may_take_is_told(tmp_path: Path) -> None:
    config = parse_config(
        CONFIG.format("spool.db").encode() + b"max_bytes = 1099511627776", origin="t", folder=tmp_path
    )
    (found,) = (one for one in diagnose(config) if one.name == "disk")
    assert found.verdict == "warning"
    assert found.text.endswith(" MiB free, and the spool may take 1048577 MiB more")
    told, problem = look_at_spool(config)
    assert problem is None, "it may never come to that"
    assert str(told["room"]).endswith(f"the spool may take 1048577 MiB more. {found.cure}")
    assert "lower spool.max_bytes" in found.cure
    with (tmp_path / "spool.db").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it has taken its room already
    (tmp_path / "spool.db-wal").write_bytes(bytes(1 << 20))
    (found,) = (one for one in diagnose(config) if one.name == "disk")
    assert (found.verdict, found.cure) == ("ok", "")
    assert str(look_at_spool(config)[0]["room"]).endswith(" MiB free")


def test_a_folder_that_cannot_be_made_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = disk_of(tmp_path, "file/state/spool.db")
    assert (found.verdict, found.text) == (
        "error",
        f"{tmp_path}/file/state: {tmp_path}/file is no folder",
    )
    assert "Set spool.path to a file in a folder" in found.cure
