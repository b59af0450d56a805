"""Which artifact of a release is tested on which board: every one that the board says it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.artifact import open_artifact
from hil.board import load_board
from host_tools.errors import InputError
from host_tools.fleet.field.releases import read_releases
from host_tools.repository.signed_target import target_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from device_agent.contract.archive import ArtifactArchive
    from hil.board import Board


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One artifact on one board.

    Attributes:
        rig: The board as it was named: what ``pytest --rig`` takes.
        board: The board.
        archive: The artifact, every member checked.
    """

    rig: str
    board: Board
    archive: ArtifactArchive

    @property
    def name(self) -> str:
        """Board and target, for messages and names of files."""
        return f"{self.board.name}-{self.archive.manifest.target}"


def plan_runs(artifacts: Sequence[Path], rigs: Sequence[str]) -> list[Run]:
    """Return what is to be run, board by board.

    Args:
        artifacts: ``.ewa`` files of one model and version, one a target.
        rigs: Names or files of boards.

    Raises:
        InputError: The artifacts are of several releases, a board runs none of them, or one of them runs on no board.
        BoardError: There is no such board, or its file is wrong.
        ContractError: A file is no artifact.
        TrustError: It is not what its manifest says.
        StorageError: It cannot be read.
    """
    archives = [open_artifact(path) for path in artifacts]
    first = archives[0]
    for archive in archives:
        if release_of(archive) != release_of(first):
            raise InputError(
                f"{archive.path.name}: is of {release_of(archive)}, {first.path.name} of {release_of(first)}.",
                hint="A release has the artifacts of one model and version.",
            )
    runs = []
    for rig in dict.fromkeys(rigs):
        board = load_board(rig)
        fitting = [one for one in archives if one.manifest.target in board.section.targets]
        if not fitting:
            raise InputError(
                f"rig {rig!r}: runs {', '.join(board.section.targets)}, and no artifact is for that.",
                hint="Leave the rig out, or give the artifact for it.",
            )
        runs += [Run(rig=rig, board=board, archive=one) for one in fitting]
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            raise InputError(
                f"{run.name}: would be run twice.",
                hint="Give each target one artifact, and boards names of their own.",
            )
    for archive in archives:
        if not any(run.archive is archive for run in runs):
            raise InputError(
                f"{archive.path.name}: is for {archive.manifest.target}, which no rig runs that was named.",
                hint="Name one whose board.targets has it; or test it at another bench: a release takes several attestations.",
            )
    return runs


def release_of(archive: ArtifactArchive) -> str:
    """Return ``NAME-VERSION`` as the manifest says it."""
    return f"{archive.manifest.name}-{archive.manifest.version}"


def artifacts_of(release: str, repository: Path) -> list[Path]:
    """Return the files of a release that was made.

    Raises:
        InputError: There is no repository, or no such release in it.
    """
    made = read_releases(repository)
    found = next((one.release for one in made if one.release.id == release), None)
    if found is None:
        raise InputError(
            f"{release}: is no release of {repository}.",
            hint=f"There are: {', '.join(one.release.id for one in made) or 'none'}.",
        )
    return [target_file(repository, one.path, one.digest) for one in found.artifacts.values()]
