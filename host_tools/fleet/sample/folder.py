"""`SampleFolder`: where a sample fleet keeps everything. It is known by `sample.json`, which one command at a time holds."""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from host_tools.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEVICES: Final = 6
LEAST_DEVICES: Final = 5
"""Four canaries, fewer of which no gate decides on, and one that is none."""
MOST_DEVICES: Final = 50
_MARKER: Final = "sample.json"
_VERSION: Final = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFolder:
    """The folder.

    Attributes:
        path: Absolute.
        devices: How many agents there are.
    """

    path: Path
    devices: int

    @property
    def authority(self) -> Path:
        """Folder of the development CA."""
        return self.path / "ca"

    @property
    def repository(self) -> Path:
        """Folder of the signed repository."""
        return self.path / "repository"

    @property
    def keys(self) -> Path:
        """Its private keys."""
        return self.path / "keys"

    @property
    def artifacts(self) -> Path:
        """What was released, as `convert` would have left it."""
        return self.path / "artifacts"

    @property
    def database(self) -> Path:
        """The fleet server's."""
        return self.path / "fleet.db"

    @property
    def telemetry(self) -> Path:
        """The store of telemetry."""
        return self.path / "telemetry.duckdb"

    @property
    def token(self) -> Path:
        """The admin's token, for its owner alone."""
        return self.path / "admin.token"

    @property
    def logs(self) -> Path:
        """A log for each process."""
        return self.path / "logs"

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the devices."""
        return tuple(f"lab-{number}" for number in range(1, self.devices + 1))

    def device(self, name: str) -> Path:
        """Return the folder of one device."""
        return self.path / "devices" / name


@contextmanager
def open_sample(path: Path, *, devices: int | None = None) -> Iterator[SampleFolder]:
    """Hold an empty folder, or that of an earlier sample, until the block ends; it is made if need be.

    Args:
        path: The folder.
        devices: How many there shall be; None: as many as there are, 6 in a new folder.

    Raises:
        InputError: It is a file, has other things in it, belongs to a newer version, has more devices already, or another command holds it.
        OutputError: It cannot be made or written.
    """
    whole = path.absolute()
    marker = whole / _MARKER
    _require_ours(whole, marker)
    try:
        whole.mkdir(parents=True, exist_ok=True)
        stream = marker.open("a+b")
    except OSError as error:
        raise OutputError(f"{error.filename or whole}: {error.strerror}.") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{path}: this sample runs already.", hint="End that command first, or choose another folder."
            ) from error
        there = _devices(stream, marker)
        wanted = there or DEVICES if devices is None else devices
        if wanted < (there or 0):
            raise InputError(
                f"--devices: expected at least {there}, which this sample has already, got {wanted}.",
                hint="A fleet forgets no device; begin a smaller one in another folder.",
            )
        _write(stream, {"schema_version": _VERSION, "devices": wanted})
        yield SampleFolder(path=whole, devices=wanted)


def _require_ours(path: Path, marker: Path) -> None:
    hint = "Choose a folder that is empty, or not there yet."
    try:
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file, expected a folder.", hint=hint)
        if path.is_dir() and not marker.is_file() and any(path.iterdir()):
            raise InputError(f"{path}: is not empty, and no sample fleet: {_MARKER} is missing.", hint=hint)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.", hint=hint) from error


def _devices(stream: BinaryIO, marker: Path) -> int | None:
    """Return how many devices there are, or None in a folder that is new or was given up before it was one."""
    stream.seek(0)
    data = stream.read(1 << 16)
    if not data:
        return None
    try:
        document = json.loads(data)
        version, devices = document["schema_version"], document["devices"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{marker}: is damaged: {type(error).__name__}: {error}.", hint="Begin in another folder."
        ) from error
    if version != _VERSION or not isinstance(devices, int) or not LEAST_DEVICES <= devices <= MOST_DEVICES:
        raise InputError(
            f"{marker}: expected version {_VERSION} with {LEAST_DEVICES} to {MOST_DEVICES} devices, "
            f"got version {version!r} with {devices!r}.",
            hint="Begin in another folder.",
        )
    return devices


def _write(stream: BinaryIO, document: dict[str, object]) -> None:
    try:
        stream.truncate(0)
        stream.write(json.dumps(document).encode() + b"\n")
        stream.flush()
    except OSError as error:
        raise OutputError(f"{stream.name}: {error.strerror}.") from error
