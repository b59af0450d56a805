"""`ClaimToken`: one word with all that a device needs to get its first certificate: where, from whom, and a secret."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from device_agent.contract.digest import checked_digest, digest_of
from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from device_agent.contract.topics import checked_device_id

MAX_TOKEN_CHARACTERS: Final = 2_048
_HEAD: Final = "ewt1"
_TOKEN: Final = re.compile(rf"{_HEAD}\.([A-Za-z0-9_-]+)\.([0-9a-f]{{8}})")
SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 random bytes as base64url without padding."""
_LATEST_SECONDS: Final = 253_402_300_799.0  # the end of 9999, the last that a certificate can say


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimToken:
    """What lets one device have one certificate, once.

    Attributes:
        url: Where the authority answers, ``https://…``.
        authority: Digest of the authority's certificate (DER), by which the device knows the real one.
        secret: What only the holder of the token knows; never logged.
        device: The only device that may use it; empty: any whose id is not taken.
        expires_seconds: Unix time after which it is refused.
    """

    url: str
    authority: str
    secret: str
    device: str
    expires_seconds: float

    def __repr__(self) -> str:
        return f"ClaimToken(url={self.url!r}, device={self.device!r}, secret=…)"


def claim_digest(secret: str) -> str:
    """Return the digest by which both sides remember a token's secret: the secret itself is kept by neither."""
    return digest_of(secret.encode())


def authority_digest(der: bytes) -> str:
    """Return the digest by which a token names the authority's certificate, given as DER."""
    return digest_of(der)


def encode_token(token: ClaimToken) -> str:
    """Write a token as one word of letters, digits, ``.``, ``-`` and ``_``; it ends with a check of itself.

    Raises:
        ContractError: It could not be read back.
    """
    body = write_document(
        {
            "url": token.url,
            "authority": token.authority,
            "secret": token.secret,
            "device": token.device,
            "expires_seconds": token.expires_seconds,
        },
        where="token",
    )
    text = f"{_HEAD}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}.{_check(body)}"
    decode_token(text)
    return text


def decode_token(text: str) -> ClaimToken:
    """Read a token; white space around it does not matter. No message repeats any of it.

    Raises:
        ContractError: It is no whole token.
    """
    text = text.strip()
    match = _TOKEN.fullmatch(text) if len(text) <= MAX_TOKEN_CHARACTERS else None
    if match is None:
        got = f"{len(text)} others" if text else "nothing"
        raise ContractError(
            f"claim token: expected {_HEAD}.….… of at most {MAX_TOKEN_CHARACTERS} characters, got {got}.",
            hint="Copy the whole line that `edgewright ca token` printed.",
        )
    try:
        body = base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
    except (ValueError, binascii.Error):
        body = b""
    if _check(body) != match[2]:
        raise ContractError(
            "claim token: its last characters do not fit the rest: a part is missing or changed.",
            hint="Copy the whole line that `edgewright ca token` printed.",
        )
    fields = Fields(
        read_document(body, where="claim token", max_bytes=MAX_TOKEN_CHARACTERS), where="claim token"
    )
    device = fields.text("device", empty=True)
    if device:
        checked_device_id(device)
    url = fields.text("url")
    split_url(url)
    return ClaimToken(
        url=url,
        authority=checked_digest(fields.text("authority"), where="claim token: authority"),
        secret=fields.text("secret", pattern=SECRET),
        device=device,
        expires_seconds=fields.number("expires_seconds", low=0.0, high=_LATEST_SECONDS),
    )


def split_url(url: str) -> tuple[str, int, str]:
    """Return host, port and path prefix of the authority's address.

    Raises:
        ContractError: It is not ``https://HOST[:PORT][/PATH]``.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        host.encode("ascii")
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme != "https" or not host or not plain or not url.isascii() or not url.isprintable():
        raise ContractError(f"authority's address: expected https://HOST[:PORT][/PATH], got {url[:80]!a}.")
    return host, port, parts.path.rstrip("/")


def _check(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:8]
