"""A signed repository of releases behind an HTTP server on this machine's loopback, for tests of updates."""

from __future__ import annotations

import functools
import http.server
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from device_agent.contract.archive import ArtifactArchive, write_archive
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

_POLL_SECONDS = 0.05


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_: object) -> None:
        """Say nothing: pytest's output is for the tests."""


class ReleaseServer:
    """Signs releases and serves them.

    Args:
        folder: Gets keys and repository.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._repository = Repository(folder / "repository", KeyRing(folder / "keys"))
        self._counter = 0
        self.root: bytes = self._repository.init().read_bytes()
        handler = functools.partial(_Handler, directory=str(folder / "repository"))
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.port: int = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()

    def add(self, artifact: Path) -> str:
        """Sign an artifact as the next release of its model; return its name.

        Raises:
            InputError: Its name is taken by other bytes.
            ContractError: It is no artifact.
            TrustError: It is not what its manifest says.
            OutputError: The repository cannot be written.
        """
        self._counter += 1
        return self._repository.add(artifact, release_counter=self._counter)

    def release(self, device: str, name: str) -> None:
        """Say that a device shall run a release.

        Raises:
            InputError: There is no release of this name.
            OutputError: The repository cannot be written.
        """
        self._repository.release(f"device/{device}", [name])

    def close(self) -> None:
        """Serve no longer."""
        self._http.shutdown()
        self._http.server_close()


def next_version(archive: ArtifactArchive, version: str, folder: Path) -> ArtifactArchive:
    """Write the same artifact under another version, which is another release to a device; return it, checked.

    Raises:
        ContractError: The version is not in the grammar.
        StorageError: It cannot be written.
    """
    manifest = replace(archive.manifest, version=version)
    members = {
        member.name: archive.read(member.name)
        for member in (*archive.manifest.payload, *archive.manifest.members)
    }
    path = folder / f"{manifest.name}-{version}-{manifest.target}.ewa"
    with path.open("wb") as stream:
        write_archive(stream, manifest, members)
    return ArtifactArchive.open(path)
