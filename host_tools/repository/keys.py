"""`KeyRing`: the private keys of a repository: ed25519 in PEM files, or keys in hardware that a file names by their URI."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import CryptoSigner, HSMSigner, Key, Signer

from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from device_agent.durable import write_durably
from host_tools.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PIN_VARIABLE: Final = "EDGEWRIGHT_KEY_PIN"
"""Environment variable with the PIN or password of keys that are named by URI."""
_FILE: Final = re.compile(r"(?P<role>[A-Za-z0-9._-]+)-(?P<number>[0-9]+)\.(?P<kind>pem|uri)")
_ROLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HSM: Final = re.compile(r"hsm:(?P<id>[0-9]{0,9})(?:\?(?P<query>label=[^&]+))?")
_VERSION: Final = "1.0"
_MAX_BYTES: Final = 1 << 16
_NEEDED: Final = "pip install 'edgewright[pkcs11]', and let PYKCS11LIB name the module of the hardware."


class KeyRing:
    """A folder of keys named ``ROLE-NUMBER.pem`` or ``ROLE-NUMBER.uri``.

    A ``.uri`` file is JSON: ``uri`` as securesystemslib reads it (``hsm:2?label=TOKEN``, ``awskms:…``, ``gcpkms:…``, ``azurekms:…``), and the
    public key as ``keyid`` and ``key``. No secret is in it; its PIN comes from the environment.

    Args:
        folder: Made when a key is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, role: str, count: int) -> list[Signer]:
        """Make keys for a role, numbered after those that it has.

        Raises:
            InputError: The role's name is none of a file.
            OutputError: They cannot be written.
        """
        _require_role(role)
        first = self._next_number(role)
        return [self._make(self._folder / f"{role}-{first + one}.pem") for one in range(count)]

    def adopt(self, role: str, uris: Sequence[str]) -> list[Signer]:
        """Take keys that hardware holds for a role, numbered after those that it has.

        Args:
            role: Which.
            uris: ``hsm:ID?label=TOKEN`` each; the key is EC P-256 or P-384.

        Raises:
            InputError: The role's name is none of a file, a URI is none, there is no such key, or what is needed to speak to it is not there.
            OutputError: They cannot be written.
        """
        _require_role(role)
        first, signers = self._next_number(role), []
        for number, uri in enumerate(uris, first):
            named, key = _imported(uri)
            document = {"schema_version": _VERSION, "uri": named, "keyid": key.keyid, "key": key.to_dict()}
            self._put(self._folder / f"{role}-{number}.uri", write_document(document, where="key") + b"\n")
            signers.append(_signer(named, key, where=uri))
        return signers

    def of(self, role: str) -> list[Signer]:
        """Return a role's keys, oldest first; empty when there are none here.

        Raises:
            InputError: A file is no key of ours or cannot be read, or hardware that it names is not there.
        """
        return [_read(path) for _, path in sorted(self._files(role))]

    def _next_number(self, role: str) -> int:
        return 1 + max((number for number, _ in self._files(role)), default=0)

    def _files(self, role: str) -> list[tuple[int, Path]]:
        found = []
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            match = _FILE.fullmatch(path.name)
            if match is not None and match["role"] == role:
                found.append((int(match["number"]), path))
        return found

    def _make(self, path: Path) -> Signer:
        signer = CryptoSigner.generate_ed25519()
        self._put(path, signer.private_bytes)
        return signer

    def _put(self, path: Path, data: bytes) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_durably(path, data, mode=0o600)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}.") from error


def _require_role(role: str) -> None:
    """Refuse a name whose key would lie in another folder, or not be found again and so be made anew in its place."""
    if not _ROLE.fullmatch(role):
        raise InputError(
            f"key {role[:80]!r}: expected 1 to 64 letters, digits and ._-, the first a letter or a digit."
        )


def _read(path: Path) -> Signer:
    try:
        data = path.read_bytes()
        return _named(data, path) if path.suffix == ".uri" else CryptoSigner(load_pem_private_key(data, None))
    except (OSError, ValueError, TypeError, ContractError) as error:
        raise InputError(f"{path}: is no key that can be read: {error}.") from error


def _named(data: bytes, path: Path) -> Signer:
    fields = Fields(read_document(data, where=path.name, max_bytes=_MAX_BYTES), where=path.name)
    fields.schema_version(_VERSION)
    key = fields.child("key")
    plain = {name: key.value(name) for name in key.names}
    keyval = plain.get("keyval")
    public = Key.from_dict(
        fields.text("keyid"),
        plain | {"keyval": dict(keyval) if keyval is not None else {}},  # type: ignore[call-overload]
    )
    return _signer(fields.text("uri"), public, where=str(path))


def _signer(uri: str, key: Key, *, where: str) -> Signer:
    try:
        return Signer.from_priv_key_uri(uri, key, _pin)
    except UnsupportedLibraryError as error:
        raise InputError(f"{where}: {error}.", hint=_NEEDED) from error
    except (ValueError, KeyError, OSError) as error:
        raise InputError(f"{where}: {uri}: cannot be used: {error}.") from error


def _imported(uri: str) -> tuple[str, Key]:
    match = _HSM.fullmatch(uri)
    if match is None:
        raise InputError(
            f"{uri}: expected hsm:ID?label=TOKEN.",
            hint="A key in a cloud's service: write ROLE-NUMBER.uri as docs/updates.md says.",
        )
    label = parse_qs(match["query"] or "").get("label", [None])[0]
    try:
        return HSMSigner.import_(int(match["id"]) if match["id"] else None, label, _pin)
    except UnsupportedLibraryError as error:
        raise InputError(f"{uri}: {error}.", hint=_NEEDED) from error
    except InputError:
        raise
    # The module of some hardware's maker raises whatever it likes.
    except Exception as error:
        raise InputError(f"{uri}: cannot be used: {type(error).__name__}: {error}.", hint=_NEEDED) from error


def _pin(_what: str) -> str:
    pin = os.environ.get(PIN_VARIABLE)
    if pin is None:
        raise InputError(
            f"a key needs its PIN, and {PIN_VARIABLE} is not set.", hint="Set it for this command."
        )
    return pin
