"""`SignedFolder`: the metadata on disk. Whatever dies, and whenever: what was published stays whole, or the new is whole.

Published is what ``timestamp.json`` leads to, and it is written last. A file that was written before somebody was killed, and that nothing
published names, does not count: it is written again. So no command has anything to clean up after another.
"""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from device_agent.durable import write_durably
from host_tools.errors import InputError, OutputError
from host_tools.repository.roles import rule_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import Signer

    from host_tools.repository.keys import KeyRing

_Signed = TypeVar("_Signed", Root, Timestamp, Snapshot, Targets)
TOP: Final = ("root", "targets", "snapshot", "timestamp")
_LOCK_SECONDS: Final = 30.0
_LOCK_PAUSE_SECONDS: Final = 0.05
_NO_REPOSITORY: Final = "Make it with `edgewright repository init`."


class SignedFolder:
    """The metadata of a repository.

    Args:
        folder: The repository's.
        keys: Private keys; of a role that is signed anew, at least its threshold.
    """

    def __init__(self, folder: Path, keys: KeyRing) -> None:
        self._folder = folder
        self._keys = keys
        self._metadata = folder / "metadata"
        self._written: dict[str, int] = {}

    @property
    def is_published(self) -> bool:
        """Whether there is a repository that devices can read."""
        return self._timestamp_path.exists()

    @contextmanager
    def alone(self, *, new: bool = False) -> Iterator[None]:
        """Keep other writers off while the block lasts; they wait for a while.

        Args:
            new: Make the folder if it is not there.

        Raises:
            InputError: There is no repository.
            OutputError: Another writer does not come to its end, or the folder cannot be written.
        """
        if not new and not self.is_published:
            raise InputError(f"{self._folder}: there is no repository.", hint=_NO_REPOSITORY)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / ".lock").open("ab")
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be written: {error.strerror or error}.") from error
        with lock:
            self._wait_for(lock)
            try:
                yield
            finally:
                self._written.clear()

    def root(self) -> Root:
        """Return the newest root.

        Raises:
            InputError: There is none that can be read.
        """
        return self._load("root", Root)

    def targets(self, role: str) -> Targets:
        """Return what a role signs now: ``targets``, or a delegated one.

        Raises:
            InputError: There is none that can be read.
        """
        return self._load(role, Targets)

    def timestamp(self) -> Timestamp:
        """Return the timestamp.

        Raises:
            InputError: There is none that can be read.
        """
        if not self.is_published:
            raise InputError(f"{self._folder}: there is no repository.", hint=_NO_REPOSITORY)
        return self._read(self._timestamp_path, Timestamp)

    def ends(self) -> Mapping[str, datetime]:
        """Return until when the signature of each role holds. Where one has ended, devices take no update.

        Raises:
            InputError: Something cannot be read.
        """
        timestamp, targets = self.timestamp(), self.targets("targets")
        delegated = None if targets.delegations is None else targets.delegations.roles
        signed = {
            "root": self.root(),
            "targets": targets,
            "snapshot": self._snapshot(timestamp),
            "timestamp": timestamp,
            **{role: self.targets(role) for role in delegated or ()},
        }
        return {role: one.expires for role, one in signed.items()}

    def version(self, role: str) -> int:
        """Return a role's version: the one that is being written, else the published one; 0 when it has none.

        Raises:
            InputError: What is published cannot be read.
        """
        if role in self._written:
            return self._written[role]
        if role == "root":
            return self._newest_root()
        if not self.is_published:
            return 0
        timestamp = self.timestamp()
        if role == "timestamp":
            return timestamp.version
        if role == "snapshot":
            return timestamp.snapshot_meta.version
        found = self._snapshot(timestamp).meta.get(f"{role}.json")
        return 0 if found is None else found.version

    def renew(
        self, roles: Mapping[str, Targets], *, also: Mapping[str, Sequence[Signer]] | None = None
    ) -> None:
        """Sign roles anew, then snapshot and timestamp.

        Args:
            roles: In the order in which each is needed for the next: ``targets`` before what it delegates to.
            also: By role, signers beside those that must.

        Raises:
            InputError: A key is missing.
            OutputError: It cannot be written.
        """
        extra = also or {}
        try:
            for role, signed in roles.items():
                signed.version = self.version(role) + 1
                signed.expires = expires(role)
                self._write(role, signed, also=extra.get(role, ()))
            self._publish(extra)
        finally:
            self._written.clear()

    def put_root(self, root: Root, *, also: Sequence[Signer] = ()) -> Path:
        """Sign a root and write it: devices follow it from then on.

        Raises:
            InputError: A key is missing.
            OutputError: It cannot be written.
        """
        return self._write("root", root, also=also)

    # --- files ---

    @property
    def _timestamp_path(self) -> Path:
        return self._metadata / "timestamp.json"

    def _wait_for(self, lock: IO[bytes]) -> None:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise OutputError(
                        f"{self._folder}: another process has been writing for {_LOCK_SECONDS:g} s.",
                        hint="Wait for it, or end it: nothing is lost by that.",
                    ) from None
                time.sleep(_LOCK_PAUSE_SECONDS)
            except OSError as error:
                raise OutputError(f"{self._folder}: cannot be locked: {error.strerror or error}.") from error
            else:
                return

    def _publish(self, also: Mapping[str, Sequence[Signer]]) -> None:
        before = self.timestamp() if self.is_published else None
        snapshot = Snapshot() if before is None else self._snapshot(before)
        for role, version in self._written.items():
            if role not in TOP or role == "targets":
                snapshot.meta[f"{role}.json"] = MetaFile(version)
        snapshot.version = self.version("snapshot") + 1
        snapshot.expires = expires("snapshot")
        self._write("snapshot", snapshot, also=also.get("snapshot", ()))
        timestamp = Timestamp() if before is None else before
        timestamp.version = 1 if before is None else before.version + 1
        timestamp.expires = expires("timestamp")
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        self._write("timestamp", timestamp, also=also.get("timestamp", ()))

    def _write(self, role: str, signed: Any, *, also: Sequence[Signer]) -> Path:
        metadata = Metadata(signed)
        allowed, threshold = self._allowed(role, signed)
        welcome = {*allowed, *(one.public_key.keyid for one in also)}
        signers = {one.public_key.keyid: one for one in (*self._keys.of(role), *also)}
        wanted = [one for keyid, one in signers.items() if keyid in welcome]
        here = sum(one.public_key.keyid in allowed for one in wanted)
        if here < threshold:
            raise InputError(f"role {role!r}: {threshold} keys must sign, {here} are here.")
        for signer in wanted:
            try:
                metadata.sign(signer, append=True)
            except UnsignedMetadataError as error:
                cause = error.__cause__ or error
                if isinstance(cause, InputError):
                    raise cause from error
                raise InputError(
                    f"role {role!r}: a key does not sign: {type(cause).__name__} {cause}".rstrip() + ".",
                    hint="Is the hardware there, and its PIN right?",
                ) from error
        name = "timestamp.json" if role == "timestamp" else f"{signed.version}.{role}.json"
        put(self._metadata / name, metadata.to_bytes(JSONSerializer(compact=True)))
        self._written[role] = signed.version
        return self._metadata / name

    def _allowed(self, role: str, signed: Any) -> tuple[Sequence[str], int]:
        """Return the keys that may sign a role, and how many must."""
        if role in TOP:
            top = (signed if role == "root" else self.root()).roles[role]
            return top.keyids, top.threshold
        delegations = self.targets("targets").delegations
        delegated = None if delegations is None or delegations.roles is None else delegations.roles.get(role)
        if delegated is None:
            raise InputError(f"role {role!r} is unknown.")
        return delegated.keyids, delegated.threshold

    def _newest_root(self) -> int:
        found = self._metadata.glob("*.root.json") if self._metadata.is_dir() else ()
        numbers = [path.name.removesuffix(".root.json") for path in found]
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def _snapshot(self, timestamp: Timestamp) -> Snapshot:
        return self._read(self._metadata / f"{timestamp.snapshot_meta.version}.snapshot.json", Snapshot)

    def _load(self, role: str, kind: type[_Signed]) -> _Signed:
        number = self.version(role)
        if not number:
            raise InputError(f"{self._folder}: no metadata of role {role!r}.", hint=_NO_REPOSITORY)
        return self._read(self._metadata / f"{number}.{role}.json", kind)

    @staticmethod
    def _read(path: Path, kind: type[_Signed]) -> _Signed:
        try:
            metadata: Metadata[_Signed] = Metadata.from_file(str(path))
        except (RepositoryError, OSError) as error:
            raise InputError(f"{path}: is no metadata that can be read: {error}.") from error
        if not isinstance(metadata.signed, kind):
            raise InputError(f"{path}: expected metadata of another role.")
        return metadata.signed


def expires(role: str) -> datetime:
    """Return until when a signature of now holds."""
    return datetime.now(timezone.utc).replace(microsecond=0) + rule_of(role).lifetime


def put(path: Path, data: bytes) -> None:
    """Write a file of the repository; it appears whole.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}.") from error
