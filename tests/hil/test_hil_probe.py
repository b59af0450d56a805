"""Whether this machine hears: the probe that `Telemetry` sends itself."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from device_agent.contract.topics import DEFAULT_ROOT
from hil.broker import Broker
from hil.link import Link
from hil.telemetry import Telemetry
from host_tools.review.broker_address import parse_broker
from host_tools.review.listener import listen

if TYPE_CHECKING:
    from pathlib import Path


def test_a_probe_that_comes_when_the_next_is_on_its_way_is_heard(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    with closing(Link(broker.port)) as link:
        address = parse_broker(f"mqtt://127.0.0.1:{link.port}")
        with listen(address, root=DEFAULT_ROOT) as listener:
            link.slow_down(1.0)
            Telemetry(broker, listener).wait_until_heard(seconds=20.0)
    broker.stop()
