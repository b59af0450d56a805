"""Enrolment: the claim token, and what a device and the certificate authority of its fleet say to each other.

All messages are JSON over HTTPS with a ``schema_version``; `docs/enrolment.md` has the protocol and what it defends against::

    GET  /v1/authority  ->  AuthorityAnswer     public; believed because its digest is in the token
    POST /v1/enrol      EnrolRequest -> Issued  the token is spent; the same request again gets the same certificate
    POST /v1/renew      RenewRequest -> Issued  signed by the key whose certificate is renewed
    GET  /v1/crl        ->  PEM                 certificates that are revoked

Whatever is refused is answered by a `Refusal`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args
from urllib.parse import urlsplit

from device_agent.contract.digest import checked_digest, digest_of
from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from device_agent.contract.topics import checked_device_id

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION: Final = "1.1"
"""1.1: the refusals `approval_pending` and `approval_refused`."""
AUTHORITY_PATH: Final = "/v1/authority"
ENROL_PATH: Final = "/v1/enrol"
RENEW_PATH: Final = "/v1/renew"
CRL_PATH: Final = "/v1/crl"
MAX_MESSAGE_BYTES: Final = 1 << 15
"""Longest request or answer but the list of revoked certificates; a real one has about 2 KiB."""
MAX_TOKEN_CHARACTERS: Final = 2_048
MAX_PEM_CHARACTERS: Final = 8_192

RefusalCode = Literal[
    "malformed",
    "token_unknown",
    "token_expired",
    "token_spent",
    "token_for_another_device",
    "device_enrolled",
    "approval_pending",
    "approval_refused",
    "request_unusable",
    "key_reused",
    "signature_wrong",
    "certificate_unknown",
    "certificate_expired",
    "certificate_revoked",
    "certificate_of_another_device",
    "no_such_path",
    "too_large",
    "failed",
]

_HEAD: Final = "ewt1"
_TOKEN: Final = re.compile(rf"{_HEAD}\.([A-Za-z0-9_-]+)\.([0-9a-f]{{8}})")
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 random bytes as base64url without padding."""
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{1,256}={0,2}")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityAnswer:
    """The authority's certificate, PEM."""

    authority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolRequest:
    """Ask for the first certificate: ``csr`` is a certificate signing request, PEM, whose common name is ``device``."""

    device: str
    secret: str
    csr: str

    def __repr__(self) -> str:
        return f"EnrolRequest(device={self.device!r}, secret=…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewRequest:
    """Ask for the next certificate.

    Attributes:
        certificate: The one that is renewed, PEM.
        csr: Request for a new key, PEM, with the same common name.
        signature: By the key of ``certificate`` over `renewal_statement`, base64.
    """

    certificate: str
    csr: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """The device's certificate, PEM."""

    certificate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why nothing was issued, and what to do next."""

    code: RefusalCode
    message: str
    hint: str = ""


def renewal_statement(csr: str) -> bytes:
    """Return what a `RenewRequest` signs: the request, under a heading, so that no other signature of the key can stand for it."""
    return b"edgewright renew 1\n" + csr.encode()


def claim_digest(secret: str) -> str:
    """Return the digest by which both sides remember a token's secret: the secret itself is kept by neither."""
    return digest_of(secret.encode())


def authority_digest(der: bytes) -> str:
    """Return the digest by which a token names the authority's certificate, given as DER."""
    return digest_of(der)


# --- the token ---


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
        secret=fields.text("secret", pattern=_SECRET),
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


# --- messages ---


def encode(message: AuthorityAnswer | EnrolRequest | RenewRequest | Issued | Refusal) -> bytes:
    """Write a message."""
    fields: dict[str, object] = {"schema_version": SCHEMA_VERSION}
    fields |= {name: getattr(message, name) for name in type(message).__slots__}
    return write_document(fields, where=type(message).__name__)


def decode_authority(data: bytes, *, where: str) -> AuthorityAnswer:
    """Read an `AuthorityAnswer`.

    Raises:
        ContractError: It is none.
    """
    return AuthorityAnswer(authority=_pem(_fields(data, where), "authority"))


def decode_enrol(data: bytes, *, where: str) -> EnrolRequest:
    """Read an `EnrolRequest`.

    Raises:
        ContractError: It is none.
    """
    fields = _fields(data, where)
    return EnrolRequest(
        device=checked_device_id(fields.text("device")),
        secret=fields.text("secret", pattern=_SECRET),
        csr=_pem(fields, "csr"),
    )


def decode_renew(data: bytes, *, where: str) -> RenewRequest:
    """Read a `RenewRequest`.

    Raises:
        ContractError: It is none.
    """
    fields = _fields(data, where)
    return RenewRequest(
        certificate=_pem(fields, "certificate"),
        csr=_pem(fields, "csr"),
        signature=fields.text("signature", pattern=_SIGNATURE),
    )


def decode_issued(data: bytes, *, where: str) -> Issued:
    """Read `Issued`.

    Raises:
        ContractError: It is none.
    """
    fields = _fields(data, where)
    return Issued(certificate=_pem(fields, "certificate"))


def decode_refusal(data: bytes, *, where: str) -> Refusal:
    """Read a `Refusal`; what is not printable in its texts is written out.

    Raises:
        ContractError: It is none.
    """
    fields = _fields(data, where)
    return Refusal(
        code=fields.choice("code", get_args(RefusalCode)),
        message=_shown(fields.text("message")),
        hint=_shown(fields.text("hint", empty=True)),
    )


def _fields(data: bytes, where: str) -> Fields:
    document: Mapping[str, object] = read_document(data, where=where, max_bytes=MAX_MESSAGE_BYTES)
    fields = Fields(document, where=where)
    fields.schema_version(SCHEMA_VERSION)
    return fields


def _pem(fields: Fields, key: str) -> str:
    text = fields.text(key, longest=MAX_PEM_CHARACTERS)
    if not text.isascii() or not text.startswith("-----BEGIN "):
        fields.refuse(key, "PEM", text)
    return text


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
