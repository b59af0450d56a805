"""A board without an identity gets one from an authority of this machine, over TLS; its key never leaves it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from hil.agent_config import default_tables, encode
from host_tools.authority.folder import create_authority
from host_tools.authority.server import listen
from host_tools.authority.service import EnrolmentService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.agent import Agent
    from hil.protocols import Completed
    from host_tools.authority.folder import AuthorityFolder

DAY = timedelta(days=1)
POLL_SECONDS = 0.05


@pytest.fixture
def authority(agent: Agent, tmp_path: Path) -> Iterator[tuple[AuthorityFolder, int]]:
    """Serve an authority; return it, and its port on this machine."""
    folder = create_authority(tmp_path / "authority", name="bench", lifetime=DAY)
    service = EnrolmentService(folder, device_lifetime=DAY, list_lifetime=DAY)
    names = (agent.rig.network.host,)
    with listen(folder, service, host="127.0.0.1", port=0, names=names, lifetime=DAY) as server:
        thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,))
        thread.start()
        yield folder, server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.needs("network")
def test_a_board_enrols_once_and_is_told_so_when_it_asks_again(
    agent: Agent, authority: tuple[AuthorityFolder, int]
) -> None:
    rig = agent.rig
    if rig.shell.run([rig.agent_command[0], "-c", "import cryptography"]).status != 0:
        pytest.skip("the board's Python has no cryptography: pip install 'edgewright[enrol]'")
    folder, port = authority
    url = f"https://{rig.network.host}:{rig.network.reach(port)}"
    token = agent.send("token", folder.token(url=url, device=agent.device, lifetime=DAY).encode())
    tables = default_tables(rig, device=agent.device, folder=agent.folder, broker_port=None)
    config = agent.send("enrol.toml", encode(tables | {"identity": {"folder": f"{agent.folder}/identity"}}))

    def enrol() -> Completed:
        environment = [f"{name}={value}" for name, value in rig.environment.items()]
        command = [*rig.agent_command, "enrol", "--config", config, "--token-file", token]
        return rig.shell.run(["env", *environment, *command])

    first = enrol()
    assert first.status == 0, first.stderr.decode()
    assert f"{agent.device} enrolled: certificate" in first.stdout.decode()
    with folder.register.transaction() as book:
        (entry,) = book.certificates(agent.device)
    assert entry.serial in first.stdout.decode()
    key = f"{agent.folder}/identity/current/device.key"
    assert rig.shell.run(["stat", "-c", "%a", key]).stdout.strip() == b"600"
    again = enrol()
    assert again.status == 0, again.stderr.decode()
    assert "was enrolled already" in again.stdout.decode()
