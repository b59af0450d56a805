"""Frames from a camera (V4L2) or a video file, decoded by OpenCV (extra ``camera``). A thread of its own keeps the newest."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.errors import DeviceError
from device_agent.sources.adapt import FrameError, to_payload
from device_agent.sources.frame_queue import FrameQueue
from device_agent.sources.preprocess import PictureError, prepare_pixels
from device_agent.sources.received import only_input
from device_agent.sources.source import Frame, SourceEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor, Preprocessing
    from device_agent.sources.frame_queue import Overflow

_FAILED_READS: Final = 50
_RETRY_SECONDS: Final = 0.1
"""A camera that gives nothing so often in a row, with these pauses between, is gone."""


class CameraSource:
    """See `Source`. A video file ends; a camera that gives nothing for seconds is an error.

    Args:
        path: ``/dev/video0`` and the like, or a file.
        tensors: The payload's inputs; a picture is the one there is.
        preprocessing: How pictures are prepared.
        queue_frames: Pictures that wait; at least 1.
        overflow: What to do with one more. `block` suits files; a camera's pictures would be old ones.
        on_refused: Told why a picture was refused; on the thread that calls `next`.

    Raises:
        DeviceError: OpenCV is absent, the camera cannot be opened, or the artifact does not say how to prepare pictures.
    """

    def __init__(
        self,
        path: Path,
        tensors: Sequence[PayloadTensor],
        preprocessing: Preprocessing | None,
        *,
        queue_frames: int,
        overflow: Overflow,
        on_refused: Callable[[str], None],
    ) -> None:
        self._tensor = only_input(tensors, over="a camera")
        if preprocessing is None:
            raise DeviceError(f"{path}: the artifact does not say how to prepare pictures.")
        self.refused = 0
        self._path = path
        self._is_device = path.is_char_device()
        self._tensors = tensors
        self._preprocessing = preprocessing
        self._on_refused = on_refused
        self._number = 0
        self._problem = ""
        self._ended = threading.Event()
        self._closing = threading.Event()
        self._queue: FrameQueue[NDArray[np.uint8]] = FrameQueue(queue_frames, overflow)
        self._capture = _opened(path)
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """See `Source`."""
        return self._queue.dropped

    def next(self, timeout_seconds: float) -> Frame | None:
        """See `Source.next`."""
        ended = self._ended.is_set()  # asked first: what came before the end is still taken
        picture = self._queue.take(0.0 if ended else timeout_seconds)
        if picture is None:
            if ended and self._problem:
                raise DeviceError(self._problem, hint="Is it plugged in, and used by nobody else?")
            if ended:
                raise SourceEnded
            return None
        self._number += 1
        try:
            array = prepare_pixels(picture, self._preprocessing)
            inputs = to_payload({self._tensor.source_name: array}, self._tensors)
        except (FrameError, PictureError) as error:
            self.refused += 1
            self._on_refused(str(error))
            return None
        return Frame(id=f"camera-{self._number}", inputs=inputs)

    def close(self) -> None:
        """See `Source.close`."""
        self._closing.set()
        self._queue.close()
        self._thread.join(2.0)

    def _read(self) -> None:
        """Read until the end, on the camera's thread; only it touches the capture."""
        failures = 0
        try:
            while not self._closing.is_set():
                is_there, picture = self._capture.read()
                if is_there:
                    failures = 0
                    self._queue.put(picture[:, :, ::-1])  # OpenCV gives blue first
                    continue
                failures += 1
                if not self._is_device:
                    return
                if failures >= _FAILED_READS:
                    self._problem = f"{self._path}: the camera gives no picture any more."
                    return
                self._closing.wait(_RETRY_SECONDS)
        except Exception as error:  # noqa: BLE001  OpenCV raises its own kind, without a type that can be named here
            self._problem = f"{self._path}: {type(error).__name__}: {error}"
        finally:
            self._capture.release()
            self._ended.set()


def _opened(path: Path) -> Any:
    try:
        import cv2  # noqa: PLC0415  an extra, and large
    except ImportError as error:
        raise DeviceError(
            f"{path}: OpenCV cannot be imported ({error}).", hint="pip install 'edgewright[camera]'"
        ) from error
    capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2 if path.is_char_device() else cv2.CAP_ANY)
    if not capture.isOpened():
        capture.release()
        raise DeviceError(
            f"{path}: cannot be opened as a camera or video.",
            hint="Is source.path right, and may the agent read it?",
        )
    return capture
