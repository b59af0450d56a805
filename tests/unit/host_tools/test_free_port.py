"""Ports for programs that are started: nobody has them, and the system gives them to nobody."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

import pytest

from host_tools import free_port as module
from host_tools.free_port import free_port

if TYPE_CHECKING:
    from pathlib import Path


def test_a_port_can_be_had_and_is_none_that_the_system_chooses() -> None:
    first = int(module._EPHEMERAL.read_text().split()[0])
    for _ in range(20):
        with socket.create_server(("127.0.0.1", free_port())) as taken:
            assert taken.getsockname()[1] < first or first <= module._FIRST_PORT


def test_two_sessions_with_the_same_seed_have_ports_of_their_own() -> None:
    def ports() -> list[int]:
        random.seed(1)
        return [free_port() for _ in range(5)]

    assert ports() != ports()


@pytest.mark.parametrize("told", ["1024\t65535\n", "", "many\tmore\n", None])
def test_where_the_system_chooses_from_all_ports_the_choice_is_its_own(
    told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ip_local_port_range"
    if told is not None:
        file.write_text(told)
    monkeypatch.setattr(module, "_EPHEMERAL", file)
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_a_port_that_is_taken_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EPHEMERAL", tmp_path / "range")
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(module, "_FIRST_PORT", port)
        (tmp_path / "range").write_text(f"{port + 1} 65535\n")
        assert free_port() != port
