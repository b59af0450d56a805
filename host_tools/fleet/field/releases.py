"""Releases: the artifacts of one version of a model for many targets, checked, and signed in one go; one small file says what is in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from host_tools.errors import InputError, VerificationError
from host_tools.fleet.records.releases import Release, ReleasedArtifact
from host_tools.repository.attestation_bundle import SUFFIX
from host_tools.repository.attestation_policy import require_attested
from host_tools.repository.signed_folder import put

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from device_agent.contract.desired import ReleaseFacts
    from device_agent.contract.manifest import Manifest
    from host_tools.repository.attestation_policy import AttestationPolicy
    from host_tools.repository.repository import Repository

RELEASE_VERSION: Final = "1.0"
_MAX_BYTES: Final = 1 << 18
_MAX_TARGETS: Final = 64
_MAX_COUNT: Final = (1 << 53) - 1
_LATEST_SECONDS: Final = 253_402_300_799.0
_REPORT: Final = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRelease:
    """A release, and why it was let through unverified; empty: it was verified."""

    release: Release
    unverified_because: str = ""


def create_release(
    repository: Repository,
    folder: Path,
    artifacts: Sequence[Path],
    *,
    created_by: str,
    created_seconds: float,
    counter: int | None = None,
    unverified_because: str = "",
    attestations: AttestationPolicy | None = None,
) -> MadeRelease:
    """Check, add and sign the artifacts of one version of a model, all or none, and write ``releases/ID.json``.

    What attested it is kept beside that, as ``releases/ID.intoto.jsonl``.

    Broken off and repeated it goes on where it stopped.

    Args:
        repository: With the keys of the model's role, ``snapshot`` and ``timestamp``; of ``targets`` for a new model.
        folder: The repository's.
        artifacts: ``.ewa`` files, one a target.
        created_by: Who makes it.
        created_seconds: Unix time.
        counter: Its place in the order of the model's releases; None: the next.
        unverified_because: Why an artifact may be released whose verification did not pass; empty: it may not.
        attestations: Tests on boards that it must have passed; None: none are asked for.

    Raises:
        InputError: The artifacts are not of one model and version, two are for one target, or the version was released with others.
        VerificationError: Verification of one did not pass, or attestations do not bear it out.
        ContractError: One is no artifact, or a file no bundle of attestations.
        TrustError: Its bytes are not what its manifest says, or not those any more that were looked at; or an attestation is not signed by a
            key that is trusted.
        OutputError: The repository cannot be written.
    """
    if not artifacts:
        raise InputError(
            "expected at least one artifact.", hint="They are the .ewa files of one model and version."
        )
    archives = [ArtifactArchive.open(path) for path in artifacts]
    _require_one_release(archives)
    for archive in archives:
        archive.check_members()
        _require_verified(archive, unverified_because)
    attested = (
        require_attested(archives, attestations, now_seconds=created_seconds)
        if attestations is not None
        else []
    )
    manifest = archives[0].manifest
    before = _released_before(repository, archives)
    place = before or _next_counter(repository, manifest, counter)
    names = (
        repository.add_all(
            [one.path for one in archives],
            release_counter=place,
            digests=[one.digest for one in archives],
        )
        if before is None
        else [f"models/{manifest.name}/{one.path.name}" for one in archives]
    )
    release = Release(
        id=f"{manifest.name}-{manifest.version}",
        model=manifest.name,
        version=manifest.version,
        counter=place,
        artifacts={
            archive.manifest.target: ReleasedArtifact(
                path=name, digest=archive.digest, size_bytes=archive.path.stat().st_size
            )
            for name, archive in zip(names, archives, strict=True)
        },
        created_by=created_by,
        created_seconds=created_seconds,
    )
    made = MadeRelease(release=release, unverified_because=unverified_because)
    path = folder / "releases" / f"{release.id}.json"
    if attested:
        put(path.with_name(f"{release.id}{SUFFIX}"), b"".join(one.line for one in attested))
    if before is not None and path.exists():
        return read_release(path)
    put(path, encode(made))
    return made


def read_releases(folder: Path) -> list[MadeRelease]:
    """Return the releases of a repository, by model and counter.

    Raises:
        InputError: There is no repository, or a file is no release.
    """
    try:
        is_there = (folder / "metadata").is_dir()
    except OSError as error:  # no name of a file: too long, say
        raise InputError(f"{folder}: cannot be read: {error.strerror}.") from error
    if not is_there:
        raise InputError(
            f"{folder}: there is no repository.", hint="Make it with `edgewright repository init`."
        )
    made = [read_release(path) for path in sorted((folder / "releases").glob("*.json"))]
    return sorted(made, key=lambda one: (one.release.model, one.release.counter))


def read_release(path: Path) -> MadeRelease:
    """Read one file.

    Raises:
        InputError: It is no release.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        return decode(data, where=path.name)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except ContractError as error:
        raise InputError(
            f"{path}: is no release that can be read: {error}",
            hint="`edgewright release create` writes it, into releases/ of the repository.",
        ) from error


def unsigned_artifacts(release: Release, repository: Repository) -> dict[str, str]:
    """Return those targets whose artifact the repository does not sign as the release says, each with what differs.

    Raises:
        InputError: The repository is damaged, or there is none.
    """
    signed = repository.released(release.model)
    found = {target: _difference(release, target, signed) for target in release.artifacts}
    return {target: difference for target, difference in found.items() if difference}


def encode(made: MadeRelease) -> bytes:
    """Write a release as JSON."""
    release = made.release
    document = {
        "schema_version": RELEASE_VERSION,
        "id": release.id,
        "model": release.model,
        "version": release.version,
        "counter": release.counter,
        "artifacts": {target: asdict(one) for target, one in release.artifacts.items()},
        "created_by": release.created_by,
        "created_seconds": release.created_seconds,
        "unverified_because": made.unverified_because,
    }
    return write_document(document, where="release") + b"\n"


def encode_for_server(release: Release) -> dict[str, object]:
    """Return what `POST /api/v1/releases` takes."""
    return {
        "model": release.model,
        "version": release.version,
        "counter": release.counter,
        "artifacts": {target: asdict(one) for target, one in release.artifacts.items()},
    }


def decode(data: bytes, *, where: str) -> MadeRelease:
    """Read a release from JSON.

    Raises:
        ContractError: It is none.
    """
    fields = Fields(read_document(data, where=where, max_bytes=_MAX_BYTES), where=where)
    fields.schema_version(RELEASE_VERSION)
    artifacts = fields.child("artifacts")
    if not 1 <= len(artifacts.names) <= _MAX_TARGETS:
        fields.refuse("artifacts", f"1 to {_MAX_TARGETS} targets", len(artifacts.names))
    release = Release(
        id=fields.text("id"),
        model=fields.text("model"),
        version=fields.text("version"),
        counter=fields.integer("counter", low=1, high=_MAX_COUNT),
        artifacts={target: _artifact(artifacts.child(target)) for target in artifacts.names},
        created_by=fields.text("created_by", empty=True),
        created_seconds=fields.number("created_seconds", low=0.0, high=_LATEST_SECONDS),
    )
    return MadeRelease(release=release, unverified_because=fields.text("unverified_because", empty=True))


def _difference(release: Release, target: str, signed: Mapping[str, tuple[ReleaseFacts, str, int]]) -> str:
    """Say how an artifact is signed otherwise; empty: it is signed so."""
    one = release.artifacts[target]
    if one.path not in signed:
        return f"path: expected an artifact of {release.model} that is signed, got {one.path}"
    facts, digest, size_bytes = signed[one.path]
    compared = (
        ("target", facts.target, target),
        ("counter", facts.release_counter, release.counter),
        ("digest", digest, one.digest),
        ("size_bytes", size_bytes, one.size_bytes),
    )
    return ", ".join(
        f"{name}: expected {expected}, got {got}" for name, expected, got in compared if expected != got
    )


def _artifact(fields: Fields) -> ReleasedArtifact:
    return ReleasedArtifact(
        path=fields.text("path"),
        digest=fields.digest("digest"),
        size_bytes=fields.integer("size_bytes", low=1, high=_MAX_COUNT),
    )


def _require_one_release(archives: Sequence[ArtifactArchive]) -> None:
    first, seen = archives[0], dict[str, str]()
    for archive in archives:
        manifest, name = archive.manifest, archive.path.name
        for what, here, there in (
            ("model", manifest.name, first.manifest.name),
            ("version", manifest.version, first.manifest.version),
        ):
            if here != there:
                raise InputError(
                    f"{name}: is of {what} {here!r}, {first.path.name} of {there!r}.",
                    hint="A release has the artifacts of one model and version.",
                )
        if manifest.target in seen:
            raise InputError(
                f"{name}: is for {manifest.target}, and so is {seen[manifest.target]}.",
                hint="Give one artifact for each target.",
            )
        seen[manifest.target] = name


def _require_verified(archive: ArtifactArchive, because: str) -> None:
    """Take a verdict of `pass`, by the manifest and by the report beside it.

    Raises:
        VerificationError: It is another, or there is no report.
        InputError: The report is none, or of another target.
    """
    manifest, name = archive.manifest, archive.path.name
    problem = "" if manifest.verdict == "pass" else f"its verification says {manifest.verdict!r}"
    if any(member.name == _REPORT for member in manifest.members):
        target, verdict = _report(archive)
        if target != manifest.target:
            raise InputError(f"{name}: {_REPORT}: is of {target!r}, the artifact is for {manifest.target!r}.")
        if verdict != manifest.verdict:
            raise InputError(f"{name}: {_REPORT} says {verdict!r}, the manifest {manifest.verdict!r}.")
    elif not problem:
        problem = "it brings no verification report"
    if problem and not because:
        raise VerificationError(
            f"{name}: {problem}.",
            hint="Convert it anew until it passes, or say why it may go: --allow-unverified REASON.",
        )


def _report(archive: ArtifactArchive) -> tuple[object, object]:
    try:
        report = json.loads(archive.read(_REPORT))
        return report["target"], report["verdict"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{archive.path.name}: {_REPORT}: is no verification report: {type(error).__name__}: {error}."
        ) from error


def _released_before(repository: Repository, archives: Sequence[ArtifactArchive]) -> int | None:
    """Return the counter under which exactly these artifacts are signed already; None: this version is new.

    Raises:
        InputError: The version was released with other artifacts.
    """
    manifest = archives[0].manifest
    there = {
        facts.target: (digest, facts.release_counter)
        for facts, digest, _ in repository.released(manifest.name).values()
        if facts.version == manifest.version
    }
    if not there:
        return None
    if {target: digest for target, (digest, _) in there.items()} != {
        one.manifest.target: one.digest for one in archives
    }:
        raise InputError(
            f"{manifest.name} {manifest.version}: was released already, for {', '.join(sorted(there))}.",
            hint="A release does not change: convert with another --model-version.",
        )
    return max(counter for _, counter in there.values())


def _next_counter(repository: Repository, manifest: Manifest, asked: int | None) -> int:
    highest = max(
        (facts.release_counter for facts, _, _ in repository.released(manifest.name).values()), default=0
    )
    if asked is not None and asked <= highest:
        raise InputError(
            f"--counter: expected more than {highest}, which {manifest.name} has already, got {asked}."
        )
    return highest + 1 if asked is None else asked
