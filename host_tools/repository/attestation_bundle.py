"""Attestations in a file: signed DSSE envelopes, one a line (``.intoto.jsonl``). Nothing is read of one before its signature holds."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError as UnverifiedError
from securesystemslib.signer import Signature, SSlibKey

from device_agent.contract.document import read_document
from device_agent.contract.errors import ContractError, TrustError
from device_agent.contract.fields import Fields
from host_tools.errors import InputError
from host_tools.repository.attestation import MAX_BYTES, decode_statement, encode_statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securesystemslib.signer import Key, Signer

    from host_tools.repository.attestation import Attestation

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
SUFFIX: Final = ".intoto.jsonl"
_MAX_FILE_BYTES: Final = 1 << 26
_MAX_SIGNATURES: Final = 16
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedKey:
    """A public key, and the file that it is known by."""

    name: str
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAttestation:
    """An attestation whose signature holds, and its line of the file."""

    attestation: Attestation
    line: bytes


def read_public_key(path: Path) -> NamedKey:
    """Read a public key: PEM, Ed25519, ECDSA or RSA.

    Raises:
        InputError: It is none, or cannot be read.
    """
    try:
        return NamedKey(name=path.name, key=SSlibKey.from_crypto(load_pem_public_key(path.read_bytes())))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: is no public key that can be read: {error}.",
            hint="`edgewright hil key` writes one beside the private key, with the ending .pub.",
        ) from error


def public_pem(key: Key) -> bytes:
    """Return a public key as PEM, as `read_public_key` takes it."""
    public: str = key.keyval["public"]
    if key.keytype != "ed25519":
        return public.encode()
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )


def sign(attestation: Attestation, signer: Signer) -> bytes:
    """Return a signed attestation as one line of a bundle.

    Raises:
        ContractError: A text cannot be written as JSON.
    """
    envelope = Envelope(encode_statement(attestation), PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), separators=(",", ":")).encode() + b"\n"


def read_bundle(path: Path, keys: Sequence[NamedKey]) -> list[SignedAttestation]:
    """Return the attestations of a file, each of them signed by one of ``keys``.

    Raises:
        InputError: It cannot be read, or holds none.
        ContractError: A line is no envelope, or its statement no test result of ours.
        TrustError: A signature is by another key, or does not hold.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror or error}.",
            hint="`edgewright hil gate` writes attestations.",
        ) from error
    if len(data) > _MAX_FILE_BYTES:
        raise InputError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes, got more.")
    lines = [(number, line) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    if not lines:
        raise InputError(f"{path}: holds no attestation.", hint="Write it anew with `edgewright hil gate`.")
    return [
        SignedAttestation(
            attestation=_verified(line, keys, where=f"{path.name}:{number}"), line=line.strip() + b"\n"
        )
        for number, line in lines
    ]


def _verified(line: bytes, keys: Sequence[NamedKey], *, where: str) -> Attestation:
    envelope = _envelope(line, where=where)
    known = [one.key for one in keys if one.key.keyid in envelope.signatures]
    if not known:
        signed = ", ".join(keyid[:_SHOWN] for keyid in envelope.signatures)
        trusted = ", ".join(f"{one.name} ({one.key.keyid[:_SHOWN]})" for one in keys)
        raise TrustError(
            f"{where}: is signed by {signed}, and not by {trusted}.",
            hint="Name the key that the gate signed with: --attestation-key FILE.pub.",
        )
    try:
        envelope.verify(known, 1)
    except UnverifiedError as error:
        raise TrustError(
            f"{where}: its signature does not hold: the file was changed after it was signed.",
            hint="Take the file as the gate wrote it, or run the gate anew.",
        ) from error
    return decode_statement(envelope.payload, where=where)


def _envelope(line: bytes, *, where: str) -> Envelope:
    fields = Fields(read_document(line, where=where, max_bytes=2 * MAX_BYTES), where=where)
    fields.choice("payloadType", (PAYLOAD_TYPE,))
    signatures = {}
    for one in fields.children("signatures", least=1, most=_MAX_SIGNATURES):
        keyid = one.text("keyid")
        signatures[keyid] = Signature(keyid, _base64(one, "sig", longest=MAX_BYTES, where=where).hex())
    return Envelope(_base64(fields, "payload", longest=2 * MAX_BYTES, where=where), PAYLOAD_TYPE, signatures)


def _base64(fields: Fields, key: str, *, longest: int, where: str) -> bytes:
    try:
        return base64.b64decode(fields.text(key, longest=longest), validate=True)
    except ValueError as error:
        raise ContractError(f"{where}: {key}: expected base64: {error}.") from error
