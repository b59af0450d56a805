"""TLS as a client: the files, the context made of them, and what a failed handshake means in words that name the next step."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from device_agent.contract.errors import ConfigError
from device_agent.contract.regular_file import require_regular_file

_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_AUTHORITY: Final = (2, 18, 19, 20, 21)
_REVOKED: Final = 23
_WRONG_PURPOSE: Final = 26
_WRONG_NAME: Final = (62, 64)
"""OpenSSL's X509_V_ERR_… numbers. Source: openssl/x509_vfy.h, version 3.0."""

_ALERTS: Final = {
    "CERTIFICATE_EXPIRED": "{peer} refuses our certificate: it has expired, or one of the two clocks is wrong. "
    "Renew it: edgewright-agent renew; where that is refused, enrol with a new token",
    "CERTIFICATE_REVOKED": "{peer} refuses our certificate: it was revoked. Ask the fleet's operator why, and enrol with a new token",
    "UNKNOWN_CA": "{peer} refuses our certificate: it is of an authority that {peer} does not know. "
    "Enrol at this fleet's authority, or give {peer} that authority's certificate",
    "CERTIFICATE_REQUIRED": "{peer} asks for a certificate and we showed none. Enrol (identity.folder), or set mqtt.tls_cert and tls_key",
    "BAD_CERTIFICATE": "{peer} refuses our certificate as damaged or not for this use. Enrol with a new token",
    "CERTIFICATE_UNKNOWN": "{peer} refuses our certificate and does not say why; its log does",
    "UNSUPPORTED_CERTIFICATE": "{peer} refuses our certificate: it is not one for clients. Enrol with a new token",
    "ACCESS_DENIED": "{peer} refuses our certificate; its log says why",
    "PROTOCOL_VERSION": "{peer} speaks no TLS 1.2 or newer, which is the least here. Update it, or let it (tls_version)",
    "HANDSHAKE_FAILURE": "{peer} and this device agree on no cipher, or it wants a certificate and we showed none",
}
"""A TLS alert's name to what it says here."""
_REASONS: Final = {
    "UNSUPPORTED_PROTOCOL": _ALERTS["PROTOCOL_VERSION"],
    "WRONG_VERSION_NUMBER": "{peer} does not speak TLS on this port. Is it the right port?",
    "UNEXPECTED_EOF_WHILE_READING": "{peer} ended the connection in the middle of TLS; its log may say why",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Certificate authorities, and the device's own certificate and key or neither.

    ``server_name`` is what the server's certificate must name where that is not the host that is called.
    """

    ca: Path
    cert: Path | None
    key: Path | None
    server_name: str | None = None


class _NamedContext(ssl.SSLContext):
    """Holds the server to a name of its own, whatever host the caller of `wrap_socket` has called."""

    server_name: str | None = None

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        if self.server_name is not None:
            options["server_hostname"] = self.server_name
        return super().wrap_socket(*arguments, **options)


def client_context(files: TlsFiles, *, section: str = "mqtt") -> ssl.SSLContext:
    """Return what checks the server's certificate and name, and shows the device's own certificate. TLS 1.2 or newer.

    Raises:
        ConfigError: A file cannot be used.
    """
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.server_name = files.server_name
    try:
        require_regular_file(files.ca)  # OpenSSL would wait for a named pipe
        context.load_verify_locations(cafile=files.ca)
        if files.cert is not None:
            # Renewal moves the link that leads to both: where they are is found out once, so that they belong together.
            folder = Path(os.path.realpath(files.cert.parent))
            key = files.key
            if key is not None and key.parent == files.cert.parent:
                key = folder / key.name
            for file in (folder / files.cert.name, *([] if key is None else [key])):
                require_regular_file(file)
            # A password is given so that OpenSSL never asks for one at a terminal; there is none to give.
            context.load_cert_chain(folder / files.cert.name, key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"{section}.tls_ca {files.ca}, tls_cert {files.cert}, tls_key {files.key}: cannot be used: {error}.",
            hint="Each must be a readable PEM file, the key without a passphrase; see docs/agent.md.",
        ) from error
    return context


def is_clock_problem(error: OSError) -> bool:
    """Return whether the server's certificate was refused for its dates: it may be the clock of this device that is wrong."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in (_NOT_YET_VALID, _EXPIRED)


def problem_text(error: OSError, *, peer: str, wall_seconds: float) -> str:
    """Return why a connection failed, and the next step where TLS is the reason.

    Args:
        error: What was raised.
        peer: The server, e.g. ``broker.example:8883``.
        wall_seconds: This device's clock, Unix time.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{peer}: {_unverified(error, wall_seconds)} (certificate verify failed: {error.verify_message.rstrip('.')})."
    if isinstance(error, ssl.SSLError):
        reason = "UNEXPECTED_EOF_WHILE_READING" if isinstance(error, ssl.SSLEOFError) else error.reason or ""
        said = _REASONS.get(reason) or _ALERTS.get(reason.partition("ALERT_")[2])
        if said:
            return f"{said.format(peer=peer)} ({reason})."
    return f"{peer}: {error.strerror or error}"


def _unverified(error: ssl.SSLCertVerificationError, wall_seconds: float) -> str:
    code = error.verify_code
    today = datetime.fromtimestamp(wall_seconds, tz=timezone.utc).isoformat(" ", "seconds")
    if code in (_NOT_YET_VALID, _EXPIRED):
        kind = "has expired" if code == _EXPIRED else "is not valid yet"
        return f"the server's certificate {kind} by this device's clock, {today}. Set the clock, or give the server a new certificate"
    if code in _UNKNOWN_AUTHORITY:
        return "the server's certificate is not of the authority that is trusted here. Is it the right server and the right authority file?"
    if code in _WRONG_NAME:
        return (
            "the server's certificate does not name the host that was called. "
            "Call it by a name it has, or for the broker set mqtt.tls_server_name to one"
        )
    if code == _REVOKED:
        return "the server's certificate was revoked. Do not connect; ask the fleet's operator"
    if code == _WRONG_PURPOSE:
        return "the server's certificate is not one for servers: it may be a device that poses as one"
    return "the server's certificate cannot be trusted"
