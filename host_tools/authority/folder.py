"""`AuthorityFolder`: an authority on disk, and what an operator does with it: tokens, servers' certificates, revocation."""

from __future__ import annotations

import secrets
from time import time
from typing import TYPE_CHECKING, Final

from device_agent.contract.claim_token import ClaimToken, authority_digest, claim_digest, encode_token
from device_agent.contract.errors import ContractError
from device_agent.durable import write_durably
from host_tools.authority.certificates import (
    Revoked,
    Signer,
    new_key,
    new_signer,
    private_pem,
    read_signer,
)
from host_tools.authority.register import Claim, Entry, Register
from host_tools.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta
    from pathlib import Path

_KEY: Final = "ca.key"
_CERTIFICATE: Final = "ca.crt"
_REGISTER: Final = "ca.db"
OWNER_ONLY: Final = 0o600
"""Permissions of a private key."""
_MOST_NAME: Final = 64
"""Longest common name. Source: RFC 5280, appendix A.1, ub-common-name."""


class AuthorityFolder:
    """An authority that was made by `create_authority`.

    Args:
        path: Its folder.
        wall_seconds: Unix time.

    Raises:
        InputError: There is none, or it is damaged.
    """

    def __init__(self, path: Path, *, wall_seconds: Callable[[], float] = time) -> None:
        self.path = path
        self.wall_seconds = wall_seconds
        try:
            key, certificate = (path / _KEY).read_bytes(), (path / _CERTIFICATE).read_bytes()
        except OSError as error:
            raise InputError(
                f"{path}: no authority here: {error.filename}: {error.strerror}.",
                hint="Make one: edgewright ca init.",
            ) from error
        self.signer: Signer = read_signer(key, certificate, where=str(path))
        self.register = Register(path / _REGISTER)

    def token(
        self, *, url: str, device: str, lifetime: timedelta, group: str = "", needs_approval: bool = False
    ) -> str:
        """Make a claim token and write it down.

        Args:
            url: Where the device will find the authority.
            device: The only device that may use it; empty: any.
            lifetime: Until it is used.
            group: The group that it brings the device into; empty: none.
            needs_approval: Somebody has to say yes when it is used.

        Raises:
            InputError: Address or device id are none.
        """
        token = ClaimToken(
            url=url,
            authority=authority_digest(self.signer.der),
            secret=secrets.token_urlsafe(32),
            device=device,
            expires_seconds=float(int(self.wall_seconds() + lifetime.total_seconds())),
        )
        try:
            text = encode_token(token)
        except ContractError as error:
            raise InputError(str(error)) from error
        claim = Claim(
            digest=claim_digest(token.secret),
            device=device,
            expires_seconds=token.expires_seconds,
            group=group,
            needs_approval=needs_approval,
        )
        with self.register.transaction() as book:
            book.add_claim(claim)
        return text

    def certify_server(self, names: Sequence[str], *, lifetime: timedelta) -> tuple[bytes, str]:
        """Make a key and certificate for a broker, a repository or the authority's own server; return both, PEM.

        Raises:
            InputError: A name is no host name and no address.
        """
        for name in names:
            if not name.isascii() or not name.isprintable() or not 0 < len(name) <= 253 or " " in name:
                raise InputError(f"--name: expected a host name or an address, got {name[:80]!a}.")
        key = new_key()
        signed = self.signer.certify_server(key, names=names, lifetime=lifetime)
        entry = Entry(
            serial=signed.serial,
            use="server",
            name=names[0],
            key_digest=signed.key_digest,
            pem=signed.pem,
            issued_seconds=self.wall_seconds(),
            not_after_seconds=signed.not_after_seconds,
        )
        with self.register.transaction() as book:
            book.add(entry)
        return private_pem(key), signed.pem

    def revoke(self, *, device: str = "", serial: str = "", reason: str) -> list[Entry]:
        """Revoke every certificate of a device that still stands, or one by its serial number; return which.

        Raises:
            InputError: There is none to revoke.
        """
        now = self.wall_seconds()
        with self.register.transaction() as book:
            if device:
                found = book.certificates(device)
            else:
                one = book.certificate(serial.lower().lstrip("0"))
                found = [] if one is None else [one]
            standing = [entry for entry in found if entry.revoked_seconds is None]
            if not standing:
                what = f"device {device!r}" if device else f"serial number {serial!r}"
                raise InputError(
                    f"{self.path}: no certificate of {what} that still stands.",
                    hint="edgewright ca list shows all.",
                )
            for entry in standing:
                book.revoke(entry.serial, now_seconds=now, reason=reason)
        return standing

    def revocation_list(self, *, lifetime: timedelta) -> str:
        """Return the list of revoked certificates, PEM."""
        with self.register.transaction() as book:
            revoked = [
                Revoked(serial=entry.serial, revoked_seconds=entry.revoked_seconds)
                for entry in book.certificates()
                if entry.revoked_seconds is not None
            ]
        return self.signer.revocation_list(revoked, lifetime=lifetime)


def create_authority(path: Path, *, name: str, lifetime: timedelta) -> AuthorityFolder:
    """Make an authority's folder, for its owner alone. The key is written last: without it there is no authority.

    Raises:
        InputError: There is one already, or the name is none.
        OutputError: The folder cannot be written.
    """
    if not 0 < len(name) <= _MOST_NAME or not name.isprintable():
        raise InputError(f"--name: expected 1 to {_MOST_NAME} printable characters, got {name[:80]!a}.")
    if (path / _KEY).exists():
        raise InputError(f"{path}: there is an authority already.", hint="Choose another folder.")
    signer = new_signer(name=name, lifetime=lifetime)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / _REGISTER).unlink(missing_ok=True)
        write_durably(path / _CERTIFICATE, signer.pem.encode(), mode=OWNER_ONLY)
        Register(path / _REGISTER).create()
        write_durably(path / _KEY, signer.key_pem(), mode=OWNER_ONLY)
    except OSError as error:
        raise OutputError(f"{error.filename or path}: {error.strerror}.") from error
    return AuthorityFolder(path)
