"""From the configuration to a source of frames; only the chosen source is imported, for some bring numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import DeviceError
from device_agent.contract.preparation import preparation_of
from device_agent.contract.text import Text
from device_agent.sources.artifact_text import open_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.config import SourceSection
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.sources.prepare_frame import OpenPreparation
    from device_agent.sources.source import Describe, Source
    from device_agent.telemetry.subscription import Incoming

    _Take = Callable[[bytes, Callable[[bytes], None] | None], None]


class FrameDoor:
    """Where the broker's connection hands frames in. Shut until a source stands behind it; frames before that are counted.

    Attributes:
        turned_away: Frames that came while it was shut.
    """

    def __init__(self) -> None:
        self.turned_away = 0
        self._take: _Take | None = None

    def open(self, take: _Take) -> None:
        """Hand frames to ``take`` from now on."""
        self._take = take

    def shut(self) -> None:
        """Turn frames away again: the source is gone."""
        self._take = None

    def __call__(self, message: Incoming) -> None:
        """Hand in one frame; called on the connection's thread."""
        take = self._take
        if take is None:
            self.turned_away += 1
        else:
            take(message.payload, message.respond)


def open_source(
    wanted: SourceSection,
    archive: ArtifactArchive,
    *,
    door: FrameDoor,
    on_refused: Callable[[str], None],
    describe: Describe,
) -> Source:
    """Open the source that is configured.

    Args:
        wanted: What is configured.
        archive: What will run, and says how its frames are prepared.
        door: Where frames from the broker come in.
        on_refused: Told which frame was refused, and why; on the thread that takes frames.
        describe: Writes a result for whoever asked.

    Raises:
        DeviceError: It cannot be opened, or needs a library that is not installed.
        SelfTestError: The artifact's texts are read here to other numbers than on the host.
        ContractError: Its tokeniser cannot be used.
        TrustError: It is not what the manifest says.
        StorageError: The archive cannot be read.
    """
    try:
        return _opened(wanted, archive, door=door, on_refused=on_refused, describe=describe)
    except ModuleNotFoundError as error:  # NumPy comes with an engine's library; the null engine has none
        raise DeviceError(
            f"source.kind {wanted.kind!r} needs {error.name}, which is not installed.",
            hint=f"pip install {error.name}",
        ) from error


def _opened(
    wanted: SourceSection,
    archive: ArtifactArchive,
    *,
    door: FrameDoor,
    on_refused: Callable[[str], None],
    describe: Describe,
) -> Source:
    manifest = archive.manifest
    if wanted.kind == "mqtt":
        from device_agent.sources.mqtt import MqttSource  # noqa: PLC0415  see the module's docstring

        source = MqttSource(
            manifest.inputs,
            open_preparation(archive),
            queue_frames=wanted.queue_frames,
            max_frame_bytes=wanted.max_frame_bytes,
            on_refused=on_refused,
            overflow=wanted.overflow,
            describe=describe,
        )
        door.open(source.offer)
        return source
    if wanted.kind == "http":
        from device_agent.sources.http import HttpSource  # noqa: PLC0415  as above

        return HttpSource(
            manifest.inputs,
            open_preparation(archive),
            address=wanted.http_address,
            port=wanted.http_port,
            queue_frames=wanted.queue_frames,
            max_frame_bytes=wanted.max_frame_bytes,
            timeout_seconds=wanted.http_timeout_seconds,
            on_refused=on_refused,
            overflow=wanted.overflow,
            describe=describe,
        )
    if wanted.kind == "camera" and wanted.path is not None:
        from device_agent.sources.camera import CameraSource  # noqa: PLC0415  as above

        return CameraSource(
            wanted.path,
            manifest.inputs,
            manifest.preprocessing,
            queue_frames=wanted.queue_frames,
            overflow=wanted.overflow,
            on_refused=on_refused,
        )
    if wanted.kind == "directory" and wanted.path is not None:
        from device_agent.sources.directory import DirectorySource  # noqa: PLC0415  as above

        return DirectorySource(
            wanted.path,
            manifest.inputs,
            open_preparation(archive),
            loop=wanted.loop,
            watch=wanted.watch,
            on_refused=on_refused,
        )
    if wanted.kind == "replay" and wanted.path is not None:
        from device_agent.sources.replay import ReplaySource  # noqa: PLC0415  as above

        return ReplaySource(wanted.path, manifest.inputs, loop=wanted.loop, on_refused=on_refused)
    from device_agent.sources.synthetic import SyntheticSource  # noqa: PLC0415  as above

    return SyntheticSource(manifest.inputs, as_arrays=manifest.requires.engine != "null")


def open_preparation(archive: ArtifactArchive) -> OpenPreparation | None:
    """Return what an artifact declares of frames, its tokeniser open where they are texts; None: frames are inputs.

    Raises:
        SelfTestError: Its texts are read here to other numbers than on the host.
        ContractError: Its tokeniser cannot be used.
        TrustError: It is not what the manifest says.
        StorageError: The archive cannot be read.
    """
    declared = preparation_of(archive.manifest)
    return open_text(archive, declared) if isinstance(declared, Text) else declared
