"""Brokers that refuse, say nothing or are not there: each is our own error, with the address."""

from __future__ import annotations

import socket

import pytest

from device_agent.contract.errors import TransferError
from host_tools.review import listener
from host_tools.review.broker_address import parse_broker
from host_tools.review.listener import listen
from tests.unit.host_tools.review.canned_broker import NO_SUBSCRIPTION, NOT_AUTHORIZED, answering


def said(port: int) -> str:
    with (
        pytest.raises(TransferError) as caught,
        listen(parse_broker(f"mqtt://127.0.0.1:{port}"), root="ew/v1"),
    ):
        pass
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NOT_AUTHORIZED, "Not authorized"),
        (NO_SUBSCRIPTION, "it does not let this user subscribe to ew/v1/#"),
    ],
)
def test_a_broker_that_refuses(answer: bytes, reason: str) -> None:
    with answering(answer) as port:
        message = said(port)
    assert message.startswith(f"mqtt://127.0.0.1:{port}: refused: {reason}")


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_CONNECT_TIMEOUT_SECONDS", 0.3)
    with answering(b"") as port:
        message = said(port)
    assert message.startswith(f"mqtt://127.0.0.1:{port}: no answer for 0 s.")


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert said(port).startswith(f"mqtt://127.0.0.1:{port}: cannot connect: ")
