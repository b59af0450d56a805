"""Addresses of brokers: what is accepted, and that passwords stay secret."""

from __future__ import annotations

import pytest

from host_tools.errors import InputError
from host_tools.review.broker_address import is_broker, parse_broker


def test_broker_addresses() -> None:
    address = parse_broker("mqtts://me:secret@broker.example")
    assert (address.host, address.port, address.tls, address.username) == ("broker.example", 8883, True, "me")
    assert "secret" not in str(address) + repr(address)
    assert parse_broker("mqtt://localhost:2883").port == 2883
    assert str(parse_broker("mqtt://[::1]:1883")) == "mqtt://[::1]:1883"
    assert is_broker("mqtt://x")
    assert not is_broker("file.jsonl")


def test_user_and_password_are_percent_decoded() -> None:
    address = parse_broker("mqtt://a%40b:p%40s%2Fs%3A%25%C3%A4+@host")
    assert (address.username, address.password) == ("a@b", "p@s/s:%ä+")


@pytest.mark.parametrize(
    "text",
    ["localhost", "http://x", "mqtt://", "mqtt://x:99999999", "mqtt://x/path", "mqtt://x:0", "mqtt://[::1"],
)
def test_wrong_addresses_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="broker"):
        parse_broker(text)


@pytest.mark.parametrize(
    "text",
    ["mqtt://me:se/cret@host", "mqtt://me:secret@host/path", "mqtt://me:secret@host:x", "http://me:secret@h"],
)
def test_an_error_does_not_repeat_the_password(text: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_broker(text)
    assert "cret" not in str(raised.value)
