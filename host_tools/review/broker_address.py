"""`BrokerAddress`: where a broker listens."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from host_tools.errors import InputError

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Host, port (1 to 65535), TLS or not, and the user's name and password, if any."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def is_broker(text: str) -> bool:
    """Say whether a text is meant as a broker's address, not as a file's name."""
    return text.startswith(tuple(f"{scheme}://" for scheme in _PORTS))


def parse_broker(text: str) -> BrokerAddress:
    """Read ``mqtt://[user:password@]host[:port]`` or ``mqtts://…``.

    Raises:
        InputError: It has another form.
    """
    try:
        parts = urlsplit(text)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise InputError(f"broker: {text!r}: {error}.", hint="For example mqtt://localhost:1883.") from error
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise InputError(f"broker: expected mqtt://host:port or mqtts://host:port, got {text!r}.")
    return BrokerAddress(
        host=parts.hostname,
        port=port,
        tls=parts.scheme == "mqtts",
        username=parts.username,
        password=parts.password,
    )
