"""What this device shall run, by signed metadata (TUF) alone. The only file that knows python-tuf; it runs in a child process.

Two signatures must agree: the desired state (role ``fleet``, a key that may be online) says which artifact a device runs;
the artifact must be signed by its model's own role (a key that need not be). Whoever has only the first can choose among
signed artifacts; whoever has only the second can add artifacts that nobody runs.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from device_agent.contract import desired
from device_agent.contract.errors import ConfigError, ContractError, StorageError, TransferError, TrustError
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.update import light
from device_agent.update.distrust import (
    DisagreementError,
    MetadataExpiredError,
    MetadataMismatchError,
    MetadataReplayedError,
    MetadataUnsignedError,
    OversizedError,
    WrongTargetError,
)
from device_agent.update.occurrences import NothingDesired, Offered, Unmet, Wanted
from device_agent.update.state import Release
from device_agent.update.transfer import HttpSource, HttpStatusError, read_bounded, target_url

light.leave_out_network()  # the agent's Debian package has no urllib3 either
try:
    from tuf.api import exceptions
    from tuf.api.metadata import Metadata, Root
    from tuf.ngclient.config import UpdaterConfig
    from tuf.ngclient.fetcher import FetcherInterface
    from tuf.ngclient.updater import Updater
except ModuleNotFoundError as error:  # pragma: no cover  the extra is not installed
    raise ConfigError(
        f"updates need the package {error.name!r}, which is not installed.",
        hint="pip install 'edgewright[update]'",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tuf.api.metadata import TargetFile

_LIMITS: Final = UpdaterConfig(
    max_root_rotations=256,
    max_delegations=32,
    root_max_length=512_000,
    timestamp_max_length=16_384,
    snapshot_max_length=2_000_000,
    targets_max_length=5_000_000,
)
"""Largest files that are read; python-tuf's own bounds, written out so that they are ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, and where.

    Attributes:
        url: Of the repository.
        root: Bootstrap root metadata: what is trusted to begin with.
        cache: Folder of the verified metadata.
        subjects: Desired states to look for, the first that exists counts.
        device: Its id, which says whether it belongs to a trial.
        targets: Capability profiles that may run here, best first; empty: the only one that is desired.
        models: Those beside the main one that are updated, by their names in the configuration.
        split: Those that are not, because their frames are split.
    """

    url: str
    root: bytes
    cache: Path
    subjects: Sequence[str]
    device: str
    targets: Sequence[str]
    models: Sequence[str] = ()
    split: Sequence[str] = ()


def read_root(path: Path) -> Root:
    """Return the bootstrap root, which must be signed by its own keys, as many as it says.

    Raises:
        ConfigError: It cannot be read, or is something else.
    """
    hint = "It is metadata/1.root.json of the repository."
    try:
        root = Metadata[Root].from_bytes(path.read_bytes())
        if not isinstance(root.signed, Root):
            raise ConfigError(
                f"update.root: {path}: expected root metadata, got {root.signed.type}.", hint=hint
            )
        root.verify_delegate(Root.type, root)
    except OSError as error:
        raise ConfigError(
            f"update.root: {path} cannot be read: {error.strerror or error}.", hint=hint
        ) from error
    except exceptions.RepositoryError as error:
        raise ConfigError(f"update.root: {path}: is no root metadata: {error}.", hint=hint) from error
    return root.signed


def ask(asker: Asker, source: HttpSource) -> Offered | NothingDesired | Wanted:
    """Refresh the metadata and say what is desired; where there are several models, what of each.

    Raises:
        TrustError: Something must not be trusted; the code says what.
        TransferError: The repository cannot be reached.
        ContractError: The desired state does not say what the contract demands.
        StorageError: The cache cannot be written.
    """
    logging.getLogger("tuf").setLevel(logging.ERROR)
    with _our_errors(asker):
        asker.cache.mkdir(parents=True, exist_ok=True)
        updater = Updater(
            metadata_dir=str(asker.cache),
            metadata_base_url=f"{asker.url.rstrip('/')}/metadata/",
            fetcher=_Fetcher(source),
            config=_LIMITS,
            bootstrap=asker.root,
        )
        updater.refresh()
        return _wanted(asker, updater, source)


@contextmanager
def _our_errors(asker: Asker) -> Iterator[None]:
    """Raise what python-tuf raises as errors of ours."""
    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        raise MetadataExpiredError(
            f"{asker.url}: {error}.", hint="Is the repository signed anew in time?"
        ) from error
    except exceptions.BadVersionNumberError as error:
        raise MetadataReplayedError(f"{asker.url}: {error}.") from error
    except exceptions.UnsignedMetadataError as error:
        raise MetadataUnsignedError(f"{asker.url}: {error}.") from error
    except exceptions.DownloadLengthMismatchError as error:
        raise OversizedError(f"{asker.url}: {error}.") from error
    except exceptions.RepositoryError as error:
        raise MetadataMismatchError(f"{asker.url}: {type(error).__name__}: {error}.") from error
    except exceptions.DownloadError as error:
        if isinstance(error.__cause__, TransferError):
            raise error.__cause__ from error
        raise TransferError(f"{asker.url}: {error}.") from error
    except OSError as error:
        raise StorageError(f"{asker.cache}: cannot be used: {error.strerror or error}.") from error


def _wanted(asker: Asker, updater: Updater, source: HttpSource) -> Offered | NothingDesired | Wanted:
    state = _desired(asker, updater, source)
    held = _held(state, asker)
    if not asker.models and not held:
        return _answer(state, MAIN_MODEL, updater, asker)
    answers: list[Offered | NothingDesired | Unmet] = []
    for model in (MAIN_MODEL, *asker.models):
        try:
            with _our_errors(asker):
                answers.append(_answer(state, model, updater, asker))
        except (
            TrustError,
            ContractError,
        ) as error:  # what is wrong with one model's artifact keeps no other's away
            answers.append(Unmet(code=error.code, message=str(error), model=model))
    return Wanted((*answers, *held))


def _held(state: desired.Desired | NothingDesired, asker: Asker) -> list[Unmet]:
    """Say of each model whose frames are split that what is signed for it is not taken."""
    if isinstance(state, NothingDesired):
        return []
    message = (
        "{} is not updated while its frames are split, for that would change one side of the comparison. Take "
        "[model.split] out of agent.toml, or the model out of what is desired."
    )
    wanted = [model for model in asker.split if state.of_model(model) is not None]
    return [Unmet(code="model_split", message=message.format(model), model=model) for model in wanted]


def _desired(asker: Asker, updater: Updater, source: HttpSource) -> desired.Desired | NothingDesired:
    for subject in asker.subjects:
        state = _state_of(subject, asker, updater, source)
        if state is not None and state.follows:
            group = state.follows
            state = _state_of(group, asker, updater, source)
            if state is None:
                return NothingDesired(f"this device follows {group}, and there is no desired state of that.")
        if state is not None:
            return state
    return NothingDesired(f"there is no desired state of {' or '.join(asker.subjects)}.")


def _answer(
    state: desired.Desired | NothingDesired, model: str, updater: Updater, asker: Asker
) -> Offered | NothingDesired:
    if isinstance(state, NothingDesired):
        return replace(state, model=model)
    wanted = state.of_model(model)
    if wanted is None:
        return NothingDesired(f"{state.subject} says nothing of it.", state.serial, model)
    return _offered(state, wanted, model, updater, asker)


def _state_of(subject: str, asker: Asker, updater: Updater, source: HttpSource) -> desired.Desired | None:
    path = desired.desired_path(subject)
    target = updater.get_targetinfo(path)
    if target is None:
        return None
    return desired.decode(_small_target(asker, target, source), where=path, subject=subject)


def _small_target(asker: Asker, target: TargetFile, source: HttpSource) -> bytes:
    if target.length > desired.MAX_BYTES:
        raise OversizedError(
            f"{target.path}: expected at most {desired.MAX_BYTES} bytes, got {target.length}."
        )
    data = read_bounded(source, target_url(asker.url, target.path, _digest(target)), most=target.length)
    target.verify_length_and_hashes(data)
    return data


def _offered(
    state: desired.Desired, wanted: desired.DesiredModel, model: str, updater: Updater, asker: Asker
) -> Offered | NothingDesired:
    is_in_trial, artifacts, name = _share_of(wanted, asker)
    if (
        not name
        and wanted.trial is not None
        and (not wanted.artifacts or _profile(wanted.trial.artifacts, asker))
    ):
        return NothingDesired(
            f"{state.subject}: a trial that this device is not in, and nothing else for it.",
            state.serial,
            model,
        )
    if not name:
        raise WrongTargetError(
            f"{state.subject}: artifacts for {', '.join(artifacts)}; device.targets has "
            f"{', '.join(asker.targets) or 'nothing'}."
        )
    one = artifacts[name]
    target = updater.get_targetinfo(one.path)
    if target is None:
        raise DisagreementError(f"{one.path}: is desired, and no role has signed it.")
    if _digest(target) != one.digest:
        raise DisagreementError(f"{one.path}: {one.digest} is desired, {_digest(target)} is signed.")
    facts = desired.read_facts(target.unrecognized_fields.get("custom"), where=one.path)
    if facts.target != name:
        raise WrongTargetError(f"{one.path}: is desired for {name}, and signed for {facts.target}.")
    release = Release(
        digest=one.digest, name=facts.model, version=facts.version, counter=facts.release_counter
    )
    return Offered(
        release=release,
        size_bytes=target.length,
        path=one.path,
        serial=state.serial,
        since=one.since or state.serial,
        allow_downgrade=wanted.allow_downgrade,
        is_in_trial=is_in_trial,
        model=model,
    )


def _share_of(
    wanted: desired.DesiredModel, asker: Asker
) -> tuple[bool, Mapping[str, desired.DesiredArtifact], str]:
    """Return whether the device runs the trial, among which artifacts it chooses, and its profile; empty: none of them is for it."""
    if wanted.trial is not None and desired.belongs(wanted.trial, asker.device):
        name = _profile(wanted.trial.artifacts, asker)
        if name:
            return True, wanted.trial.artifacts, name
    return False, wanted.artifacts, _profile(wanted.artifacts, asker)


def _profile(artifacts: Mapping[str, desired.DesiredArtifact], asker: Asker) -> str:
    if not asker.targets and len(artifacts) == 1:
        return next(iter(artifacts))
    return next((name for name in asker.targets if name in artifacts), "")


def _digest(target: TargetFile) -> str:
    found = target.hashes.get("sha256")
    if found is None:
        raise ContractError(f"{target.path}: no sha256 is signed.")
    return f"sha256:{found}"


class _Fetcher(FetcherInterface):
    """python-tuf's door to the network: ours, with its bounds."""

    def __init__(self, source: HttpSource) -> None:
        self._source = source

    def _fetch(self, url: str) -> Iterator[bytes]:
        chunks = self._source.get(url)
        try:
            # The first bytes are asked for here, because python-tuf wants to hear of a refusal here.
            first = next(chunks, b"")
        except HttpStatusError as error:
            raise exceptions.DownloadHTTPError(str(error), error.status) from error
        return self._rest(first, chunks)

    @staticmethod
    def _rest(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        yield first
        yield from chunks
