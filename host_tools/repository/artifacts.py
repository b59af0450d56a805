"""`SignedArtifacts`: the models' artifacts in a repository, each with what is signed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuf.api.metadata import TargetFile

from device_agent.contract import desired
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.digest import require_digest
from host_tools.errors import InputError
from host_tools.repository.roles import MODEL_PREFIX
from host_tools.repository.signed_folder import put
from host_tools.repository.signed_target import HASH, digest_of, facts_of, target_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tuf.api.metadata import Targets

    from host_tools.repository.signed_folder import SignedFolder


class SignedArtifacts:
    """The artifacts of all models.

    Args:
        folder: The repository's.
        signed: Its metadata.
    """

    def __init__(self, folder: Path, signed: SignedFolder) -> None:
        self._folder = folder
        self._signed = signed

    def of_model(self, model: str) -> Mapping[str, tuple[desired.ReleaseFacts, str, int]]:
        """Return a model's artifacts: signed name to its facts, digest and length.

        Raises:
            InputError: The repository is damaged, or there is none.
        """
        role = f"{MODEL_PREFIX}{model}"
        targets = self._signed.targets(role).targets if self._signed.version(role) else {}
        return {
            path: (facts_of(target, path), digest_of(target), target.length)
            for path, target in targets.items()
        }

    def by_profile(self, paths: Sequence[str]) -> dict[str, desired.DesiredArtifact]:
        """Return artifacts as a desired state names them: capability profile to artifact.

        Args:
            paths: Signed names.

        Raises:
            InputError: One is unknown, or two are for one profile.
        """
        artifacts: dict[str, desired.DesiredArtifact] = {}
        for path in paths:
            target, facts = self._found(path)
            if facts.target in artifacts:
                raise InputError(f"{path}: another artifact is for {facts.target} already.")
            artifacts[facts.target] = desired.DesiredArtifact(path=path, digest=digest_of(target))
        return artifacts

    def counters(self, artifacts: Mapping[str, desired.DesiredArtifact]) -> list[int]:
        """Return the artifacts' release counters.

        Raises:
            InputError: One is not what is signed.
        """
        counters = []
        for profile, one in artifacts.items():
            target, facts = self._found(one.path)
            if digest_of(target) != one.digest:
                raise InputError(f"{one.path}: {digest_of(target)} is signed, {one.digest} is asked for.")
            if facts.target != profile:
                raise InputError(f"{one.path}: is signed for {facts.target}, and asked for {profile}.")
            counters.append(facts.release_counter)
        return counters

    def put(
        self, role: Targets, name: str, artifact: Path, *, archive: ArtifactArchive, release_counter: int
    ) -> None:
        """Write an artifact, and let the model's role name it; it is signed with the role.

        Args:
            role: The model's.
            name: Its signed name.
            artifact: The file.
            archive: The same file, checked.
            release_counter: Its place in the order of the model's releases.

        Raises:
            InputError: The name is taken by other bytes.
            TrustError: The file has been changed since it was checked.
            OutputError: It cannot be written.
        """
        before = role.targets.get(name)
        role.targets[name] = _target(name, artifact, archive, release_counter, before)
        data = artifact.read_bytes()
        require_digest(data, archive.digest, where=artifact.name)
        put(target_file(self._folder, name, archive.digest), data)

    def _found(self, path: str) -> tuple[TargetFile, desired.ReleaseFacts]:
        match = desired.TARGET_PATH.fullmatch(path)
        role = f"{MODEL_PREFIX}{match[1]}" if match else ""
        target = self._signed.targets(role).targets.get(path) if role and self._signed.version(role) else None
        if target is None:
            raise InputError(
                f"{path}: is not in the repository.", hint="Add it with `edgewright repository add`."
            )
        return target, facts_of(target, path)


def checked_archive(path: Path, expected_digest: str | None = None) -> ArtifactArchive:
    """Return an artifact with every digest in it checked.

    Raises:
        ContractError: It is no artifact.
        TrustError: Its bytes are not what its manifest says, or not those of the digest.
    """
    archive = ArtifactArchive.open(path, expected_digest=expected_digest)
    archive.check_members()
    return archive


def signed_name(artifact: Path, archive: ArtifactArchive) -> str:
    """Return the name under which a repository signs an artifact.

    Raises:
        InputError: It is not in the grammar.
    """
    name = f"models/{archive.manifest.name}/{artifact.name}"
    if desired.TARGET_PATH.fullmatch(name) is None:
        raise InputError(
            f"{artifact.name}: {name!r} is no name for a repository: letters, digits, '.', '_', '-'."
        )
    return name


def _target(
    name: str, path: Path, archive: ArtifactArchive, counter: int, before: TargetFile | None
) -> TargetFile:
    manifest = archive.manifest
    facts = desired.ReleaseFacts(
        model=manifest.name, version=manifest.version, target=manifest.target, release_counter=counter
    )
    target = TargetFile.from_file(name, str(path), [HASH])
    target.unrecognized_fields["custom"] = desired.facts_document(facts)
    if before is not None and before.hashes != target.hashes:
        raise InputError(f"{name}: is there already, with other bytes.", hint="Give the file another name.")
    return target
