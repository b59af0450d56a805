"""A target as it is signed: its digest, what is said of it beside that, and where its file lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from device_agent.contract import desired
from device_agent.contract.errors import ContractError
from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tuf.api.metadata import TargetFile

HASH: Final = "sha256"


def target_file(repository: Path, path: str, digest: str) -> Path:
    """Return where a repository keeps a target: under its digest, as servers of TUF do it with consistent snapshots.

    Args:
        repository: Folder of the repository.
        path: Of the target, as it is signed.
        digest: ``sha256:…``.
    """
    folder, _, name = path.rpartition("/")
    return repository / "targets" / folder / f"{digest.partition(':')[2]}.{name}"


def digest_of(target: TargetFile) -> str:
    """Return a target's digest, ``sha256:…``."""
    return f"{HASH}:{target.hashes[HASH]}"


def custom_of(target: TargetFile) -> Mapping[str, Any]:
    """Return what is signed beside a target's digest."""
    return cast("Mapping[str, Any]", target.unrecognized_fields["custom"])


def facts_of(target: TargetFile, path: str) -> desired.ReleaseFacts:
    """Return what is signed of an artifact.

    Args:
        target: The artifact's.
        path: Its signed name, for messages.

    Raises:
        InputError: It is not said of it what the contract asks for.
    """
    try:
        return desired.read_facts(target.unrecognized_fields.get("custom"), where=path)
    except ContractError as error:
        raise InputError(str(error)) from error
