"""What the authority signs. Pure: keys and requests in, certificates out.

Source of fields and their meaning: RFC 5280.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from device_agent.contract.digest import digest_of
from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

BACKDATED: Final = timedelta(minutes=5)
"""Certificates begin so long before they are made: the clocks of a fleet are not one."""
UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What `cryptography` raises on bytes that are not what they should be."""
_CURVES: Final = ("secp256r1", "secp384r1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """A device's request, its signature checked.

    Attributes:
        names: Its common names; a good one has one.
        public_key: The key to certify.
        key_digest: Digest of that key.
    """

    names: tuple[str, ...]
    public_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
    key_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A certificate that the authority made.

    Attributes:
        pem: The certificate.
        serial: Serial number, lower hexadecimal.
        key_digest: Digest of the key that it certifies.
        not_after_seconds: Unix time until which it is valid.
    """

    pem: str
    serial: str
    key_digest: str
    not_after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A certificate that is valid no more, and since when."""

    serial: str
    revoked_seconds: float


class Signer:
    """The authority's key and certificate."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @property
    def pem(self) -> str:
        """The authority's certificate."""
        return _pem(self.certificate)

    @property
    def der(self) -> bytes:
        """The same, as the digest in a token sees it."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def key_pem(self) -> bytes:
        """Return the private key, PKCS #8 without a passphrase."""
        return private_pem(self._key)

    def certify_device(self, request: SigningRequest, *, device: str, lifetime: timedelta) -> Signed:
        """Certify a device as a client. Nothing but the key is taken from the request."""
        return self._certify(
            request.public_key,
            device,
            lifetime,
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
            None,
        )

    def certify_server(
        self, key: ec.EllipticCurvePrivateKey, *, names: Sequence[str], lifetime: timedelta
    ) -> Signed:
        """Certify a broker, repository or the authority's own server under host names and addresses."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return self._certify(key.public_key(), names[0][:64], lifetime, usage, alternative)

    def revocation_list(self, revoked: Sequence[Revoked], *, lifetime: timedelta) -> str:
        """Return the list of revoked certificates, PEM. Brokers refuse everybody once it is past its end: make it anew before."""
        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - BACKDATED)
            .next_update(now + lifetime)
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(one.serial, 16))
                .revocation_date(datetime.fromtimestamp(one.revoked_seconds, timezone.utc))
                .build()
            )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """Return whether the certificate is of this authority."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (*UNREADABLE, InvalidSignature):
            return False
        return True

    def _certify(
        self,
        key: PublicKeyTypes,
        name: str,
        lifetime: timedelta,
        usage: x509.ExtendedKeyUsage,
        alternative: x509.SubjectAlternativeName | None,
    ) -> Signed:
        now = datetime.now(timezone.utc)
        end = min(now + lifetime, self.certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(key)  # type: ignore[arg-type]  # the kinds that can be certified were chosen before
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - BACKDATED, self.certificate.not_valid_before_utc))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if alternative is not None:
            builder = builder.add_extension(alternative, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Signed(
            pem=_pem(certificate),
            serial=f"{certificate.serial_number:x}",
            key_digest=key_digest(key),
            not_after_seconds=certificate.not_valid_after_utc.timestamp(),
        )


def new_signer(*, name: str, lifetime: timedelta) -> Signer:
    """Make an authority: an EC P-256 key and a certificate that it has signed itself, for signing end entities only."""
    key = new_key()
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Signer(key, certificate)


def read_signer(key: bytes, certificate: bytes, *, where: str) -> Signer:
    """Read an authority's key and certificate, PEM.

    Raises:
        InputError: They are none, or do not belong together.
    """
    try:
        private = serialization.load_pem_private_key(key, password=None)
        public = x509.load_pem_x509_certificate(certificate)
        belongs = key_digest(private.public_key()) == key_digest(public.public_key())
    except UNREADABLE as error:
        raise InputError(f"{where}: ca.key or ca.crt cannot be read: {error}.") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not belongs:
        raise InputError(f"{where}: ca.key and ca.crt do not belong together.")
    return Signer(private, public)


def read_request(pem: str) -> SigningRequest:
    """Read a device's request.

    Raises:
        ValueError: It is none, its signature is wrong, or its key is of a kind that is not certified here; the message says which.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key, whole = request.public_key(), request.is_signature_valid
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except UNREADABLE as error:
        raise ValueError(f"not a certificate signing request: {error}") from error
    if not whole:
        raise ValueError("the request is not signed by the key that it names")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return SigningRequest(
            names=tuple(str(name.value) for name in names), public_key=key, key_digest=key_digest(key)
        )
    if isinstance(key, ed25519.Ed25519PublicKey):
        return SigningRequest(
            names=tuple(str(name.value) for name in names), public_key=key, key_digest=key_digest(key)
        )
    raise ValueError("expected a key of EC P-256, EC P-384 or Ed25519")


def read_certificate(pem: str) -> x509.Certificate:
    """Read a certificate.

    Raises:
        ValueError: It is none.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        certificate.public_key()
        _ = certificate.subject, certificate.not_valid_after_utc
    except UNREADABLE as error:
        raise ValueError(f"not a certificate: {error}") from error
    return certificate


def is_signed_by(certificate: x509.Certificate, signature: bytes, statement: bytes) -> bool:
    """Return whether the key of ``certificate`` has signed ``statement``."""
    key = certificate.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, statement, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, statement)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a private key, EC P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM, PKCS #8, without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_digest(key: PublicKeyTypes) -> str:
    """Return the digest of a public key."""
    return digest_of(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
