"""Enrolment: what a device and the certificate authority of its fleet say to each other; `claim_token` has what a device begins with.

All messages are JSON over HTTPS with a ``schema_version``; `docs/enrolment.md` has the protocol and what it defends against::

    GET  /v1/authority  ->  AuthorityAnswer     public; believed because its digest is in the token
    POST /v1/enrol      EnrolRequest -> Issued  the token is spent; the same request again gets the same certificate
    POST /v1/renew      RenewRequest -> Issued  signed by the key whose certificate is renewed
    GET  /v1/crl        ->  PEM                 certificates that are revoked

Whatever is refused is answered by a `Refusal`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from device_agent.contract.claim_token import SECRET
from device_agent.contract.document import read_document, write_document
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

_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{1,256}={0,2}")


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
        secret=fields.text("secret", pattern=SECRET),
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
