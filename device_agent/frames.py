"""From the configuration to a source of frames; only the chosen source is imported, for some bring numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import DeviceError
from device_agent.contract.preparation import preparation_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.config import SourceSection
    from device_agent.contract.manifest import Manifest
    from device_agent.sources.source import Describe, Source
    from device_agent.sources.text import TextReader
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
    manifest: Manifest,
    *,
    text: TextReader | None,
    door: FrameDoor,
    on_refused: Callable[[str], None],
    describe: Describe,
) -> Source:
    """Open the source that is configured.

    Args:
        wanted: What is configured.
        manifest: Of the artifact that will run.
        text: What reads its texts; None: it takes none.
        door: Where frames from the broker come in.
        on_refused: Told which frame was refused, and why; on the thread that takes frames.
        describe: Writes a result for whoever asked.

    Raises:
        DeviceError: It cannot be opened, or needs a library that is not installed.
    """
    try:
        return _opened(wanted, manifest, text=text, door=door, on_refused=on_refused, describe=describe)
    except ModuleNotFoundError as error:  # NumPy comes with an engine's library; the null engine has none
        raise DeviceError(
            f"source.kind {wanted.kind!r} needs {error.name}, which is not installed.",
            hint=f"pip install {error.name}",
        ) from error


def _opened(
    wanted: SourceSection,
    manifest: Manifest,
    *,
    text: TextReader | None,
    door: FrameDoor,
    on_refused: Callable[[str], None],
    describe: Describe,
) -> Source:
    preparation = text or preparation_of(manifest)
    if wanted.kind == "mqtt":
        from device_agent.sources.mqtt import MqttSource  # noqa: PLC0415  see the module's docstring

        source = MqttSource(
            manifest.inputs,
            preparation,
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
            preparation,
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
            preparation,
            loop=wanted.loop,
            watch=wanted.watch,
            on_refused=on_refused,
        )
    if wanted.kind == "replay" and wanted.path is not None:
        from device_agent.sources.replay import ReplaySource  # noqa: PLC0415  as above

        return ReplaySource(wanted.path, manifest.inputs, loop=wanted.loop, on_refused=on_refused)
    from device_agent.sources.synthetic import SyntheticSource  # noqa: PLC0415  as above

    return SyntheticSource(manifest.inputs, as_arrays=manifest.requires.engine != "null")
