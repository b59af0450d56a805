"""Keys, signing requests and certificates. The only file of the agent that knows `cryptography`; imported by the commands alone.

EC P-256 with SHA-256: every TLS stack of a broker takes it, and a key takes a small board milliseconds. Debian 12's version of the
library, 38, has no times with a zone (42 has) and does not check who issued a certificate (40 does): there both are done here.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import timezone
from typing import TYPE_CHECKING, Final, Literal

from device_agent.contract.claim_token import authority_digest
from device_agent.contract.enrolment import renewal_statement
from device_agent.contract.errors import ConfigError, TrustError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ModuleNotFoundError as error:
    raise ConfigError(
        f"this command needs the package {error.name!r}, which is not installed.",
        hint="pip install 'edgewright[enrol]'",
    ) from error

if TYPE_CHECKING:
    from datetime import datetime

UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What `cryptography` raises on bytes that are not what they should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """What a certificate says, as far as the device needs it.

    Attributes:
        serial: Serial number, lower hexadecimal.
        not_before_seconds: Unix time from which it is valid.
        not_after_seconds: Unix time until which it is.
    """

    serial: str
    not_before_seconds: float
    not_after_seconds: float


def make_key() -> bytes:
    """Make a private key; PEM, PKCS #8, without a passphrase, for a file that nobody else can read."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def is_key(pem: bytes) -> bool:
    """Return whether this is a whole private key as `make_key` makes them."""
    try:
        _private(pem)
    except TrustError:
        return False
    return True


def signing_request(key: bytes, *, device: str) -> str:
    """Return a certificate signing request, PEM, whose common name is the device's id."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(_private(key), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def renewal_signature(key: bytes, *, csr: str) -> str:
    """Sign a renewal's request by the key that is certified already; base64."""
    signature = _private(key).sign(renewal_statement(csr), ec.ECDSA(hashes.SHA256()))
    return base64.b64encode(signature).decode()


def pinned_authority(pem: str, *, digest: str) -> Certified:
    """Return what the authority's certificate says, if it is the one that ``digest`` names.

    Raises:
        TrustError: It is another's, no certificate, or not one of an authority.
    """
    certificate = _certificate(pem, what="the authority's certificate")
    found = authority_digest(certificate.public_bytes(serialization.Encoding.DER))
    if found != digest:
        raise TrustError(
            f"the server's authority is {found}; the token names {digest}.",
            hint="Is it the right server? If so somebody stands between: do not go on. Otherwise ask for a new token.",
        )
    if not _is_authority(certificate):
        raise TrustError("the certificate that the token names is not one of an authority.")
    return _certified(certificate)


def checked_certificate(pem: str, *, key: bytes, device: str, authority: str) -> Certified:
    """Return what an issued certificate says, if it is the one that was asked for.

    Args:
        pem: The certificate.
        key: The key that it must be for.
        device: The id that it must name.
        authority: The authority's certificate, PEM, that must have signed it.

    Raises:
        TrustError: It is for another key, another device, of another authority, not for clients, or no certificate.
    """
    certificate = _certificate(pem, what="the issued certificate")
    if _spki(certificate.public_key()) != _spki(_private(key).public_key()):
        raise TrustError("the issued certificate is for another key than the one that was sent.")
    names = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [device]:
        raise TrustError(f"the issued certificate is for {', '.join(map(repr, names))}, not for {device!r}.")
    try:
        require_issued_by(certificate, _certificate(authority, what="the authority's certificate"))
    except (*UNREADABLE, InvalidSignature) as error:
        raise TrustError("the issued certificate was not signed by the fleet's authority.") from error
    if _is_authority(certificate) or not _is_for_clients(certificate):
        raise TrustError("the issued certificate is not one for a client of TLS.")
    return _certified(certificate)


def require_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> None:
    """Hold a certificate against the one of the authority that must have signed it.

    Raises:
        ValueError: Its issuer is another, or the authority's key is no EC key.
        InvalidSignature: The signature is not the authority's.
    """
    if hasattr(certificate, "verify_directly_issued_by"):
        certificate.verify_directly_issued_by(authority)
        return
    require_signed_by(certificate, authority)


def require_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> None:
    """The same, where the library does not do it: the issuer's name, then the signature. See `require_issued_by`."""
    key, digest = authority.public_key(), certificate.signature_hash_algorithm
    if certificate.issuer != authority.subject:
        raise ValueError("the issuer is another")
    if not isinstance(key, ec.EllipticCurvePublicKey) or digest is None:
        raise ValueError("the authority's key is no EC key")
    key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(digest))


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except UNREADABLE as error:
        raise TrustError(
            f"the device's key cannot be read: {type(error).__name__}.",
            hint="Enrol anew: edgewright-agent enrol --replace with a new token.",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise TrustError("the device's key is not an EC P-256 key.")
    return key


def _certificate(pem: str, *, what: str) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        _ = certificate.subject, certificate.extensions, _seconds(certificate, "not_valid_after")
        certificate.public_key()
    except UNREADABLE as error:
        raise TrustError(f"{what} cannot be read: {error}.") from error
    return certificate


def _certified(certificate: x509.Certificate) -> Certified:
    return Certified(
        serial=f"{certificate.serial_number:x}",
        not_before_seconds=_seconds(certificate, "not_valid_before"),
        not_after_seconds=_seconds(certificate, "not_valid_after"),
    )


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _spki(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined,no-any-return]  # every public key of a certificate has it
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _seconds(certificate: x509.Certificate, moment: Literal["not_valid_before", "not_valid_after"]) -> float:
    found: datetime | None = getattr(certificate, f"{moment}_utc", None)
    if found is None:
        found = getattr(certificate, moment).replace(tzinfo=timezone.utc)
    return found.timestamp()
