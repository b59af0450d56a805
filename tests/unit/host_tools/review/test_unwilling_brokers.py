"""Brokers that refuse, say nothing or are not there: each is our own error, with the address."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from device_agent.contract.errors import TransferError
from host_tools.errors import InputError
from host_tools.review import listener
from host_tools.review.broker_address import TlsFiles, parse_broker
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


@pytest.mark.parametrize(
    ("scheme", "files", "reason"),
    [
        ("mqtt", {"authority": "noise.pem"}, "mqtt://127.0.0.1:1: certificates are for TLS. Write mqtts://"),
        ("mqtts", {"key": "noise.pem"}, "noise.pem: a key is of no use without its certificate. Give --cert"),
        ("mqtts", {"authority": "absent.pem"}, "absent.pem: no such file."),
        ("mqtts", {"authority": "noise.pem"}, "noise.pem: cannot be used: "),
        ("mqtts", {"certificate": "noise.pem"}, "noise.pem: cannot be used: "),
    ],
)
def test_certificates_that_are_none(scheme: str, files: dict[str, str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "noise.pem").write_text("no certificate")
    tls = TlsFiles(**{name: tmp_path / file for name, file in files.items()})
    with (
        pytest.raises(InputError) as caught,
        listen(parse_broker(f"{scheme}://127.0.0.1:1"), root="ew/v1", tls=tls),
    ):
        pass
    assert reason in str(caught.value)
