"""`BrokerAddress`: where a broker listens. `TlsFiles`: how to trust it, and how to be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  ingest hands these to its processes, and reads them by their types
from urllib.parse import unquote, urlsplit

from host_tools.errors import InputError

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Host, port (1 to 65535), TLS or not, and the user's name and password, if any; neither shows in text."""

    host: str
    port: int
    tls: bool
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files for TLS.

    Attributes:
        authority: Certificate of the authority that signed the broker's; None: those that the system trusts.
        certificate: The client's own certificate, for brokers that ask for one.
        key: Its private key; None when it stands in the same file.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_given(self) -> bool:
        """Whether any file was named."""
        return bool(self.authority or self.certificate or self.key)


def is_broker(text: str) -> bool:
    """Say whether a text is meant as a broker's address, not as a file's name."""
    return text.startswith(tuple(f"{scheme}://" for scheme in _PORTS))


def parse_broker(text: str) -> BrokerAddress:
    """Read ``mqtt://[user:password@]host[:port]`` or ``mqtts://…``; user and password are percent-encoded, as in any URL.

    Raises:
        InputError: It has another form. The message does not repeat the password.
    """
    shown = _without_password(text)
    try:
        parts = urlsplit(text)
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        raise InputError(
            f"broker: host or port of {shown!r} cannot be read.",
            hint="For example mqtt://localhost:1883. In a password, write @ as %40, / as %2F, : as %3A, % as %25.",
        ) from None  # the cause's message may hold a part of the password
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or not port:
        raise InputError(f"broker: expected mqtt://host:port or mqtts://host:port, got {shown!r}.")
    return BrokerAddress(
        host=parts.hostname,
        port=port,
        tls=parts.scheme == "mqtts",
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _without_password(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    return f"{scheme}{separator}…@{rest.rpartition('@')[2]}" if "@" in rest else text
