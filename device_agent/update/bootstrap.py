"""`Bootstrap`: what updates begin with, read from the configuration before anything is asked for. `run` and `check` begin with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.document import read_document
from device_agent.contract.errors import ConfigError, ContractError
from device_agent.contract.fields import Fields
from device_agent.contract.regular_file import read_regular_file
from device_agent.enrolment.identity import IdentityFolder
from device_agent.update.jobs import Network

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.config import AgentConfig

_MAX_ROOT_BYTES: Final = 512_000
"""As much as python-tuf reads; see `trust`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """Where updates begin.

    Attributes:
        root: File of the metadata that are trusted to begin with.
        version: Of these metadata.
        folder: Where artifacts and state are kept.
        network: Where the repository is.
    """

    root: Path
    version: int
    folder: Path
    network: Network


def read_bootstrap(config: AgentConfig) -> Bootstrap:
    """Return what updates begin with. Whether the keys are good is for a child process to say, which has python-tuf.

    Raises:
        ConfigError: The root metadata cannot be read, or are none.
    """
    section = config.update
    if section.root is None or section.directory is None:
        raise ConfigError("update.url: needs update.root and update.directory.")
    return Bootstrap(
        root=section.root,
        version=_root_version(section.root),
        folder=section.directory,
        network=_network(config),
    )


def _root_version(path: Path) -> int:
    try:
        data = read_regular_file(path, most_bytes=_MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"update.root: {path}: cannot be read: {error.strerror or error}.", hint="Is the path right?"
        ) from error
    try:
        document = read_document(data, where=path.name, max_bytes=_MAX_ROOT_BYTES)
        signed = Fields(document, where=path.name).child("signed")
        signed.choice("_type", ("root",))
        return signed.integer("version", low=1, high=(1 << 53) - 1)
    except ContractError as error:
        raise ConfigError(
            f"update.root: {path}: is no root metadata: {error}", hint="Take the repository's own root.json."
        ) from error


def _network(config: AgentConfig) -> Network:
    section = config.update
    tls = (section.tls_ca, section.tls_cert, section.tls_key)
    if config.identity.folder is not None and section.tls_cert is None:
        files = IdentityFolder(config.identity.folder).tls_files(ca=section.tls_ca)
        tls = (files.ca, files.cert, files.key)
    ca, cert, key = (None if one is None else str(one) for one in tls)
    return Network(
        url=section.url or "",
        stall_seconds=section.stall_seconds,
        min_bytes_per_second=section.min_bytes_per_second,
        tls_ca=ca,
        tls_cert=cert,
        tls_key=key,
    )
